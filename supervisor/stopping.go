package supervisor

import (
	"context"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// stopAsked obeys a wish to be down.
func (s *Service) stopAsked(h happening) {
	s.kept.Asked, s.kept.Budget = h.req.by, max(s.kept.Budget, int64(h.req.budget))
	if h.req.sig != 0 && s.kept.State != Stopping { // there another one was sent already
		s.kept.StopSig = h.req.sig
	}
	s.stop(Stopped, h.req.limit)
	if h.req.again && s.kept.State == Stopping && s.kept.Awaited != nil {
		s.cutHooks("asked to stop again")
	}
}

// restartAsked obeys a wish to be anew.
func (s *Service) restartAsked(h happening) {
	s.kept.Asked = h.req.by
	s.stop(Starting, h.req.limit)
}

func (s *Service) startAfterStop(happening) {
	s.kept.Then, s.kept.Leaving = Starting, false
	s.keep()
}

// stop brings the process down; then says what follows: STOPPED, STARTING (a
// restart) or BACKOFF. limit cuts the time until KILL; 0: as configured.
func (s *Service) stop(then State, limit time.Duration) {
	if s.kept.State == Stopping { // the latest wish counts, and a shorter limit
		s.kept.Then = then
		s.hasten(limit)
		s.keep()
		return
	}
	s.quit()
	if s.proc == nil { // nothing was started yet
		s.kept.Then = then
		s.followStop()
		return
	}
	s.enterStopping(then, limit)
}

// stopSignal is the one of the request, or the configured one.
func (s *Service) stopSignal() syscall.Signal {
	if s.kept.StopSig != 0 {
		return s.kept.StopSig
	}
	sig, err := proc.ParseSignal(s.cfg.Stop.Signal)
	if err != nil {
		return syscall.SIGTERM // refused by the configuration's check
	}
	return sig
}

// Times of the escalation.
const (
	firstPoll = 2 * time.Millisecond // between looks at a group whose leader is gone
	lastPoll  = 100 * time.Millisecond
	heldTime  = time.Second            // a zombie for so long, and nobody is told of its end
	dumpTime  = time.Second            // for a thread dump before KILL
	dumpLeast = 100 * time.Millisecond // with less a thread dump is not worth the wait
)

// enterStopping begins to end the process and all that belongs to it. In turn:
// what depends on it ends, hooks, drain, a thread dump if it hangs, stop command or
// signal, thread dump, KILL.
func (s *Service) enterStopping(then State, limit time.Duration) {
	k := &s.kept
	k.Then, k.Held, k.Draining, k.Asking, k.Told, k.Signaled, k.Dumped, k.Killed = then, false, false, false, false, false, false, false
	k.KillBy, s.poll, s.held = 0, firstPoll, time.Time{}
	s.proc.FreeOutput()
	if limit > 0 {
		k.KillBy = s.world.Now() + int64(limit)
	}
	if then != Delayed {
		s.probeErr = s.world.MayStop(s.name)
		k.Held = s.probeErr != ""
	}
	if k.Held {
		s.log.Info("service is to stop, after others", "why", s.whyStopped(), "waits", s.probeErr)
		s.enter(Stopping, s.untilKill())
		return
	}
	s.enter(Stopping, s.preStop())
	s.proceedStop()
}

// untilKill is what is left of the limit that came with the request; negative:
// there is none.
func (s *Service) untilKill() time.Duration {
	if s.kept.KillBy == 0 {
		return -1
	}
	return max(time.Duration(s.kept.KillBy-s.world.Now()), 0)
}

// releasedStop goes on with a stop that waited for others.
func (s *Service) releasedStop(happening) {
	if !s.kept.Held {
		return
	}
	if s.probeErr = s.world.MayStop(s.name); s.probeErr != "" {
		s.publish()
		return
	}
	s.beginStop()
}

// beginStop begins a stop that others came before.
func (s *Service) beginStop() {
	s.kept.Held = false
	s.setDeadline(s.preStop())
	s.keep()
	s.proceedStop()
}

// drain gives those who use the service the time to see that it is not ready any
// more.
func (s *Service) drain() {
	if !s.leaderGone() {
		s.log.Info("service stops", "pid", s.proc.Pid(), "signal", proc.SignalName(s.stopSignal()), "why", s.whyStopped())
	}
	wait := s.cfg.Stop.Drain
	if left := s.untilKill(); left >= 0 {
		wait = min(wait, left/2)
	}
	if wait <= 0 || s.kept.Asked == "" || s.leaderGone() {
		s.dumpFirst()
		return
	}
	s.kept.Draining = true
	s.setDeadline(wait)
	s.keep()
}

// dumpFirst asks a service that hangs for a thread dump before anything changes.
func (s *Service) dumpFirst() {
	if s.kept.Asked == "" && s.cfg.Live.Failures > 0 && s.kept.Sick >= s.cfg.Live.Failures {
		if wait, ok := s.dump(); ok {
			s.kept.Dumped = true
			s.setDeadline(wait)
			s.keep()
			return
		}
	}
	s.askEnd()
}

// askEnd runs the stop command or sends the signal. A command, and what it brings
// about, have three quarters of the time: then the signal comes before KILL does.
func (s *Service) askEnd() {
	wait := s.patience()
	if s.launch == nil || s.launch.StopCommand == nil || s.leaderGone() || s.kept.StopSig != 0 {
		s.setDeadline(wait)
		s.signalStop()
		return
	}
	limit := wait - wait/signalShare
	s.setDeadline(limit)
	s.kept.Asking = true
	s.keep()
	ctx, cancel := context.WithTimeout(s.life, max(limit-min(lastWords, limit/4), time.Millisecond))
	s.cancel = cancel
	gen, l, p := s.kept.Gen, s.launch, s.proc
	go func() { // ends with the command, which obeys ctx
		defer cancel()
		err := l.StopCommand(ctx, p)
		s.report(s.life, happening{event: EvAsked, gen: gen, err: err})
	}()
}

// asked follows the stop command.
func (s *Service) asked(h happening) {
	if !s.kept.Asking {
		return
	}
	s.kept.Asking = false
	if h.err != nil && !s.leaderGone() {
		s.signalAfterCommand(h.err.Error())
		return
	}
	s.kept.Told = true
	s.keep()
	if s.leaderGone() {
		s.awaitGroup()
	}
}

// lastWords is what a command whose time is over has to end before its deadline, so that
// the error tells what it has written.
const lastWords = 100 * time.Millisecond

// signalShare is the part of the time that the signal keeps where a command comes
// first.
const signalShare = 4

// signalAfterCommand sends the signal where the command did not end the service.
// What is left of the command's time is the signal's too.
func (s *Service) signalAfterCommand(why string) {
	s.log.Warn("the stop command did not end it, sending the signal", "error", why)
	s.setDeadline(min(s.patience(), max(s.stopLeft(), 0)+s.cfg.Stop.Timeout/signalShare))
	s.signalStop()
}

// signalStop asks all that belongs to the service to end, once: many programs
// take a second request for impatience.
func (s *Service) signalStop() {
	s.proc.SignalGroup(s.stopSignal())
	s.proc.SignalGroup(syscall.SIGCONT) // a stopped process cannot obey
	s.kept.Signaled = true
	s.keep()
}

// patience is how long the stop signal or command may take to work. A limit
// includes the time for the thread dump.
func (s *Service) patience() time.Duration {
	limit := s.untilKill()
	if limit < 0 {
		return s.cfg.Stop.Timeout
	}
	if s.dumps() && !s.kept.Dumped {
		limit = max(limit-dumpTime, limit/2)
	}
	return min(s.cfg.Stop.Timeout, limit)
}

// hasten cuts the time of a stop that is under way.
func (s *Service) hasten(limit time.Duration) {
	by := s.world.Now() + int64(limit)
	if limit <= 0 || s.kept.Killed || s.kept.KillBy != 0 && s.kept.KillBy <= by {
		return
	}
	s.kept.KillBy = by
	wait := s.patience()
	switch {
	case s.kept.Held:
		wait = s.untilKill()
	case s.kept.Awaited != nil:
		wait = s.untilKill() / 2
	}
	if s.kept.Deadline == 0 || wait < s.stopLeft() {
		s.setDeadline(wait)
		if s.leaderGone() && !s.kept.Held {
			s.awaitGroup()
		}
	}
}

// leaderGone says whether the end of the process itself has been dealt with.
func (s *Service) leaderGone() bool { return s.kept.UpSince == 0 }

// stopDeadline takes the next step: what was waited for is not waited for any
// longer. While the leader is gone the deadline is also the next look at the rest.
func (s *Service) stopDeadline(happening) {
	if s.leaderGone() && len(s.proc.Members()) == 0 {
		s.dispatch(happening{event: EvGroupGone})
		return
	}
	switch k := &s.kept; {
	case k.Held:
		s.beginStop()
	case k.Awaited != nil:
		s.cutHooks("they take too long")
	case k.Draining:
		k.Draining = false
		s.dumpFirst()
	case k.Asking:
		s.cancel()
		k.Asking = false
		s.signalAfterCommand("it hangs")
	case k.Told && !k.Signaled && !k.Killed:
		s.signalAfterCommand("it had no effect in time")
	case !k.Signaled && !k.Killed:
		s.askEnd()
	default:
		s.escalate()
	}
}

// escalate is thread dump, then KILL, again and again.
func (s *Service) escalate() {
	if left := s.stopLeft(); left > 0 && !s.kept.Killed {
		s.nextPoll(left)
		return
	}
	if wait, ok := s.dump(); ok {
		s.kept.Dumped, s.kept.Signaled = true, true
		s.setDeadline(wait)
		s.keep()
		return
	}
	if !s.kept.Killed {
		s.log.Warn("service does not stop, killing it", "pid", s.proc.Pid())
		s.kept.Killed, s.kept.Signaled = true, true
		s.keep()
	}
	s.proc.SignalGroup(syscall.SIGKILL)
	switch {
	case s.leaderGone() || !s.proc.Held():
		s.held = time.Time{}
	case s.held.IsZero():
		s.held = time.Now()
	case time.Since(s.held) >= heldTime:
		s.log.Warn("service is dead, but a tracer keeps it from being waited for", "pid", s.proc.Pid())
		s.dispatch(happening{event: EvExited, exit: proc.Exit{Code: -1, Signal: syscall.SIGKILL, At: s.world.Now()}})
		return
	}
	s.nextPoll(lastPoll)
	s.publish() // who is left
}

// stopLeft is how much of the configured time is left.
func (s *Service) stopLeft() time.Duration {
	return time.Duration(s.kept.Deadline - s.world.Now())
}

// nextPoll sets the time of the next look, without touching the deadline that
// is kept.
func (s *Service) nextPoll(left time.Duration) {
	s.deadline = time.Now().Add(min(s.poll, left))
	s.poll = min(2*s.poll, lastPoll)
}

// dumps says whether the service can make a thread dump and shall.
func (s *Service) dumps() bool {
	return s.cfg.Stop.ThreadDump != nil && *s.cfg.Stop.ThreadDump && s.launch != nil && s.launch.DumpSignal != 0
}

// dump asks for a thread dump, and says how long it may take; false: none will
// come.
func (s *Service) dump() (time.Duration, bool) {
	wait := dumpTime
	if s.kept.KillBy != 0 {
		wait = min(wait, time.Duration(s.kept.KillBy-s.world.Now()))
	}
	if s.leaderGone() || s.kept.Dumped || s.kept.Killed || wait < dumpLeast || !s.dumps() || !s.proc.Catches(s.launch.DumpSignal) {
		return 0, false
	}
	s.log.Warn("asking for a thread dump", "pid", s.proc.Pid())
	if s.launch.ThreadDump != nil {
		s.dumpAside(wait)
		return wait, true
	}
	if out := s.output(); out != nil {
		s.kept.DumpAt = out.End()
	}
	return wait, s.proc.Signal(s.launch.DumpSignal) == nil
}

// awaitGroup looks whether everything that belongs to the service is gone too.
func (s *Service) awaitGroup() {
	if len(s.proc.Members()) == 0 {
		s.dispatch(happening{event: EvGroupGone})
		return
	}
	if k := &s.kept; !k.Signaled && !k.Killed { // the leader ended before it was asked
		k.Held, k.Draining, k.Asking = false, false, false
		s.cancel()
		s.setDeadline(s.patience())
		s.signalStop()
	}
	s.nextPoll(max(s.stopLeft(), firstPoll))
	s.publish()
}

// groupGone ends STOPPING.
func (s *Service) groupGone(happening) {
	p := s.proc
	s.quit()
	s.proc = nil
	s.followStop()
	p.Done()
	s.world.Changed()
}

// followStop does what was to follow the stop.
func (s *Service) followStop() {
	switch s.kept.Then {
	case Starting:
		s.forgive()
		s.kept.Restarts = 0
		s.enterStarting()
	case Delayed:
		s.settle(s.kept.Exit != nil && s.kept.Exit.Success && s.kept.Reason == "")
	default:
		if s.kept.Asked != "" && s.kept.Exit != nil && s.kept.Exit.Success {
			s.blame("")
		}
		s.enter(Stopped, -1)
	}
}

// whyStopped is who asked for the stop, or what went wrong.
func (s *Service) whyStopped() string {
	if s.kept.Asked == "" {
		return "it failed"
	}
	return "asked for by " + s.kept.Asked
}

// threadDump asks a JVM for one; anything else is left alone.
func (s *Service) threadDump() {
	p := s.process.Load()
	if p == nil || s.dumpSignal.Load() == 0 || !(*p).Catches(syscall.Signal(s.dumpSignal.Load())) {
		return
	}
	s.log.Info("thread dump asked for", "pid", (*p).Pid())
	(*p).Signal(syscall.Signal(s.dumpSignal.Load()))
}
