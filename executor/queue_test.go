package executor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	now := time.Unix(1_000_000, 0).UTC()
	later := now.Add(time.Minute)
	for _, test := range []struct {
		name    string
		jobs    []waiting
		running []waiting
		c       capacity
		start   []ID
		skip    []ID
		reasons map[ID]string // parts
		next    time.Time
	}{
		{name: "nothing", c: capacity{slots: 1}},
		{name: "priority, then the order of acceptance", jobs: []waiting{{id: 3}, {id: 2}, {id: 4, priority: 1}, {id: 1, priority: -1}},
			c: capacity{slots: 2}, start: []ID{2, 4}, reasons: map[ID]string{3: "place 3", 1: "place 4"}},
		{name: "slots", jobs: []waiting{{id: 5}}, running: []waiting{{id: 1}, {id: 2}}, c: capacity{slots: 2}, reasons: map[ID]string{5: "place 1"}},
		{name: "more run than there are slots", jobs: []waiting{{id: 5}}, running: []waiting{{id: 1}, {id: 2}}, c: capacity{slots: 1},
			reasons: map[ID]string{5: "place 1"}},
		{name: "a class at its limit holds back no other", jobs: []waiting{{id: 2, class: "x"}, {id: 3, class: "x"}, {id: 4}},
			running: []waiting{{id: 1, class: "x"}}, c: capacity{slots: 9, classes: map[string]int{"x": 2}}, start: []ID{2, 4},
			reasons: map[ID]string{3: "2 jobs of the class x run"}},
		{name: "serial", jobs: []waiting{{id: 2, serial: "k"}, {id: 3, serial: "m"}, {id: 4, serial: "m"}, {id: 5, serial: "m", priority: 1}},
			running: []waiting{{id: 1, serial: "k"}}, c: capacity{slots: 9}, start: []ID{5},
			reasons: map[ID]string{2: ID(1).String(), 3: ID(5).String(), 4: ID(5).String()}},
		{name: "not before", jobs: []waiting{{id: 1, notBefore: later}, {id: 2, notBefore: now}, {id: 3, notBefore: later.Add(1)}},
			c: capacity{slots: 1}, start: []ID{2}, reasons: map[ID]string{1: "not before 1970", 3: "not before"}, next: later},
		{name: "start deadline", jobs: []waiting{{id: 1, startBy: now}, {id: 2, startBy: later}, {id: 3, startBy: later.Add(1)}},
			c: capacity{slots: 1}, start: []ID{2}, skip: []ID{1}, reasons: map[ID]string{3: "place 3"}, next: later.Add(1)},
		{name: "memory: the first that does not fit holds back the others that declare some",
			jobs: []waiting{{id: 2, memory: 60}, {id: 3, memory: 60}, {id: 4, memory: 1}, {id: 5}}, running: []waiting{{id: 1, memory: 10}},
			c: capacity{slots: 9, room: 100, limited: true}, start: []ID{2, 5},
			reasons: map[ID]string{3: "needs 60 bytes of memory, and 30 bytes are free", 4: ID(3).String() + " waits for memory"},
			next:    now.Add(memoryCheck)},
		{name: "memory: there is less than nothing", jobs: []waiting{{id: 1, memory: 1}, {id: 2}}, c: capacity{slots: 9, room: -5, limited: true},
			start: []ID{2}, reasons: map[ID]string{1: "0 bytes are free"}, next: now.Add(memoryCheck)},
		{name: "memory: no limit", jobs: []waiting{{id: 1, memory: 1 << 60}}, c: capacity{slots: 1}, start: []ID{1}},
		{name: "a job that waits for memory does not hold back those before it", jobs: []waiting{{id: 1, memory: 9}, {id: 2, memory: 1, priority: 1}},
			c: capacity{slots: 9, room: 5, limited: true}, start: []ID{2}, reasons: map[ID]string{1: "needs 9"}, next: now.Add(memoryCheck)},
	} {
		t.Run(test.name, func(t *testing.T) {
			running := map[ID]waiting{}
			for _, w := range test.running {
				running[w.id] = w
			}
			verdicts, next := decide(now, test.jobs, running, test.c)
			var start, skip []ID
			for id, v := range verdicts {
				switch {
				case v.start:
					start = append(start, id)
				case v.skip:
					skip = append(skip, id)
				case v.waiting == "" || !strings.Contains(v.waiting, test.reasons[id]) || test.reasons[id] == "":
					t.Errorf("%d waits because %q, want %q", id, v.waiting, test.reasons[id])
				}
			}
			slices.Sort(start)
			slices.Sort(skip)
			if !slices.Equal(start, test.start) || !slices.Equal(skip, test.skip) || !next.Equal(test.next) {
				t.Errorf("starts %v, skips %v, next %v", start, skip, next)
			}
			if len(verdicts) != len(test.jobs) {
				t.Errorf("%d verdicts", len(verdicts))
			}
		})
	}
}

// TestFarBack: what waits at the end of a long queue has one reason, which does not change with each start.
func TestFarBack(t *testing.T) {
	var jobs []waiting
	for n := range places + 2 {
		jobs = append(jobs, waiting{id: ID(n + 1)})
	}
	verdicts, _ := decide(time.Unix(1, 0), jobs, nil, capacity{})
	for id, reason := range map[ID]string{places: "place 100 in the queue", places + 1: farBack, places + 2: farBack} {
		if got := verdicts[id].waiting; got != reason {
			t.Errorf("%d waits because %q, want %q", id, got, reason)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1 << 20: "1 MiB", 3 << 29: "1.5 GiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestRetryPause(t *testing.T) {
	r := func(on ...string) Retry {
		return Retry{Max: 5, Backoff: Duration(time.Second), MaxBackoff: Duration(3 * time.Second), On: on}
	}
	failed := func(x Exit) ending { return ending{exit: x, state: Failed} }
	huge := Duration(1<<63 - 1)
	for _, test := range []struct {
		retry   Retry
		attempt int
		end     ending
		again   bool
		pause   time.Duration
	}{
		{r(), 1, failed(Exit{Code: 1}), true, time.Second},
		{r(), 2, failed(Exit{Code: 1}), true, 2 * time.Second},
		{r(), 3, failed(Exit{Code: 1}), true, 3 * time.Second},
		{r(), 6, failed(Exit{Code: 1}), false, 0},
		{r(), 1, ending{state: Killed}, false, 0},
		{r(), 1, ending{state: Succeeded}, false, 0},
		{r("any"), 1, ending{state: TimedOut}, true, time.Second},
		{r("7"), 1, failed(Exit{Code: 7}), true, time.Second},
		{r("7"), 1, failed(Exit{Code: 8}), false, 0},
		{r("7"), 1, failed(Exit{Code: 7, Infrastructure: true}), false, 0},
		{r("7"), 1, ending{exit: Exit{Code: 7}, state: TimedOut}, false, 0},
		{r("signal"), 1, failed(Exit{Code: -1, Signal: "SEGV"}), true, time.Second},
		{r("signal"), 1, ending{exit: Exit{Code: -1, Signal: "TERM"}, state: TimedOut}, false, 0},
		{r("timeout"), 1, ending{exit: Exit{Code: -1, Signal: "TERM"}, state: TimedOut}, true, time.Second},
		{r("oom"), 1, failed(Exit{Signal: "KILL"}), false, 0},
		{r("oom"), 1, failed(Exit{Signal: "KILL", OOMKilled: true}), true, time.Second},
		{r("infrastructure", "3"), 1, failed(Exit{Code: -1, Infrastructure: true}), true, time.Second},
		{Retry{Max: 1000, Backoff: huge / 2, MaxBackoff: huge}, 900, failed(Exit{Code: 1}), true, time.Duration(huge)},
	} {
		pause, again := retryPause(test.retry, test.attempt, &test.end)
		if pause != test.pause || again != test.again {
			t.Errorf("%v: %v, %v", fmt.Sprint(test), pause, again)
		}
	}
}
