//go:build container

package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is a process as /proc shows it.
type process struct {
	pid, parent int
	group       int // process group
	session     int
	state       byte
	start       time.Duration // since boot; the kernel counts in 10 ms
	args        []string
}

const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that we build for

// look reads a process; false: it has ended.
func look(pid int) (process, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	p, ok := parseStat(string(data))
	if !ok {
		return p, false
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	p.args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	return p, true
}

// parseStat parses /proc/PID/stat, proc(5). The name in brackets may contain any character.
func parseStat(line string) (process, bool) {
	pid, _, _ := strings.Cut(line, " ")
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 20 {
		return process{}, false
	}
	p := process{state: f[0][0]}
	p.pid, _ = strconv.Atoi(pid)
	p.parent, _ = strconv.Atoi(f[1])
	p.group, _ = strconv.Atoi(f[2])
	p.session, _ = strconv.Atoi(f[3])
	ticks, err := strconv.ParseInt(f[19], 10, 64)
	p.start = time.Duration(ticks) * tick
	return p, err == nil
}

// childrenOf returns the children of all threads of a process.
func childrenOf(pid int) []process {
	var out []process
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, f := range bytes.Fields(data) {
			child, _ := strconv.Atoi(string(f))
			if p, ok := look(child); ok {
				out = append(out, p)
			}
		}
	}
	return out
}

// halt stops a process with SIGSTOP.
func halt(t testing.TB, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("there is no process %d to be stopped", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitHalt(t, pid)
}

// awaitHalt waits until all threads of a process have stopped: a signal is sent before it has its effect.
func awaitHalt(t testing.TB, pid int) {
	t.Helper()
	await(t, 10*time.Second, fmt.Sprintf("the stop of process %d", pid), func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is valid
		for _, thread := range threads {
			data, _ := os.ReadFile(thread)
			if p, ok := parseStat(string(data)); ok && p.state != 'T' {
				return false
			}
		}
		return len(threads) > 0
	})
}

// sinceBoot returns the time since boot, the clock of process.start.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}
