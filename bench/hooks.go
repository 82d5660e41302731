package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
)

// Names under which this program executes itself to measure hooks.
const (
	hooksInit       = "bench-hooks-init"
	hooksSupervisor = "bench-hooks-supervisor"
)

const (
	hooksRounds = 60
	hooksWaited = 15      // of the rounds, for hooks that are waited for
	hooksCount  = 20      // in parallel
	hooksEvents = 100_000 // without hooks
)

// hookWays are the measured ways: one at a time, and hooksCount in parallel.
func hookWays() []string {
	return []string{"raw fork+exec+wait of /bin/true", "hooks that are /bin/true", "hooks that are sleep 0.1"}
}

// hookTimes are in ms, by way: one at a time, and in parallel.
type hookTimes struct {
	One, All map[string][]float64
	Event    float64 // ns of an event without hooks
}

// hooks runs the measurement as PID 1 of a namespace.
func (b *bench) hooks() (t hookTimes, err error) {
	fmt.Fprintf(os.Stderr, "hooks: %d rounds\n", hooksRounds)
	data, err := b.asSupervisor(hooksInit, "hooks")
	if err != nil {
		return t, fmt.Errorf("cannot measure hooks: %w", err)
	}
	return t, json.Unmarshal(data, &t)
}

// measureHooks measures all ways in the supervisor process.
func measureHooks(out string) error {
	m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{})
	if err != nil {
		return err
	}
	m.Adopted()
	machine, past := hooks.NewManagerHost(m, rec)
	book := hooks.NewRegistry(hookList(), hooks.Facts{})
	r := hooks.NewRunner(hooks.Options{Host: machine, Recovered: past, Log: hclog.NewNullLogger(),
		Registry: func() *hooks.Registry { return book }, Runtime: out + ".run"})
	t := hookTimes{One: map[string][]float64{}, All: map[string][]float64{}}
	for n := range hooksRounds {
		if err := t.round(r, n); err != nil {
			return err
		}
	}
	began := time.Now()
	for n := range hooksEvents {
		r.Tell(lifecycle.Occurrence{Event: lifecycle.Exited, Service: "app", Start: uint64(n)})
	}
	t.Event = float64(time.Since(began)) / hooksEvents
	data, err := json.Marshal(t)
	if err == nil {
		err = os.WriteFile(out, data, 0o644)
	}
	m.Final(0, 0)
	return err
}

// hookList returns one and many hooks of each way, at separate events.
func hookList() (list []hooks.ResolvedHook) {
	for _, of := range []struct {
		one, all lifecycle.Event
		command  []string
	}{{lifecycle.Started, lifecycle.Ready, []string{"/bin/true"}}, {lifecycle.PreStop, lifecycle.Stopped, []string{"/bin/sleep", "0.1"}}} {
		for k := range 1 + hooksCount {
			b := hooks.ResolvedHook{Hook: hooks.Hook{Name: "n" + strconv.Itoa(k), Command: of.command, Parallel: true}.WithDefaults(), Event: of.all}
			if k == 0 {
				b.Event = of.one
			}
			list = append(list, b)
		}
	}
	return list
}

// round measures each way once.
func (t *hookTimes) round(r *hooks.Runner, n int) error {
	ways := hookWays()
	began := time.Now()
	if err := rawSpawn(); err != nil {
		return err
	}
	t.One[ways[0]] = append(t.One[ways[0]], since(began))
	began = time.Now()
	var all sync.WaitGroup
	for range hooksCount {
		all.Go(func() { _ = rawSpawn() }) // ends with the process; an earlier call has reported errors
	}
	all.Wait()
	t.All[ways[0]] = append(t.All[ways[0]], since(began))
	event := func(e lifecycle.Event, times map[string][]float64, way string) {
		began := time.Now()
		r.Tell(lifecycle.Occurrence{Event: e, Service: "app", Start: uint64(n + 1)})
		r.Settle(context.Background())
		times[way] = append(times[way], since(began))
	}
	event(lifecycle.Started, t.One, ways[1])
	event(lifecycle.Ready, t.All, ways[1])
	if n < hooksWaited {
		event(lifecycle.PreStop, t.One, ways[2])
		event(lifecycle.Stopped, t.All, ways[2])
	}
	return nil
}

// since returns milliseconds.
func since(began time.Time) float64 { return float64(time.Since(began)) / 1e6 }

// hooksTable prints the medians with their ratios.
func hooksTable(t hookTimes) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| hooks, to the end of all (ms) | one | %d at the same time | ratio | per one of raw | per %d of raw |\n"+
		"|---|---:|---:|---:|---:|---:|\n", hooksCount, hooksCount)
	rawOne, _ := median(t.One[hookWays()[0]])
	rawAll, _ := median(t.All[hookWays()[0]])
	for _, way := range hookWays() {
		one, _ := median(t.One[way])
		all, ok := median(t.All[way])
		if ok && one > 0 && rawOne > 0 && rawAll > 0 {
			fmt.Fprintf(&b, "| %s | %s | %s | %sx | %sx | %sx |\n", way, figure(one), figure(all), figure(all/one), figure(one/rawOne),
				figure(all/rawAll))
		}
	}
	fmt.Fprintf(&b, "\nAn event without hooks: %s us (goal: < 50 us).\n", figure(t.Event/1e3))
	return b.String()
}
