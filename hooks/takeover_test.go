package hooks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestASupervisorThatDies kills it at every tenth of a second of a life. Whatever
// was told is gone through once, in its order.
func TestASupervisorThatDies(t *testing.T) {
	list := []Bound{bound(Init, "i", "500ms"), bound(PreStart, "a", "500ms"), bound(PreStart, "b", "700ms", parallel), bound(PreStart, "c", "300ms", parallel),
		bound(PreStart, "retried", "200ms exit 1", onFailure("retry 1")), bound(Ready, "r", "300ms"), bound(Exited, "e", "300ms"), bound(Stopped, "t", "300ms")}
	story := func(ctx context.Context, l *life) { // as a supervisor tells it, again after a takeover
		for _, o := range []Occasion{{Event: Init}, of(PreStart, 1)} {
			if l.Await(ctx, o) != nil {
				t.Error("a start fails")
			}
		}
		for _, e := range []Event{Started, Ready, Exited, Stopped} {
			l.Tell(of(e, 1))
			l.Settle(ctx)
		}
	}
	for tenths := 1; tenths < 55; tenths++ {
		synctest.Test(t, func(t *testing.T) {
			h := newFakeHost()
			first := newLife(t, h, Past{}, list...)
			went := make(chan struct{})
			go func() { // ends with the story
				defer close(went)
				story(context.Background(), first)
			}()
			time.Sleep(time.Duration(tenths)*100*time.Millisecond - 50*time.Millisecond)
			synctest.Wait()
			first.mu.Lock()
			first.over = true
			first.mu.Unlock()
			next, past := h.die()
			second := newLife(t, next, past, list...)
			story(context.Background(), second)
			<-went // the dead one goes on without effect
			var ran []string
			for _, s := range next.started {
				name, _, _ := strings.Cut(s, "@")
				ran = append(ran, name)
			}
			want := []string{"init/i", "pre-start/a", "pre-start/b", "pre-start/c", "pre-start/retried", "pre-start/retried", "ready/r", "exited/e", "stopped/t"}
			if slices.Index(ran, "pre-start/c") < slices.Index(ran, "pre-start/b") {
				want[2], want[3] = want[3], want[2] // they start together
			}
			same(t, fmt.Sprint("killed after ", tenths), ran, want)
			if len(next.living) != 0 {
				t.Errorf("killed after %d: %d processes are left", tenths, len(next.living))
			}
		})
	}
}

func TestStraysOfTheDeadAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		l := newLife(t, h, Past{}, bound(Ready, "r", "1h"))
		go func() { _, _ = l.RunByHand(context.Background(), of(Ready, 1), "") }() // ends with its process
		l.Tell(of(Ready, 1))
		time.Sleep(time.Second)
		synctest.Wait()
		next, past := h.die()
		if len(past.Runs) != 2 {
			t.Fatalf("%d runs", len(past.Runs))
		}
		second := newLife(t, next, past) // its configuration has no such hook any more
		second.Settle(context.Background())
		synctest.Wait()
		second.Settle(context.Background())
		if len(next.living) != 0 {
			t.Errorf("%d processes are left", len(next.living))
		}
	})
}

func TestNothingGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		var list []Bound
		for k := range 50 {
			list = append(list, bound(Events()[2+k%8], fmt.Sprint("hook", k), "1ms say x", func(b *Bound) { b.Parallel = k%2 == 0 }))
		}
		l := newLife(t, h, Past{}, list...)
		size := 0
		for start := range uint64(20) {
			for _, e := range Events()[2:10] {
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
		if len(h.started) != 1000 || len(h.living) != 0 {
			t.Errorf("%d started, %d left", len(h.started), len(h.living))
		}
	})
}

func TestTheBagAlwaysHasRoom(t *testing.T) {
	long := strings.Repeat("x", 4000)
	k := &kept{}
	for i := range 300 {
		o := Occasion{Event: Unhealthy, Service: "app", Start: uint64(i), Reason: long[:500]}
		if i < 64 {
			e := &entry{Occasion: o}
			for j := range 20 {
				e.Over = append(e.Over, Outcome{Hook: fmt.Sprint("hook", j), Why: long}.short())
			}
			if i > 0 {
				e.Over = nil
			}
			k.Queue = append(k.Queue, e)
		}
		k.mark(&o)
		k.note(&Occasion{Event: Unhealthy, Start: 1}, fmt.Sprint("hook", i), time.Now(), Outcome{Why: long}.short())
	}
	body, err := k.body()
	if err != nil || len(body) > 64<<10 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	back, err := readKept(body)
	if err != nil || len(back.Queue) != 64 || len(back.Queue[0].Over) != 20 {
		t.Errorf("%d, %v", len(back.Queue), err)
	}
}

// TestManyHooks keeps hundreds of them through the death of a supervisor: none is
// run twice, and no more than a few run at once.
func TestManyHooks(t *testing.T) {
	var list []Bound
	const many = 900
	for k := range many {
		list = append(list, bound(Started, fmt.Sprintf("a-hook-with-a-longish-name-%d", k), "1s", parallel))
	}
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		first := newLife(t, h, Past{}, list...)
		first.Tell(of(Started, 1))
		time.Sleep(25*time.Second + 500*time.Millisecond) // nearly all have run
		synctest.Wait()
		if h.most > maxParallel {
			t.Errorf("%d run at once", h.most)
		}
		first.mu.Lock()
		first.over = true
		first.mu.Unlock()
		next, past := h.die()
		second := newLife(t, next, past, list...)
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
		first.Settle(context.Background()) // the dead one goes on without effect
	})
}

// TestToldBeforeForgotten says how hooks ended before they count as told: a
// supervisor that is killed in between leaves that to the next one.
func TestToldBeforeForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		var waiting int
		r := NewRunner(Options{Host: h, Log: hclog.NewNullLogger(), Book: func() *Book { return NewBook([]Bound{bound(Ready, "r", "10ms")}, Surroundings{}) },
			Done: func(Occasion, []Outcome) {
				h.mu.Lock()
				defer h.mu.Unlock()
				k, err := readKept(h.items[lanePrefix+"app"])
				if err != nil {
					t.Error(err)
				}
				waiting = len(k.Queue)
			}})
		r.Tell(of(Ready, 1))
		r.Settle(context.Background())
		if waiting != 1 {
			t.Errorf("%d occasions were kept when it was told how the hooks ended, want the 1", waiting)
		}
	})
}
