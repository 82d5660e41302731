package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// usage is the resource usage of a set of processes.
type usage struct {
	pss      float64 // MiB
	dirty    float64 // MiB, private and dirty
	switches float64 // context switches of either kind since their start
	cpu      float64 // milliseconds since their start
}

// measureUsage adds up the processes; it fails if one has exited.
func measureUsage(pids []int) (usage, error) {
	var u usage
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d", pid)
		rollup, err := fields(dir + "/smaps_rollup")
		if err != nil {
			return u, err
		}
		u.pss += rollup["Pss"] / 1024
		u.dirty += rollup["Private_Dirty"] / 1024
		tasks, err := filepath.Glob(dir + "/task/*")
		if err != nil {
			return u, err
		}
		for _, task := range tasks {
			status, err := fields(task + "/status")
			if err != nil {
				return u, err
			}
			u.switches += status["voluntary_ctxt_switches"] + status["nonvoluntary_ctxt_switches"]
			cpu, err := cpuTime(task)
			if err != nil {
				return u, err
			}
			u.cpu += cpu
		}
	}
	return u, nil
}

// cpuTime returns the milliseconds that a thread has run, from the scheduler's nanoseconds: /proc/PID/stat counts in steps of 10 ms.
func cpuTime(task string) (float64, error) {
	data, err := os.ReadFile(task + "/schedstat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	ns, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read %s/schedstat: %w", task, err)
	}
	return ns / 1e6, nil
}

// fields parses a file of "Name:  number unit" lines.
func fields(path string) (map[string]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]float64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		words := strings.Fields(rest)
		if !ok || len(words) == 0 {
			continue
		}
		if n, err := strconv.ParseFloat(words[0], 64); err == nil {
			out[name] = n
		}
	}
	return out, lines.Err()
}

// zombies counts the zombies in x's namespace.
func (x *box) zombies() (int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has exited
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		if !strings.HasPrefix(rest, "Z") {
			continue
		}
		if ns, err := os.Readlink(filepath.Dir(path) + "/ns/pid"); err != nil || ns == x.ns {
			n++ // the link of a zombie may be gone; any other zombie is counted too
		}
	}
	return n, nil
}
