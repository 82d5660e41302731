package supervisor

import (
	"context"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/proc"
)

func (s *Service) requestStop(h event) {
	s.saved.StopRequestedBy, s.saved.Budget = h.req.by, max(s.saved.Budget, int64(h.req.budget))
	if h.req.sig != 0 && s.saved.State != Stopping { // there another one was sent already
		s.saved.StopSig = h.req.sig
	}
	s.stop(Stopped, h.req.limit)
	again := s.stopRequested == s.saved.Gen // else a client repeats what it has asked of an earlier supervisor
	s.stopRequested = s.saved.Gen
	if !h.req.secondRequest || !again || s.saved.State != Stopping {
		return
	}
	switch s.saved.Phase {
	case PhaseHooks:
		s.cutHooks("asked to stop again")
	case PhaseRequests:
		s.cutRequests("asked to stop again")
	}
}

func (s *Service) requestRestart(h event) {
	s.saved.StopRequestedBy = h.req.by
	s.stop(Starting, h.req.limit)
}

func (s *Service) startAfterStop() {
	s.saved.Then, s.saved.Removed = Starting, false
	s.save()
}

// stop brings the process down; then says what follows: STOPPED, STARTING (a
// restart) or BACKOFF. limit cuts the time until KILL; 0: as configured.
func (s *Service) stop(then State, limit time.Duration) {
	if s.saved.State == Stopping { // the latest request has precedence, and a shorter limit
		s.saved.Then = then
		s.shortenStop(limit)
		s.save()
		return
	}
	s.quit()
	if s.proc == nil { // nothing was started yet
		s.saved.Then = then
		s.afterStop()
		return
	}
	s.enterStopping(then, limit)
}

func (s *Service) stopSignal() syscall.Signal {
	if s.saved.StopSig != 0 {
		return s.saved.StopSig
	}
	sig, err := proc.ParseSignal(s.cfg.Stop.Signal)
	if err != nil {
		return syscall.SIGTERM // refused by the configuration's check
	}
	return sig
}

// Times of the escalation.
const (
	firstPoll = 2 * time.Millisecond // between polls of a group whose leader is gone
	lastPoll  = 100 * time.Millisecond
	heldTime  = time.Second            // a zombie for so long whose end is not reported
	dumpTime  = time.Second            // for a thread dump before KILL
	dumpLeast = 100 * time.Millisecond // with less a thread dump is not worth the wait
	// commandErrorTime is left of a stop command's time when it is killed, so that the error has its output.
	commandErrorTime = 100 * time.Millisecond
	signalShare      = 4 // of the stop timeout, one part is the signal's after a stop command
)

func (s *Service) enterStopping(then State, limit time.Duration) {
	k := &s.saved
	k.Then, k.Phase, k.Dumped, k.KillBy = then, PhaseBegin, false, 0
	s.poll, s.tracedSince = firstPoll, time.Time{}
	s.proc.FreeOutput()
	if limit > 0 {
		k.KillBy = s.env.now() + int64(limit)
	}
	if then != Backoff {
		s.waiting = s.env.mayStop(s.name)
	}
	if then != Backoff && s.waiting != "" {
		k.Phase = PhaseWaiting
		s.log.Info("service is to stop, after others", "why", s.stopReason(), "waits", s.waiting)
		s.enter(Stopping, s.killLimit())
		return
	}
	s.enter(Stopping, s.preStop())
	s.proceedStop()
}

// killLimit is what is left of the limit of the request; negative: there is none.
func (s *Service) killLimit() time.Duration {
	if s.saved.KillBy == 0 {
		return -1
	}
	return max(time.Duration(s.saved.KillBy-s.env.now()), 0)
}

func (s *Service) unblockStop() {
	if s.waiting = s.env.mayStop(s.name); s.waiting != "" {
		s.publish()
		return
	}
	s.beginStop()
}

func (s *Service) beginStop() {
	s.saved.Phase = PhaseBegin
	s.setDeadline(s.preStop())
	s.save()
	s.proceedStop()
}

func (s *Service) drain() {
	if !s.leaderEnded() {
		s.log.Info("service stops", "pid", s.proc.Pid(), "signal", proc.SignalName(s.stopSignal()), "why", s.stopReason())
	}
	wait := s.cfg.Stop.Drain
	if left := s.killLimit(); left >= 0 {
		wait = min(wait, left/2)
	}
	if wait <= 0 || s.saved.StopRequestedBy == "" || s.leaderEnded() {
		s.dumpIfHung()
		return
	}
	s.enterPhase(PhaseDrain, wait)
}

func (s *Service) enterPhase(p Phase, limit time.Duration) {
	s.saved.Phase = p
	s.setDeadline(limit)
	s.save()
}

// dumpIfHung requests a thread dump of a service that hangs before anything changes.
func (s *Service) dumpIfHung() {
	hangs := s.saved.StopRequestedBy == "" && s.cfg.Live.Failures > 0 && s.saved.LiveFailures >= s.cfg.Live.Failures
	if !hangs || !s.requestDump(PhaseHangDump) {
		s.endRequests()
	}
}

// terminate runs the stop command, for at most three quarters of the time, or sends the signal.
func (s *Service) terminate() {
	wait := s.stopTimeout()
	if s.launch == nil || s.launch.StopCommand == nil || s.leaderEnded() || s.saved.StopSig != 0 {
		s.sendStopSignal(wait)
		return
	}
	limit := wait - wait/signalShare
	s.enterPhase(PhaseCommand, limit)
	ctx, cancel := context.WithTimeout(s.life, max(limit-min(commandErrorTime, limit/4), time.Millisecond))
	s.cancel = cancel
	gen, l, p := s.saved.Gen, s.launch, s.proc
	go func() { // ends with the command, which obeys ctx
		defer cancel()
		err := l.StopCommand(ctx, p)
		s.report(s.life, event{kind: EvStopCommandDone, gen: gen, err: err})
	}()
}

func (s *Service) stopCommandDone(h event) {
	if h.err != nil && !s.leaderEnded() {
		s.signalAfterCommand(h.err.Error())
		return
	}
	s.saved.Phase = PhaseCommandDone
	s.save()
	if s.leaderEnded() {
		s.awaitGroup()
	}
}

// signalAfterCommand sends the signal, which gets what is left of the command's time too.
func (s *Service) signalAfterCommand(why string) {
	s.log.Warn("the stop command did not end it, sending the signal", "error", why)
	s.sendStopSignal(min(s.stopTimeout(), max(s.stopLeft(), 0)+s.cfg.Stop.Timeout/signalShare))
}

// sendStopSignal sends the stop signal to the group, once: many programs take a second one as impatience.
func (s *Service) sendStopSignal(limit time.Duration) {
	s.proc.SignalGroup(s.stopSignal())
	s.proc.SignalGroup(syscall.SIGCONT) // a stopped process cannot obey
	s.enterPhase(PhaseSignal, limit)
}

// stopTimeout is how long the stop signal or command may take. A limit includes the time of the thread dump.
func (s *Service) stopTimeout() time.Duration {
	limit := s.killLimit()
	if limit < 0 {
		return s.cfg.Stop.Timeout
	}
	if s.canDump() && !s.saved.Dumped {
		limit = max(limit-dumpTime, limit/2)
	}
	return min(s.cfg.Stop.Timeout, limit)
}

// shortenStop cuts the time of a stop that is under way.
func (s *Service) shortenStop(limit time.Duration) {
	by := s.env.now() + int64(limit)
	if limit <= 0 || s.saved.Phase == PhaseKill || s.saved.KillBy != 0 && s.saved.KillBy <= by {
		return
	}
	s.saved.KillBy = by
	wait := s.stopTimeout()
	switch s.saved.Phase {
	case PhaseWaiting:
		wait = s.killLimit()
	case PhaseHooks:
		wait = s.killLimit() / 2
	case PhaseRequests:
		wait -= wait / signalShare
	}
	if s.saved.Deadline == 0 || wait < s.stopLeft() {
		s.setDeadline(wait)
		if s.leaderEnded() && s.saved.Phase != PhaseWaiting {
			s.awaitGroup()
		}
	}
}

// leaderEnded reports whether the end of the process itself was handled.
func (s *Service) leaderEnded() bool { return s.saved.UpSince == 0 }

func (s *Service) stopCommandTimedOut() {
	if s.saved.Phase == PhaseCommandDone {
		s.signalAfterCommand("it had no effect in time")
		return
	}
	s.cancel()
	s.signalAfterCommand("it hangs")
}

// killDeadline requests a thread dump, then kills, again and again.
func (s *Service) killDeadline() {
	if left := s.stopLeft(); left > 0 && s.saved.Phase != PhaseKill {
		s.nextPoll(left)
		return
	}
	if s.requestDump(PhaseDump) {
		return
	}
	if s.saved.Phase != PhaseKill {
		s.log.Warn("service does not stop, killing it", "pid", s.proc.Pid())
		s.saved.Phase = PhaseKill
		s.save()
	}
	s.proc.SignalGroup(syscall.SIGKILL)
	switch {
	case s.leaderEnded() || !s.proc.Held():
		s.tracedSince = time.Time{}
	case s.tracedSince.IsZero():
		s.tracedSince = time.Now()
	case time.Since(s.tracedSince) >= heldTime:
		s.log.Warn("service is dead, but a tracer keeps it from being waited for", "pid", s.proc.Pid())
		s.exited(event{exit: proc.Exit{Code: -1, Signal: syscall.SIGKILL, At: s.env.now()}})
		return
	}
	s.nextPoll(lastPoll)
	s.publish() // the processes that are left
}

func (s *Service) stopLeft() time.Duration {
	return time.Duration(s.saved.Deadline - s.env.now())
}

// nextPoll sets the time of the next poll; the saved deadline stays.
func (s *Service) nextPoll(left time.Duration) {
	s.deadline = time.Now().Add(min(s.poll, left))
	s.poll = min(2*s.poll, lastPoll)
}

func (s *Service) canDump() bool {
	return s.cfg.Stop.ThreadDump != nil && *s.cfg.Stop.ThreadDump && s.launch != nil && s.launch.DumpSignal != 0
}

// requestDump requests a thread dump and enters the phase that waits for it; false: none will come.
func (s *Service) requestDump(p Phase) bool {
	wait := dumpTime
	if s.saved.KillBy != 0 {
		wait = min(wait, time.Duration(s.saved.KillBy-s.env.now()))
	}
	late := s.leaderEnded() || s.saved.Dumped || s.saved.Phase == PhaseKill || wait < dumpLeast
	if late || !s.canDump() || !s.proc.Catches(s.launch.DumpSignal) {
		return false
	}
	s.log.Warn("asking for a thread dump", "pid", s.proc.Pid())
	if s.launch.ThreadDump != nil {
		s.requestDumpDirectly(wait)
	} else if s.signalDump(s.saved.Gen, s.proc, s.launch.DumpSignal) != nil {
		return false
	}
	s.saved.Dumped = true
	s.enterPhase(p, wait)
	return true
}

func (s *Service) awaitGroup() {
	if len(s.proc.Members()) == 0 {
		s.groupEmpty()
		return
	}
	if s.saved.Phase < PhaseSignal { // the leader ended before it was asked to
		s.cancel()
		s.sendStopSignal(s.stopTimeout())
	}
	s.nextPoll(max(s.stopLeft(), firstPoll))
	s.publish()
}

func (s *Service) groupEmpty() {
	p := s.proc
	s.quit()
	s.proc = nil
	s.afterStop()
	p.Done()
	s.env.updateStopPlan()
}

func (s *Service) afterStop() {
	switch s.saved.Then {
	case Starting:
		s.resetCounters()
		s.saved.Restarts = 0
		s.enterStarting()
	case Backoff:
		s.applyRestartPolicy(s.saved.Exit != nil && s.saved.Exit.Success && s.saved.Reason == "")
	default:
		if s.saved.StopRequestedBy != "" && s.saved.Exit != nil && s.saved.Exit.Success {
			s.setReason("")
		}
		s.enter(Stopped, -1)
	}
}

// stopReason is who requested the stop, or that it failed.
func (s *Service) stopReason() string {
	if s.saved.StopRequestedBy == "" {
		return "it failed"
	}
	return "asked for by " + s.saved.StopRequestedBy
}

// threadDump requests a thread dump of a JVM that runs.
func (s *Snapshot) threadDump(log hclog.Logger) {
	if s.process != nil && s.dumpSignal != 0 && s.process.Catches(s.dumpSignal) {
		log.Info("thread dump asked for", "pid", s.process.Pid())
		s.process.Signal(s.dumpSignal)
	}
}
