package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// peakSettle is the time after which a start has reached its memory peak.
const peakSettle = time.Second

// stops measures many services: peak memory, and the time of a stop.
func (b *bench) stops() ([]row, error) {
	all := slices.DeleteFunc(b.supervisors(), func(p peer) bool { return p.stop == 0 })
	goals := []struct {
		count      int
		peak, stop string
	}{{1, "<= 25 MB", ""}, {50, "<= 25 MB", ""}, {100, "<= 33 MB", "<= 300 ms"}, {500, "<= 93 MB", "<= 1000 ms"},
		{1000, "<= 168 MB", "<= 2000 ms"},
		{2000, "<= 318 MB", "<= 3000 ms"}}
	var rows []row
	for _, g := range goals {
		peak := newRow(fmt.Sprintf("largest process at its peak, %d services", g.count), "MB", g.peak)
		stop := newRow(fmt.Sprintf("stop of %d services", g.count), "ms", g.stop)
		for round := range max(1, b.rounds/3) {
			fmt.Fprintf(os.Stderr, "stop: %d services, round %d of %d\n", g.count, round+1, max(1, b.rounds/3))
			for _, p := range all {
				most, took, err := b.stopOnce(p, g.count)
				if err != nil {
					return nil, err
				}
				peak.add(p, most)
				stop.add(p, took)
			}
		}
		rows = append(rows, peak)
		if g.stop != "" {
			rows = append(rows, stop)
		}
	}
	return rows, nil
}

// stopOnce returns the memory of p's largest process in megabytes, and the milliseconds from the stop request to the exit of p with
// count services.
func (b *bench) stopOnce(p peer, count int) (most, took float64, err error) {
	x, _, err := b.open(p, b.probes(count))
	if err != nil {
		return 0, 0, err
	}
	defer x.close()
	for range count {
		if _, err := x.waitMark(""); err != nil {
			return 0, 0, err
		}
	}
	time.Sleep(peakSettle)
	own, _, err := x.processes()
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range own {
		status, err := fields(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, 0, err
		}
		most = max(most, status["VmHWM"]/1024)
	}
	asked := monotonic()
	if err := x.cmd.Process.Signal(p.stop); err != nil {
		return 0, 0, fmt.Errorf("cannot stop %s: %w", p.name, err)
	}
	_ = x.cmd.Wait() // each peer has its own exit code
	return most, float64(monotonic()-asked) / 1e6, nil
}
