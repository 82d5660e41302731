package incident

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func newTestRecorder(s *Store) *Recorder { return NewRecorder(s, nil, hclog.NewNullLogger()) }

// An incident that had to go does not come back with every supervisor.
func TestOldIncidentStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, now := newMemoryStore(t), time.Now()
		store := mem.resume(&warnings{})
		for n := range maxIncidents {
			store.Add(Incident{Summary: Summary{Service: string(rune('a' + n)), At: now.Add(time.Duration(n) * time.Second), Start: 1}})
		}
		var asked atomic.Int32
		for age, want := range map[time.Duration]int32{-time.Second: 0, time.Minute: 1} {
			r := newTestRecorder(store)
			r.begin.Do(func() {}) // nothing is recorded
			r.Resume([]*Failure{{Service: "old", At: now.Add(age), Start: 1}})
			if asked.Store(int32(len(r.queue))); asked.Load() != want {
				t.Errorf("%v: %d are made, want %d", age, asked.Load(), want)
			}
		}
	})
}

// A client that has seen a service fail finds its incident, though it is made a moment later;
// evidence that takes long is not waited for.
func TestIncidentIsThereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore(t).resume(&warnings{})
		r := newTestRecorder(store)
		defer close(r.queue)
		release := make(chan struct{})
		for n := range 2 {
			r.do(func() { store.Add(Incident{Summary: Summary{Service: "app", Start: uint64(n)}}) })
		}
		r.do(func() { <-release })
		begin := time.Now()
		if got := len(r.List()); got != 2 || time.Since(begin) != flushTime {
			t.Errorf("%d incidents after %v, want 2 after %v", got, time.Since(begin), flushTime)
		}
		close(release)
		time.Sleep(time.Second)
		begin = time.Now()
		if _, found := r.Get(2); !found || time.Since(begin) != 0 {
			t.Errorf("incident 2 is there: %v, after %v, with nothing to wait for", found, time.Since(begin))
		}
	})
}

// A start may have several incidents: the one that was not made yet is made by
// the next supervisor, though another one of the start is there.
func TestPendingFailureOfAStartWithIncidents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, now := newMemoryStore(t), time.Now()
		store := mem.resume(&warnings{})
		store.Add(Incident{Summary: Summary{Service: "app", At: now, Start: 1}})
		for age, want := range map[time.Duration]int{0: 0, time.Second: 1} {
			r := newTestRecorder(store)
			r.begin.Do(func() {}) // nothing is recorded
			r.Resume([]*Failure{{Service: "app", At: now.Add(age), Start: 1}})
			if got := len(r.queue); got != want {
				t.Errorf("%v later: %d are made, want %d", age, got, want)
			}
		}
	})
}
