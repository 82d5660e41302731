package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// fdStore keeps one item as the init does, with a duplicated descriptor.
type fdStore struct {
	t  testing.TB
	fd int // -1: no item
}

func newFDStore(t testing.TB) *fdStore {
	b := &fdStore{t, -1}
	t.Cleanup(func() { unix.Close(b.fd) })
	return b
}

func (b *fdStore) PutFile(name string, _ []byte, f syscall.Conn) error {
	if name != Item {
		b.t.Errorf("put %s", name)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		unix.Close(b.fd)
		b.fd = b.copyOf(int(fd))
	})
}

func (b *fdStore) copyOf(fd int) int {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		b.t.Error(err)
	}
	return own
}

// resume starts the journal of the next supervisor.
func (b *fdStore) resume(first bool) *Journal {
	items := fdstore.NewItems()
	items.Add("other", nil, []int{1})
	if b.fd >= 0 {
		items.Add(Item, nil, []int{b.copyOf(b.fd)})
	}
	j := Resume(b, items, first, func(text string) { b.t.Log(text) })
	if len(items.Files) != 1 {
		b.t.Errorf("left in the fd store: %v", items.Files)
	}
	b.t.Cleanup(func() { j.file.Close() })
	return j
}

// summary are events as text: numbers and kinds.
func summary(events []Event) string {
	var out []string
	for _, e := range events {
		text := fmt.Sprint(e.ID, " ", e.Kind)
		if e.Missed > 0 {
			text += fmt.Sprint(" ", e.Missed)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestRestore(t *testing.T) {
	b := newFDStore(t)
	j := b.resume(true)
	code, at := 3, time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	first := j.Append(Event{Kind: "started", Service: "web", Start: 7, Pid: 42, Time: at})
	j.Append(Event{Kind: "exited", Service: "web", Start: 7, Code: &code, Signal: "KILL", OOM: true, Reason: "line\nbreak \xff <&>"})
	j.Append(Event{Kind: KindHook, Service: "web", Start: 7, Hook: &Hook{Event: "exited", Name: "tell", Tries: 2, Took: time.Second,
		Annotations: map[string]string{"a": "b"}}})
	if first != 1 || j.Last() != 3 {
		t.Errorf("the first is %d, the last %d", first, j.Last())
	}
	next := b.resume(false)
	got := next.Since(0, Filter{})
	if summary(got) != "1 started, 2 exited, 3 hook" {
		t.Fatalf("kept are %s", summary(got))
	}
	if e := got[0]; !e.Time.Equal(at) || e.Time.Location() != time.UTC || e.Pid != 42 || e.Start != 7 || e.Code != nil {
		t.Errorf("%+v", e)
	}
	if e := got[1]; *e.Code != 3 || e.Signal != "KILL" || !e.OOM || e.Reason != "line\nbreak \ufffd <&>" || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	if h := got[2].Hook; h == nil || h.Name != "tell" || h.Took != time.Second || h.Annotations["a"] != "b" {
		t.Errorf("%+v", h)
	}
	if id := next.Append(Event{Kind: KindConfig}); id != 4 {
		t.Errorf("the number behind 3 is %d", id)
	}
}

// TestAppendedAgain: a supervisor that takes over appends events again that may be recorded
// already. Events that may happen repeatedly are recorded each time.
func TestAppendedAgain(t *testing.T) {
	b := newFDStore(t)
	j := b.resume(true)
	moment := time.Now()
	all := []Event{
		{Kind: "init"}, {Kind: KindContainer, State: "stopping"}, {Kind: "ready", Service: "web", Start: 1}, {Kind: "ready", Service: "web",
			Start: 2}, {Kind: "ready", Service: "db", Start: 1},
		{Kind: KindHook, Service: "web", Start: 1, Hook: &Hook{Event: "ready", Name: "a", Moment: moment}},
		{Kind: KindHook, Service: "web", Start: 1, Hook: &Hook{Event: "ready", Name: "a", Plugin: "p", Moment: moment}},
		{Kind: KindHook, Service: "web", Start: 1, Hook: &Hook{Event: "ready", Name: "a", Moment: moment.Add(1)}}, // by hand
	}
	again := []Event{{Kind: KindConfig}, {Kind: KindPlugin, Plugin: "p", State: "active"},
		{Kind: KindHook, Hook: &Hook{Event: "init", Name: "no moment"}}}
	for k, e := range append(all, again...) {
		if id := j.Append(e); id != uint64(k+1) {
			t.Errorf("%s has number %d, want %d", e.Kind, id, k+1)
		}
	}
	j = b.resume(false)
	for k, e := range all {
		if id := j.Append(e); id != uint64(k+1) {
			t.Errorf("%s appended again has number %d, want %d", e.Kind, id, k+1)
		}
	}
	last := j.Last()
	for _, e := range again {
		j.Append(e)
	}
	if got := j.Last() - last; got != uint64(len(again)) {
		t.Errorf("%d of %d were kept again", got, len(again))
	}
}

// TestIncompleteLineIsDropped: the writer was killed at every byte of the last event.
func TestIncompleteLineIsDropped(t *testing.T) {
	b := newFDStore(t)
	j := b.resume(true)
	j.Append(Event{Kind: "started", Service: "web", Start: 1})
	whole := j.size
	j.Append(Event{Kind: "ready", Service: "web", Start: 1})
	for size := j.size - 1; size >= whole; size-- {
		if err := unix.Ftruncate(b.fd, size); err != nil {
			t.Fatal(err)
		}
		next := b.resume(false)
		if got := summary(next.Since(0, Filter{})); got != "1 started" {
			t.Fatalf("of %d bytes: %s", size, got)
		}
		if id := next.Append(Event{Kind: "exited", Service: "web", Start: 1}); id != 2 {
			t.Fatalf("the number is %d", id)
		}
		if got := summary(b.resume(false).Since(0, Filter{})); got != "1 started, 2 exited" {
			t.Fatalf("behind %d bytes: %s", size, got)
		}
	}
}

// TestUnreadableJournal: the events are dropped, and no ID is used again.
func TestUnreadableJournal(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "what\n", "numbers out of order": `{"id":5}` + "\n" + `{"id":5}` + "\n",
		"too long": strings.Repeat("x", maxBytes+maxEvent+1)} {
		b := newFDStore(t)
		j := b.resume(true)
		j.Append(Event{Kind: "init"})
		if _, err := unix.Pwrite(b.fd, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(b.fd, int64(len(text))); err != nil {
			t.Fatal(err)
		}
		next := b.resume(false)
		if got := next.Since(0, Filter{}); len(got) != 0 {
			t.Errorf("%s: kept are %s", name, summary(got))
		}
		id := next.Append(Event{Kind: "init"})
		if id < 1<<50 || id > 1<<53 {
			t.Errorf("%s: the next number is %d", name, id)
		}
		if got := next.Since(1, Filter{}); len(got) != 2 || got[0].Kind != KindMissed || got[0].Missed != 0 || got[1].ID != id {
			t.Errorf("%s: a follower gets %s", name, summary(got))
		}
		if again := b.resume(false); again.Last() != id {
			t.Errorf("%s: the last number is %d, was %d", name, again.Last(), id)
		}
	}
	b := newFDStore(t)
	if id := b.resume(false).Append(Event{Kind: "init"}); id < 1<<50 {
		t.Errorf("a second supervisor that finds nothing begins with %d", id)
	}
}

func TestOldEventsAreDropped(t *testing.T) {
	long := strings.Repeat("reason ", 400)
	for _, test := range []struct {
		name   string
		reason string
		n      int
	}{{"by number", "", 2*maxEvents + 7}, {"by size", long, 2 * maxBytes / len(long)}} {
		b := newFDStore(t)
		j := b.resume(true)
		for k := range test.n {
			if id := j.Append(Event{Kind: "ready", Service: "web", Start: uint64(k), Reason: test.reason}); id != uint64(k+1) {
				t.Fatalf("%s: the number is %d, want %d", test.name, id, k+1)
			}
			if len(j.events) > maxEvents || j.size > maxBytes || len(j.once) != len(j.events) {
				t.Fatalf("%s: kept are %d events with %d bytes, %d are known", test.name, len(j.events), j.size, len(j.once))
			}
		}
		next := b.resume(false)
		got, want := next.Since(0, Filter{}), j.Since(0, Filter{})
		if fmt.Sprint(summary(got)) != fmt.Sprint(summary(want)) || next.Last() != uint64(test.n) {
			t.Errorf("%s: the next supervisor has other events", test.name)
		}
		gone := next.events[0].ID - 1
		if len(next.events) < 150 || got[0].Kind != KindMissed || got[0].Missed != gone || got[0].ID != gone {
			t.Errorf("%s: %d are kept, the first is %+v", test.name, len(next.events), got[0])
		}
		if rest := next.Since(gone-5, Filter{}); rest[0].Missed != 5 || len(rest) != len(next.events)+1 {
			t.Errorf("%s: behind %d come %d", test.name, gone-5, len(rest))
		}
		first, last := key{service: "web", kind: "ready"}, key{service: "web", start: uint64(test.n - 1), kind: "ready"}
		if next.once[first] != 0 || next.once[last] == 0 {
			t.Errorf("%s: the keys are not those of what is kept", test.name)
		}
	}
}

func TestFilters(t *testing.T) {
	b := newFDStore(t)
	j := b.resume(true)
	for k := range 10 {
		j.Append(Event{Kind: []string{"started", "ready"}[k%2], Service: []string{"web", "db", "web"}[k%3], Start: uint64(k)})
	}
	j.Append(Event{Kind: KindConfig})
	for _, test := range []struct {
		want Filter
		n    int
		tail string
	}{
		{Filter{}, 2, "10 ready, 11 config"},
		{Filter{}, 0, ""},
		{Filter{Services: []string{"db"}}, 2, "5 started, 8 ready"},
		{Filter{Services: []string{"db", "web"}, Kinds: []string{"started"}}, 3, "5 started, 7 started, 9 started"},
		{Filter{Kinds: []string{KindConfig, KindHook}}, 100, "11 config"},
		{Filter{Services: []string{"nobody"}}, 100, ""},
	} {
		if got, last := j.Tail(test.n, test.want); summary(got) != test.tail || last != 11 {
			t.Errorf("%+v: %s up to %d, want %s", test.want, summary(got), last, test.tail)
		}
	}
	if got := summary(j.Since(6, Filter{Services: []string{"web"}})); got != "7 started, 9 started, 10 ready" {
		t.Errorf("since 6: %s", got)
	}
	if got := j.Since(4711, Filter{}); len(got) != 11 {
		t.Errorf("after an unknown ID there are %d events", len(got))
	}
}

// TestFollow: a follower gets every event once, in order. A stalled one is not waited for, and gets
// the number of events that it has missed.
func TestFollow(t *testing.T) {
	b := newFDStore(t)
	j := b.resume(true)
	j.Append(Event{Kind: "init"})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const many = 3 * maxEvents
	got, stalled, release := make(chan Event, many+1), make(chan Event, 1), make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { // ends with ctx
		if err := j.Follow(ctx, 0, Filter{}, func(e Event) error { got <- e; return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ends with %v", err)
		}
	})
	following.Go(func() { // ends with enough
		enough, n := errors.New("enough"), 0
		err := j.Follow(ctx, 0, Filter{Kinds: []string{"ready"}}, func(e Event) error {
			if n++; n == 1 {
				stalled <- e
				<-release
				return nil
			}
			stalled <- e
			return enough
		})
		if !errors.Is(err, enough) {
			t.Errorf("Follow ends with %v", err)
		}
	})
	j.Append(Event{Kind: "ready", Service: "web", Start: 1})
	if e := <-stalled; e.ID != 2 {
		t.Errorf("the first is %+v", e)
	}
	for want := uint64(1); want <= 2; want++ {
		if e := <-got; e.ID != want {
			t.Errorf("followed: %d, want %d", e.ID, want)
		}
	}
	for k := range many {
		id := j.Append(Event{Kind: "started", Service: "web", Start: uint64(k)})
		if e := <-got; e.ID != id {
			t.Fatalf("followed: %d, want %d", e.ID, id)
		}
	}
	close(release)
	first := j.events[0].ID
	if e := <-stalled; e.Kind != KindMissed || e.Missed != first-3 || e.ID != first-1 {
		t.Errorf("the stalled one gets %+v, want %d missed", e, first-3)
	}
	cancel()
	following.Wait()
}

func TestEventsAreBounded(t *testing.T) {
	b := newFDStore(t)
	j := b.resume(true)
	long := strings.Repeat("\x00", 100<<10)
	h := &Hook{Event: "ready", Name: "loud", Why: long, Output: strings.Repeat("x", 10000) + "end", Annotations: map[string]string{"a": long}}
	j.Append(Event{Kind: KindHook, Reason: long, Changes: strings.Split(strings.Repeat("restart web\n", 1000), "\n"), Hook: h})
	j.Append(Event{Kind: KindHook, Hook: &Hook{Event: "ready", Name: "loud", Output: strings.Repeat("x", 10000) + "end"}})
	got := j.Since(0, Filter{})
	if line, err := j.events[0].encode(); err != nil || len(got) != 2 || got[0].Hook.Name != "loud" || len(line) > maxEvent {
		t.Fatalf("%d events, the first with %d bytes", len(got), len(line))
	}
	if out := got[1].Hook.Output; len(out) != maxText || !strings.HasSuffix(out, "end") {
		t.Errorf("the output has %d bytes", len(out))
	}
	if len(h.Output) != 10003 {
		t.Error("the caller's hook is cut")
	}
}

// FuzzResume: a journal works whatever the memfd contains.
func FuzzResume(f *testing.F) {
	f.Add([]byte(`{"id":1,"time":"2026-01-01T00:00:00Z","kind":"init"}` + "\n"))
	f.Add([]byte(`{"id":7,"kind":"hook","hook":{"event":"ready"}}` + "\n{"))
	f.Add([]byte("\n\n"))
	f.Add([]byte(`{"id":18446744073709551615}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, data); err != nil {
			t.Fatal(err)
		}
		b := &fdStore{t, -1}
		items := fdstore.NewItems()
		items.Add(Item, nil, []int{fd})
		j := Resume(b, items, false, func(string) {})
		before := j.Since(0, Filter{})
		id := j.Append(Event{Kind: KindConfig, Reason: "fuzz"})
		after, last := j.Tail(1, Filter{})
		if len(after) != 1 || after[0].ID != id || last != id || after[0].Reason != "fuzz" {
			t.Errorf("kept is %s, the number was %d", summary(after), id)
		}
		if n := len(before); n > 0 && before[n-1].ID >= id {
			t.Errorf("%d comes behind %d", id, before[n-1].ID)
		}
		j.file.Close()
		unix.Close(b.fd)
	})
}

// BenchmarkAppend is the cost of an event with a follower.
func BenchmarkAppend(b *testing.B) {
	j := newFDStore(b).resume(true)
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { _ = j.Follow(ctx, 0, Filter{}, func(Event) error { return nil }) }) // ends with ctx
	e := Event{Kind: "ready", Service: "tomcat", Pid: 4711, Reason: string(bytes.Repeat([]byte("why "), 20))}
	for b.Loop() {
		e.Start++
		j.Append(e)
	}
	cancel()
	following.Wait()
}
