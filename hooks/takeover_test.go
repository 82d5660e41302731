package hooks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// TestKilledSupervisor kills it in every tenth of a second, and after each write to the store. Each hook
// runs once, in order.
func TestKilledSupervisor(t *testing.T) {
	for tenths := 1; tenths < 55; tenths++ {
		killedAt(t, fmt.Sprint("killed after tenth ", tenths), 0, time.Duration(tenths)*100*time.Millisecond-50*time.Millisecond)
	}
	for writes, killed := 1, true; killed; writes++ {
		killed = killedAt(t, fmt.Sprint("killed after write ", writes), writes, 20*time.Second)
	}
}

// killedAt runs a supervisor that is killed after a number of writes or a time, and then another one. It
// reports whether the first was killed before the end.
func killedAt(t *testing.T, when string, writes int, after time.Duration) (killed bool) {
	list := []ResolvedHook{newHook(lifecycle.Init, "i", "500ms"), newHook(lifecycle.PreStart, "a", "500ms"),
		newHook(lifecycle.PreStart, "b", "700ms", parallel), newHook(lifecycle.PreStart, "c", "300ms", parallel),
		newHook(lifecycle.PreStart, "retried", "200ms exit 1", onFailure("retry 1")), newHook(lifecycle.Ready, "r", "300ms"),
		newHook(lifecycle.Exited, "e", "300ms"), newHook(lifecycle.Stopped, "t", "300ms")}
	scenario := func(ctx context.Context, l *testRunner) { // what a supervisor reports, again after a takeover
		for _, o := range []lifecycle.Occurrence{{Event: lifecycle.Init}, of(lifecycle.PreStart, 1)} {
			if l.Await(ctx, o) != nil {
				t.Error("a start fails")
			}
		}
		for _, e := range []lifecycle.Event{lifecycle.Started, lifecycle.Ready, lifecycle.Exited, lifecycle.Stopped} {
			l.Tell(of(e, 1))
			l.Settle(ctx)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		h.writes = writes
		first := newTestRunner(t, h, Recovered{}, list...)
		went := make(chan struct{})
		go func() { // ends with the scenario
			defer close(went)
			scenario(context.Background(), first)
		}()
		time.Sleep(after)
		synctest.Wait()
		first.mu.Lock()
		first.stopped = true
		first.mu.Unlock()
		killed = h.dead
		next, past := h.die()
		second := newTestRunner(t, next, past, list...)
		scenario(context.Background(), second)
		<-went // the dead one continues without an effect
		synctest.Wait()
		var ran []string
		for _, s := range next.started {
			name, _, _ := strings.Cut(s, "@")
			ran = append(ran, name)
		}
		want := []string{"init/i", "pre-start/a", "pre-start/b", "pre-start/c", "pre-start/retried", "pre-start/retried", "ready/r",
			"exited/e", "stopped/t"}
		if slices.Index(ran, "pre-start/c") < slices.Index(ran, "pre-start/b") {
			want[2], want[3] = want[3], want[2] // they start together
		}
		wantEqual(t, when, ran, want)
		if len(next.alive) != 0 {
			t.Errorf("%s: %d processes are left", when, len(next.alive))
		}
		for item := range next.items {
			if strings.HasPrefix(item, runPrefix) {
				t.Errorf("%s: %s is left", when, item)
			}
		}
	})
	return killed
}

func TestOrphansAreKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		l := newTestRunner(t, h, Recovered{}, newHook(lifecycle.Ready, "r", "1h"))
		go func() { _, _ = l.RunManually(context.Background(), of(lifecycle.Ready, 1), "") }() // ends with its process
		l.Tell(of(lifecycle.Ready, 1))
		time.Sleep(time.Second)
		synctest.Wait()
		next, past := h.die()
		if len(past.Processes) != 2 {
			t.Fatalf("%d runs", len(past.Processes))
		}
		second := newTestRunner(t, next, past) // its configuration has no such hook any more
		second.Settle(context.Background())
		synctest.Wait()
		second.Settle(context.Background())
		if len(next.alive) != 0 {
			t.Errorf("%d processes are left", len(next.alive))
		}
	})
}

func TestNoGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		var list []ResolvedHook
		for k := range 50 {
			list = append(list, newHook(lifecycle.Events()[2+k%8], fmt.Sprint("hook", k), "1ms say x",
				func(b *ResolvedHook) { b.Parallel = k%2 == 0 }))
		}
		l := newTestRunner(t, h, Recovered{}, list...)
		size := 0
		for start := range uint64(20) {
			for _, e := range lifecycle.Events()[2:10] {
				if e.Blocking() {
					if err := l.Await(context.Background(), of(e, start+1)); err != nil {
						t.Fatal(err)
					}
				} else {
					l.Tell(of(e, start+1))
				}
				l.Settle(context.Background())
			}
			now := 0
			for _, body := range h.items {
				now += len(body)
			}
			if start == 2 {
				size = now
			}
			if start > 2 && now > size+200 {
				t.Errorf("%d bytes are kept, and %d were", now, size)
			}
		}
		if len(h.started) != 1000 || len(h.alive) != 0 {
			t.Errorf("%d started, %d left", len(h.started), len(h.alive))
		}
	})
}

func TestSavedStateIsBounded(t *testing.T) {
	long := strings.Repeat("x", 4000)
	k := &savedQueue{}
	for i := range 300 {
		o := lifecycle.Occurrence{Event: lifecycle.JobFinished, Service: fmt.Sprint(i), Start: uint64(i)}
		k.mark(&o)
		k.noteOutcome(&lifecycle.Occurrence{Event: lifecycle.Unhealthy, Start: 1}, fmt.Sprint("hook", i), time.Now(),
			Outcome{Why: long, Output: long}.short())
	}
	body, err := json.Marshal(k)
	if err != nil || len(k.Marks) != maxMarks || len(k.Last) != maxLast || len(body) > (maxMarks+maxLast)*600 {
		t.Errorf("%d marks, %d outcomes, %d bytes, %v", len(k.Marks), len(k.Last), len(body), err)
	}
}

// TestManyHooks runs hundreds of hooks while the supervisor is replaced: none runs twice, and at most
// maxParallel run at the same time.
func TestManyHooks(t *testing.T) {
	var list []ResolvedHook
	const many = 900
	for k := range many {
		list = append(list, newHook(lifecycle.Started, fmt.Sprintf("a-hook-with-a-longish-name-%d", k), "1s", parallel))
	}
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		first := newTestRunner(t, h, Recovered{}, list...)
		first.Tell(of(lifecycle.Started, 1))
		time.Sleep(25*time.Second + 500*time.Millisecond) // nearly all have run
		synctest.Wait()
		if h.most > maxParallel {
			t.Errorf("%d run at once", h.most)
		}
		first.mu.Lock()
		first.stopped = true
		first.mu.Unlock()
		next, past := h.die()
		second := newTestRunner(t, next, past, list...)
		second.Settle(context.Background())
		ran := map[string]int{}
		for _, s := range next.started {
			name, _, _ := strings.Cut(s, "@")
			ran[name]++
		}
		for name, n := range ran {
			if n != 1 {
				t.Errorf("%s has run %d times", name, n)
			}
		}
		if len(ran) != many {
			t.Errorf("%d of %d have run", len(ran), many)
		}
		first.Settle(context.Background()) // the dead one continues without an effect
	})
}

// TestOutputIsSavedOnce takes over from a supervisor that was killed after it saved the output of a hook,
// and before it saved the end.
func TestOutputIsSavedOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		registry := NewRegistry([]ResolvedHook{outputHook(lifecycle.PreStart, "a", "jvm-option -Da=1\n")}, Facts{})
		r := NewRunner(Options{Host: newFakeHost(), Log: hclog.NewNullLogger(), Registry: func() *Registry { return registry }, Runtime: dir,
			Recovered: recovered(map[string][]byte{
				queuePrefix + "app":              []byte(`{"seq": 2}`),
				itemName(outputPrefix, "app", 2): []byte(`{"seq": 2, "event": "pre-start", "hook": "a", "raw": "anZtLW9wdGlvbiAtRGE9MQo="}`), // jvm-option -Da=1
				itemName(runPrefix, "app", 1):    []byte(`{"event": "pre-start", "service": "app", "start": 1, "seq": 1, "running": [{"hook": "a", "id": "hook/app/1", "try": 1}]}`),
				runPrefix + "broken":             []byte("{"),
			})})
		r.Settle(context.Background())
		if given := r.Output("app", os.Geteuid()); len(given.Options) != 1 || len(r.Counters()) != 1 {
			t.Errorf("the output is %+v after %+v", given, r.Counters())
		}
	})
}

// TestReportBeforeRunIsRemoved: OnDone is called before the run is removed, so that the next supervisor
// repeats a report that was interrupted.
func TestReportBeforeRunIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		var waiting int
		r := NewRunner(Options{Host: h, Log: hclog.NewNullLogger(), Registry: func() *Registry {
			return NewRegistry([]ResolvedHook{newHook(lifecycle.Ready, "r", "10ms")}, Facts{})
		},
			OnDone: func(lifecycle.Occurrence, []Outcome) {
				h.mu.Lock()
				defer h.mu.Unlock()
				for item := range h.items {
					if strings.HasPrefix(item, runPrefix) {
						waiting++
					}
				}
			}})
		r.Tell(of(lifecycle.Ready, 1))
		r.Settle(context.Background())
		if waiting != 1 {
			t.Errorf("%d runs are saved when OnDone is called, want 1", waiting)
		}
	})
}
