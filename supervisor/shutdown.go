package supervisor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/redact"
)

// stopState is what a supervisor must know that comes in the middle of a stop.
type stopState struct {
	Until int64  `json:"until"` // the end of the budget; CLOCK_BOOTTIME, ns
	For   string `json:"for"`   // the essential service whose end caused it
	Code  int    `json:"code"`  // the container's; 0: what the services' say
	Why   string `json:"why"`   // empty: it was asked for
}

// beginStop saves that the container stops, and until when, unless that is known.
func (s *Supervisor) beginStop() {
	if s.stop == nil {
		s.saveStop(stopState{Until: initproto.BootNow() + int64(s.set.Load().StopTimeout)})
	}
	s.stopping.Store(s.stop.Until)
}

func (s *Supervisor) saveStop(st stopState) {
	s.stop = &st
	s.stopping.Store(st.Until)
	if err := s.m.FDStore().PutJSON(stopItem, st); err != nil {
		s.log.Error("cannot save the state of the stop", "error", err)
	}
}

// StopDeadline is when the budget of a stop ends; false: no stop is under way.
func (s *Supervisor) StopDeadline() (time.Time, bool) {
	until := s.stopping.Load()
	return time.Now().Add(time.Duration(until - initproto.BootNow())), until != 0
}

// shutdownFor ends the container because a service has ended or is FATAL.
func (s *Supervisor) shutdownFor(ctx context.Context, name string) int {
	set := s.set.Load()
	st := stopState{Until: initproto.BootNow() + int64(set.StopTimeout), For: name, Why: name + " is over"}
	if snap := set.services[name].snap.Load(); snap.State == Fatal {
		reason, _, _ := strings.Cut(snap.lastFailure(), "\n")
		st.Why = redact.Clip(name+" is FATAL: "+reason, maxOccurrenceReason)
		if snap.Exit != nil && snap.Exit.Status() == 0 {
			st.Code = 1 // it has failed all the same
		}
	}
	s.log.Info("the container ends with a service", "name", name, "why", st.Why)
	s.saveStop(st)
	return s.shutdown(ctx, 0, 0)
}

// shutdown stops everything within one budget and returns the exit code. level is the number of stop requests.
func (s *Supervisor) shutdown(ctx context.Context, level int, sig syscall.Signal) int {
	s.m.Stopping()
	s.beginStop()
	st := *s.stop
	left := func() time.Duration { return time.Duration(st.Until - initproto.BootNow()) }
	s.log.Info("the container stops", "budget", left().Round(10*time.Millisecond))
	own := s.ownShare()
	hooks, cut := context.WithCancel(ctx)
	defer cut()
	hurry := func() { cut(); s.hurry(ctx) }
	if s.opts.Stops != nil {
		s.opts.Stops(cmp.Or(st.Why, "a stop was asked for"), left())
	}
	if s.opts.StopJobs != nil {
		ended := make(chan struct{})
		share := max(left()-reserve-own, 0) * 2 / 5
		go func() { s.opts.StopJobs(ctx, share); close(ended) }() // ends with the jobs, or its time
		if _, alive := s.obey(ended, share+reserve/2, cut); !alive {
			return exit.InitFailed
		}
	}
	done := make(chan struct{})
	go s.stopAll(ctx, max(left()-reserve-own, 10*time.Millisecond), sig, done) // ends when all is stopped, or with ctx
	if level > 1 {
		hurry()
	}
	ended, alive := s.obey(done, max(left()-reserve/2-own, 500*time.Millisecond), hurry)
	if !alive {
		return exit.InitFailed
	}
	if !ended {
		s.log.Error("the budget is used up; what is left is killed", "services", s.alive())
	}
	code := s.code(st)
	if s.opts.Listener != nil {
		through := make(chan struct{})
		go s.runExitHooks(hooks, st, own, code, through) // ends with the hooks, which obey ctx and the budget
		if ended, alive = s.obey(through, max(left()-reserve/2, leastLast), hurry); !alive {
			return exit.InitFailed
		}
		if !ended {
			s.log.Error("the budget is used up; the last hooks are not waited for")
		}
	}
	s.log.Info("the container ends", "code", code)
	return code
}

// obey waits for done and handles further stop requests. ended is false if the time is over first, alive if the init
// is gone.
func (s *Supervisor) obey(done <-chan struct{}, within time.Duration, hurry func()) (ended, alive bool) {
	over := time.After(within)
	for {
		select {
		case <-done:
			return true, true
		case sig := <-s.m.Signals():
			if sig.Stop > 1 && (sig.Signal == syscall.SIGTERM || sig.Signal == syscall.SIGINT) {
				hurry()
			}
			sig.Ack()
		case <-over:
			return false, true
		case <-s.m.Gone():
			return false, false
		}
	}
}

// Grace is what the init may give to processes that no service owns.
func (s *Supervisor) Grace() time.Duration {
	end, _ := s.StopDeadline()
	return min(max(time.Until(end), 0), reserve/2)
}

// stopAll stops every service at once, except that those that need others go first.
func (s *Supervisor) stopAll(ctx context.Context, limit time.Duration, sig syscall.Signal, done chan<- struct{}) {
	var stops sync.WaitGroup
	set := s.set.Load()
	ranks := 0
	for _, r := range set.rank {
		ranks = max(ranks, r)
	}
	share := min(leastShare, limit/time.Duration(ranks+1))
	for _, svc := range slices.Backward(set.inOrder) {
		r := request{event: EvStop, by: "the end of the container", limit: limit - time.Duration(ranks-set.rank[svc.name])*share,
			budget: set.StopTimeout}
		if s.opts.Command {
			r.sig = sig // what the user sent is what the command gets
		}
		if svc.snap.Load().Settled {
			continue // EXITED and FATAL stay what they are
		}
		stops.Go(func() { _ = svc.ask(ctx, r) }) // ends with the stop, or with ctx; the code tells how
	}
	stops.Wait()
	close(done)
}

func (s *Supervisor) hurry(ctx context.Context) {
	s.log.Warn("asked to stop again: killing what is left")
	for _, svc := range s.set.Load().services {
		if !svc.snap.Load().Settled { // it may not have heard of the stop yet
			r := request{event: EvStop, by: "a second request", limit: time.Millisecond}
			go func() { _ = svc.ask(ctx, r) }() // ends with the stop, or with ctx
		}
	}
}

func (s *Supervisor) alive() []string {
	var out []string
	set := s.set.Load()
	for _, svc := range set.inOrder {
		if svc.snap.Load().process != nil {
			out = append(out, svc.name)
		}
	}
	return out
}

// code is the container's exit code: that of an essential service or of the command, else 0 when the main service
// ended as it should.
func (s *Supervisor) code(st stopState) int {
	if st.Code != 0 {
		return st.Code
	}
	name := st.For
	set := s.set.Load()
	if name == "" {
		name = set.Main
	}
	svc := set.services[name]
	if svc == nil {
		return 0
	}
	snap := svc.snap.Load()
	x := snap.Exit
	if x == nil {
		x = snap.Previous // stopped in the middle of a start
	}
	switch {
	case snap.Exit == nil && snap.process != nil:
		return 128 + int(syscall.SIGKILL) // it is being killed with the container
	case x == nil && s.opts.Command:
		return 128 + int(syscall.SIGTERM) // asked to stop before it was started
	case x == nil:
		return 0
	case snap.endsContainer && x.Status() == 0:
		return 1 // it ended well when it was asked to, and was unhealthy
	case st.For == "" && x.Success && !s.opts.Command:
		return 0
	}
	return x.Status()
}
