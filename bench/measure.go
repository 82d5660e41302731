package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// bench is one run of the measurements.
type bench struct {
	probe  string
	work   string
	rounds int
	idle   time.Duration
	peers  []peer
	only   []string // parts to measure; empty: all
	pebble string   // the program; empty: it is left out
	jdk    string   // the home of the JVM for archives; empty: that in PATH
}

// row is one measurement of every peer that supports it.
type row struct {
	what   string
	unit   string
	goal   string
	values map[string][]float64
}

func newRow(what, unit, goal string) row {
	return row{what, unit, goal, map[string][]float64{}}
}

func (r row) add(p peer, v float64) { r.values[p.name] = append(r.values[p.name], v) }

// monotonic returns the clock that the probe uses.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // always supported
	}
	return t.Nano()
}

// supervisors returns the peers that restart services.
func (b *bench) supervisors() []peer {
	return slices.DeleteFunc(slices.Clone(b.peers), func(p peer) bool { return p.commandOnly })
}

// measure alternates between the peers in every round, so that other load affects all alike.
func (b *bench) measure() ([]row, error) {
	parts := []struct {
		name string
		run  func() ([]row, error)
	}{{"launch", b.launches}, {"restart", b.restarts}, {"idle", b.idles}, {"orphans", b.orphans}, {"lines", b.lines},
		{"recovery", b.recoveries}, {"stop", b.stops}}
	var rows []row
	for _, part := range parts {
		if !b.wants(part.name) {
			continue
		}
		r, err := part.run()
		if err != nil {
			return nil, err
		}
		rows = append(rows, r...)
	}
	return rows, nil
}

// wants reports whether a part was selected.
func (b *bench) wants(part string) bool {
	return len(b.only) == 0 || slices.Contains(b.only, part)
}

func (b *bench) launches() ([]row, error) {
	one := newRow("launch to the service's first instruction", "ms", "<= 8 ms, <= 9x bare")
	many := newRow("100 services, to the last one's first instruction", "ms", "<= 100 ms")
	for round := range b.rounds {
		fmt.Fprintf(os.Stderr, "launch: round %d of %d\n", round+1, b.rounds)
		for _, p := range b.peers {
			t, err := b.launchTime(p, 1)
			if err != nil {
				return nil, err
			}
			one.add(p, t)
			if p.commandOnly || round%3 != 0 {
				continue
			}
			if t, err = b.launchTime(p, 100); err != nil {
				return nil, err
			}
			many.add(p, t)
		}
	}
	return []row{one, many}, nil
}

func (b *bench) restarts() ([]row, error) {
	r := newRow("SIGKILL of the service to the new one's first instruction", "ms", "<= 2 ms")
	boxes := map[string]*box{}
	defer func() {
		for _, x := range boxes {
			x.close()
		}
	}()
	for _, p := range b.supervisors() {
		x, _, err := b.open(p, b.probes(1))
		if err != nil {
			return nil, err
		}
		boxes[p.name] = x
		if _, err := x.waitMark(""); err != nil {
			return nil, err
		}
	}
	for round := range b.rounds {
		fmt.Fprintf(os.Stderr, "restart: round %d of %d\n", round+1, b.rounds)
		time.Sleep(restartGap)
		for _, p := range b.supervisors() {
			t, err := boxes[p.name].restartTime()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			r.add(p, t)
		}
	}
	return []row{r}, nil
}

func (b *bench) idles() ([]row, error) {
	pss := newRow("idle memory with one service, PSS", "MiB", "<= 11 MiB")
	dirty := newRow("idle memory with one service, private dirty", "MiB", "<= 5 MiB")
	rate := newRow("idle context switches", "/s", "<= 0.2/s")
	hundred := newRow("idle memory with 100 services, PSS", "MiB", "<= 14 MiB")
	fmt.Fprintf(os.Stderr, "idle: %v with one service, then 5 s with 100\n", b.idle)
	wrapped := slices.DeleteFunc(slices.Clone(b.peers), func(p peer) bool { return p.args == nil })
	one, err := b.idleUsages(wrapped, 1, b.idle)
	if err != nil {
		return nil, err
	}
	many, err := b.idleUsages(b.supervisors(), 100, 5*time.Second)
	if err != nil {
		return nil, err
	}
	for _, p := range wrapped {
		pss.add(p, one[p.name].pss)
		dirty.add(p, one[p.name].dirty)
		rate.add(p, one[p.name].rate)
	}
	for _, p := range b.supervisors() {
		hundred.add(p, many[p.name].pss)
	}
	return []row{pss, dirty, hundred, rate}, nil
}

func (b *bench) orphans() ([]row, error) {
	r := newRow(fmt.Sprintf("CPU for %d orphans as PID 1", orphanCount), "ms", "<= 60 ms")
	for round := range max(1, b.rounds/3) {
		fmt.Fprintf(os.Stderr, "orphans: round %d of %d\n", round+1, max(1, b.rounds/3))
		for _, p := range b.peers {
			if p.args == nil || p.slowReaper && round > 0 {
				continue
			}
			t, err := b.orphanTime(p)
			if err != nil {
				return nil, err
			}
			r.add(p, t)
		}
	}
	return []row{r}, nil
}
