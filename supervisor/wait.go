package supervisor

import (
	"context"
	"fmt"
	"time"
)

// StartResult is the result of one start of a service.
type StartResult struct {
	Snapshot Snapshot // of the service, as it is now
	Done     bool     // the start is over: it led to RUNNING, or failed
	Failure  string   // why it failed; empty: it did not, or is not over
}

// AwaitStart waits until start number n (Snapshot.Start) of a service is over, or ctx is done. False: no such service.
func (s *Supervisor) AwaitStart(ctx context.Context, name string, n uint64) (StartResult, bool) {
	ticker := time.NewTicker(awaitPoll)
	defer ticker.Stop()
	for {
		snap, ok := s.Service(name)
		if !ok {
			return StartResult{}, false
		}
		done, failure := s.set.Load().resultOf(&snap, n)
		if done {
			return StartResult{snap, true, failure}, true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return StartResult{Snapshot: snap}, true
		}
	}
}

// resultOf returns whether start number n of a service is over, and why it failed.
func (s *activeSet) resultOf(snap *Snapshot, n uint64) (done bool, failure string) {
	switch st := snap.State; {
	case snap.start > n:
		return true, fmt.Sprintf("start %d is over (%s), start %d is %s", n, snap.lastFailure(), snap.start, st)
	case (st == Stopped || st == Stopping && snap.then == Stopped) && snap.stopRequestedBy != "":
		return true, "it was stopped meanwhile, asked for by " + snap.stopRequestedBy
	case st == Stopped, st == Stopping && snap.then == Stopped:
		return true, "it is STOPPED"
	case st == Stopping, snap.start < n && (st == Running || st == Starting || st == Backoff):
		return false, "" // its turn has not come
	case st == Starting:
		failure = s.awaitedFailure(snap)
		return failure != "", failure
	case st == Running && snap.Oneshot:
		return false, "" // it has to end
	case st == Running:
		return !snap.unproven || time.Since(snap.Since) >= provenAfter, ""
	case st == Exited && snap.Oneshot && snap.start == n && snap.succeeded():
		return true, ""
	}
	return true, snap.lastFailure()
}

func (s *activeSet) awaitedFailure(snap *Snapshot) string {
	if !snap.waitingForDeps {
		return ""
	}
	for _, name := range s.requires[snap.Name] {
		other := s.services[name].snap.Load()
		if other.State == Backoff || other.State == Fatal || other.State == Exited && !other.succeeded() {
			return fmt.Sprintf("%s, which it requires, is %s: %s", name, other.State, other.lastFailure())
		}
	}
	return ""
}

func (s *Snapshot) succeeded() bool { return s.Exit != nil && s.Exit.Success }

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

// comingStart is the number of the present start, or of the one that follows the present stop.
func (k *savedState) comingStart() uint64 {
	if k.State == Stopping && k.Then == Starting {
		return k.Gen + 1
	}
	return k.Start
}
