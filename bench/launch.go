package main

import (
	"fmt"
	"syscall"
	"time"
)

// restartGap is the time between two kills. runit waits a second before it restarts a service that lived shorter than that.
const restartGap = 1200 * time.Millisecond

// probes returns count services.
func (b *bench) probes(count int) func(fifo string) []service {
	return func(fifo string) []service {
		all := make([]service, count)
		for i := range all {
			name := fmt.Sprintf("s%03d", i)
			all[i] = service{name, []string{b.probe, "service", fifo, name}}
		}
		return all
	}
}

// launchTime returns the milliseconds from the execution of p to the first instruction of the last of count services.
func (b *bench) launchTime(p peer, count int) (float64, error) {
	x, launched, err := b.open(p, b.probes(count))
	if err != nil {
		return 0, err
	}
	defer x.close()
	var last int64
	for range count {
		at, err := x.waitMark("")
		if err != nil {
			return 0, err
		}
		last = max(last, at)
	}
	return float64(last-launched) / 1e6, nil
}

// restartTime kills the service of x and returns the milliseconds until the first instruction of the next one.
func (x *box) restartTime() (float64, error) {
	_, services, err := x.processes()
	if err != nil {
		return 0, err
	}
	if len(services) != 1 {
		return 0, fmt.Errorf("cannot kill the service: there are %d", len(services))
	}
	killed := monotonic()
	if err := syscall.Kill(services[0], syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("cannot kill the service: %w", err)
	}
	at, err := x.waitMark("")
	return float64(at-killed) / 1e6, err
}
