package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// StartResult is what has become of one start of a service.
type StartResult struct {
	Snapshot Snapshot // of the service, as it is now
	Done     bool     // the start is over: it led to RUNNING, or failed
	Failure  string   // why it failed; empty: it did not, or is not over

	again time.Duration // look again after that long, also if nothing moves; 0: need not
}

// provenAfter is how long a service whose readiness nothing proves must have been
// RUNNING before a start counts as done: a program that ends at once is RUNNING too.
const provenAfter = time.Second

// AwaitStart waits until start number n of a service is over, or ctx is done.
// Numbers are those of Snapshot.Start. False: there is no such service.
func (s *Supervisor) AwaitStart(ctx context.Context, name string, n uint64) (StartResult, bool) {
	for {
		rung := s.bell.next() // before the snapshot: a later change is not missed
		snap, ok := s.Service(name)
		if !ok {
			return StartResult{}, false
		}
		r := s.set.Load().resultOf(snap, n, time.Now())
		if r.Done {
			return r, true
		}
		var again <-chan time.Time
		if r.again > 0 {
			again = time.After(r.again)
		}
		select {
		case <-rung:
		case <-again:
		case <-ctx.Done():
			return r, true
		}
	}
}

// resultOf returns what has become of start number n of a service.
func (s *activeSet) resultOf(snap Snapshot, n uint64, now time.Time) StartResult {
	r := StartResult{Snapshot: snap}
	failed := func(why string) StartResult {
		r.Done, r.Failure = true, why
		return r
	}
	stopped := "it is STOPPED"
	if snap.stopRequestedBy != "" {
		stopped = "it was stopped meanwhile, asked for by " + snap.stopRequestedBy
	}
	switch st := snap.State; {
	case snap.start > n:
		return failed(fmt.Sprintf("start %d is over (%s), start %d is %s", n, snap.lastFailure(), snap.start, st))
	case st == Stopped, st == Stopping && snap.then == Stopped:
		return failed(stopped)
	case st == Stopping, snap.start < n && (st == Running || st == Starting || st == Backoff):
		return r // its turn has not come
	case st == Starting:
		if why := s.awaitedFailure(&snap); why != "" {
			return failed(why)
		}
		return r
	case st == Exited && snap.Oneshot && snap.start == n && snap.Exit != nil && snap.Exit.Success,
		st == Running && !snap.Oneshot && !snap.unproven:
		r.Done = true
		return r
	case st == Running && !snap.Oneshot:
		if r.again = provenAfter - now.Sub(snap.Since); r.again <= 0 {
			r.Done = true
		}
		return r
	case st == Running:
		return r // a oneshot has to end
	}
	return failed(snap.lastFailure())
}

// awaitedFailure returns the failure of a service that a start waits for.
func (s *activeSet) awaitedFailure(snap *Snapshot) string {
	if !snap.waitingForDeps {
		return ""
	}
	for _, name := range s.requires[snap.Name] {
		other := s.services[name].snap.Load()
		failed := other.State == Exited && (other.Exit == nil || !other.Exit.Success)
		if failed || slices.Contains([]State{Backoff, Fatal}, other.State) {
			return fmt.Sprintf("%s, which it requires, is %s: %s", name, other.State, other.lastFailure())
		}
	}
	return ""
}

// lastFailure is the reason of the latest failure that is known.
func (s *Snapshot) lastFailure() string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.Exit != nil:
		return "it ended: " + s.Exit.String()
	case s.Previous != nil:
		return "it ended: " + s.Previous.String()
	}
	return "nothing more is known"
}

// comingStart is the number of the present start, or of the one that follows the stop
// that is under way.
func (k *savedState) comingStart() uint64 {
	if k.State == Stopping && k.Then == Starting {
		return k.Gen + 1
	}
	return k.Start
}

// bell wakes any number of waiters.
type bell struct {
	mu    sync.Mutex    // guards rings
	rings chan struct{} // closed by ring; nil: no waiter
}

// next is closed by the next ring.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings == nil {
		b.rings = make(chan struct{})
	}
	return b.rings
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings != nil {
		close(b.rings)
		b.rings = nil
	}
}
