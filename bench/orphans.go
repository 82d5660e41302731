package main

import (
	"fmt"
	"strconv"
	"time"
)

const orphanCount = 5000

// orphanTime returns the milliseconds of CPU that p takes as PID 1 to wait for
// orphanCount orphans.
func (b *bench) orphanTime(p peer) (float64, error) {
	x, _, err := b.open(p, func(fifo string) []service {
		return []service{{"orphans", []string{b.probe, "orphans", fifo, strconv.Itoa(orphanCount)}}}
	})
	if err != nil {
		return 0, err
	}
	defer x.close()
	if _, err := x.waitMark("begin"); err != nil {
		return 0, err
	}
	// The first half of the probe's pause is for the end of p's own start.
	time.Sleep(500 * time.Millisecond)
	own, _, err := x.processes()
	if err != nil {
		return 0, err
	}
	before, err := measureUsage(own)
	if err != nil {
		return 0, err
	}
	if _, err := x.waitMark("end"); err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		left, err := x.zombies()
		if err != nil {
			return 0, err
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s has left %d zombies after two minutes", p.name, left)
		}
	}
	after, err := measureUsage(own)
	return after.cpu - before.cpu, err
}
