package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// enterStarting begins a start, which is another round.
func (s *Service) enterStarting() {
	s.endRound()
	k := &s.kept
	k.Round, k.Attempt, k.Reached = k.Gen+1, k.InARow+1, nil
	k.Amended, k.Amend = k.Amend, ""
	s.try()
}

// try makes a start, or makes it again where nothing came of it: number, state in
// the bag, then the work. What the service requires comes first, then the hooks.
func (s *Service) try() {
	k := &s.kept
	k.Gen++
	if k.Exit != nil {
		k.Previous = k.Exit
	}
	k.Asked, k.Exit, k.UpSince, k.StopSig, k.Then = "", nil, 0, 0, ""
	k.Sick, k.Well, k.LiveErr, k.Reported, k.DumpAt, k.Made, k.Sources, k.Learned, k.Spared = 0, 0, "", false, 0, "", "", "", false
	k.Complaints = nil
	k.Killed, k.Signaled, k.Told = false, false, false // of an earlier stop
	k.Pid, k.Port, k.Budget, k.OOMKilled, k.Confirmed = 0, 0, 0, false, false
	k.Debugging, k.StartLeft, k.Lasting = Debugging{}, 0, false
	s.quit()
	s.proc, s.launch, s.watcher, s.oomAfter = nil, nil, nil, incident.OOMCount{}
	if s.probeErr = s.world.MayStart(s.name); s.probeErr != "" {
		k.Held = true
		s.enter(Starting, -1)
		return
	}
	k.Held = false
	s.enter(Starting, s.preStart())
	s.proceed()
}

// releasedStart goes on with a start that waited for others.
func (s *Service) releasedStart(h happening) {
	if !s.kept.Held {
		return
	}
	if s.probeErr = s.world.MayStart(s.name); s.probeErr != "" {
		s.publish() // it is another one now that is missing
		return
	}
	s.kept.Held = false
	s.setDeadline(s.preStart())
	s.keep()
	s.proceed()
}

// prepare has the launcher find out what to start.
func (s *Service) prepare() {
	ctx, gen, launcher := s.begin(), s.kept.Gen, s.launcher
	go func() { // ends when Prepare does, which obeys ctx
		launch, err := launcher.Prepare(ctx)
		s.report(ctx, happening{event: EvSpawned, gen: gen, launch: launch, err: err})
	}()
}

// begin makes the context of what one start has under way.
func (s *Service) begin() context.Context {
	s.quit()
	ctx, cancel := context.WithCancel(s.life)
	s.cancel = cancel
	return ctx
}

// quit ends what the present start has under way.
func (s *Service) quit() {
	s.cancel()
	s.unlook()
	if s.watcher != nil {
		s.watcher.stop()
	}
}

// report hands an event to the service, unless it is of no interest any more.
func (s *Service) report(ctx context.Context, h happening) {
	select {
	case s.happened <- h:
	case <-ctx.Done():
	}
}

// spawned starts what was prepared, unless that was done: nothing is ever started
// twice.
func (s *Service) spawned(h happening) {
	if s.proc != nil || s.kept.Held || s.kept.Awaited != nil {
		return
	}
	if s.probeErr = s.world.MayStart(s.name); s.probeErr != "" { // it went while we found out what to start
		s.kept.Held = true
		s.setDeadline(-1)
		s.keep()
		return
	}
	s.spawn(h.launch)
}

// unborn is a start that could not be prepared.
func (s *Service) unborn(h happening) {
	if s.proc == nil && !s.kept.Held && s.kept.Awaited == nil {
		s.notBorn(h.err)
	}
}

func (s *Service) proven(happening) {
	if s.proc != nil && s.launch != nil {
		s.ready()
	}
}

func (s *Service) unready(h happening) {
	s.probeErr = h.err.Error()
	s.publish()
}

func (s *Service) saidFailed(h happening) {
	if s.proc != nil {
		s.fail(incident.CauseFailedStart, h.text)
	}
}

func (s *Service) startTimeout(happening) {
	if s.proc == nil {
		s.notBorn(fmt.Errorf("cannot find out within %v what to start", s.cfg.Ready.Within))
		return
	}
	why := fmt.Sprintf("not ready within %v", s.cfg.Ready.Within)
	if s.probeErr != "" {
		why += ": " + s.probeErr
	}
	s.fail(incident.CauseStartTimeout, why)
}

// spawn starts the process that was prepared.
func (s *Service) spawn(l *Launch) {
	for _, warning := range l.Warnings {
		if !slices.Contains(s.kept.Notes, clip(warning)) { // the latest start had it too
			s.log.Warn("warning of the start", "warning", warning)
		}
	}
	s.launch, s.kept.Notes, s.kept.Port = l, nil, l.Port
	for _, note := range slices.Concat(l.Notes, l.Warnings) {
		s.addNote(note)
	}
	if s.kept.Amended != "" {
		s.addNote(s.kept.Amended)
	}
	l.Spec.ID = fmt.Sprintf("%s.%d", s.name, s.kept.Gen)
	if io := &l.Spec.Stdio; io.Mode != proc.Inherit {
		io.Mode, io.Merge = proc.Capture, s.cfg.Output.Merge
		if io.Log = s.world.Log(s.name); io.Log == nil {
			io.Mode = proc.Inherit
		}
	}
	if out := s.output(); out != nil {
		s.kept.LogStart = out.End()
	}
	s.kept.Made, s.kept.Sources, s.kept.Learned = s.made, l.Sources, ""
	if len(l.Learned) <= maxLearned {
		s.kept.Learned = l.Learned
	}
	s.keep() // where its output begins must be known before there is any
	p, err := s.world.Start(context.Background(), l.Spec)
	if err != nil {
		s.notBorn(err)
		return
	}
	s.proc, s.kept.UpSince, s.kept.Pid = p, s.world.Now(), p.Pid()
	s.reach(lifecycle.Started, "")
	s.kept.OOM = s.world.OOM(p.Cgroups(), false)
	s.keep()
	s.world.Changed()
	s.log.Debug("process started", "pid", p.Pid())
	s.attend()
}

// ServiceOf gives the service that a process with this ID is a start of; false: the
// process is a hook, a probe or another command of stoker's.
func ServiceOf(id string) (name string, ok bool) {
	if strings.ContainsAny(id, "@/") {
		return "", false
	}
	dot := strings.LastIndexByte(id, '.')
	return id[:max(dot, 0)], dot > 0
}

// attend looks after a process that is not ready yet.
func (s *Service) attend() {
	ctx := s.begin()
	gen, p, l, ready := s.kept.Gen, s.proc, s.launch, s.cfg.Ready
	if l.unproven(ready) {
		s.ready()
		return
	}
	s.watcher = s.watch(l)
	s.watchDebugger(ctx)
	go s.awaitReady(ctx, gen, ready, p, l, s.watcher) // ends with ctx or when ready
}

// unproven says that nothing proves the readiness of what was started.
func (l *Launch) unproven(ready Ready) bool { return l.Ready == nil && ready.Log == "" }

// firstPause is the time between the first two readiness checks; it doubles up to
// ready.every.
const firstPause = 20 * time.Millisecond

// awaitReady probes until the service is ready, as it was configured at the start.
func (s *Service) awaitReady(ctx context.Context, gen uint64, ready Ready, p Process, l *Launch, w *watcher) {
	if ready.Log != "" && !s.awaitLine(ctx, gen, string(ready.Log), w) {
		return
	}
	for pause := firstPause; l.Ready != nil; pause = min(2*pause, ready.Every) {
		err := probe.Check(ctx, l.Ready, p, ready.Timeout)
		if err == nil {
			break
		}
		s.report(ctx, happening{event: EvUnready, gen: gen, err: err})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
	if w != nil { // one that says "failed" and answers must not count as ready
		p.FlushOutput()
		w.reach(ctx, s.output().End())
	}
	s.report(ctx, happening{event: EvReady, gen: gen})
}

// ready enters RUNNING.
func (s *Service) ready() {
	took := time.Duration(s.world.Now() - s.kept.UpSince).Round(time.Millisecond)
	s.quit()
	s.blame("")
	s.probeErr = ""
	s.reach(lifecycle.Ready, "")
	s.enter(Running, s.cfg.Restart.Backoff.Reset)
	if s.cfg.Oneshot {
		s.log.Info("service runs", "pid", s.proc.Pid())
	} else {
		s.log.Info("service is ready", "pid", s.proc.Pid(), "took", took)
	}
	s.lookAlive()
	s.verify()
}

// notBorn handles a start that made no process.
func (s *Service) notBorn(err error) {
	s.quit()
	if errors.Is(err, proc.ErrStopping) {
		s.enter(Stopped, -1)
		return
	}
	again := s.kept.InARow > 0 && s.kept.Reason == clip(err.Error())
	s.blame(err.Error())
	code := 1
	var se *program.StartError
	if errors.As(err, &se) {
		code = se.Code()
	}
	s.kept.Exit = &incident.Exit{Code: code, NotStarted: true, At: time.Now()}
	s.reach(lifecycle.StartFailed, s.kept.Reason)
	var l LastingError
	s.kept.Lasting = errors.As(err, &l) && l.Lasting()
	switch {
	case !again:
		s.log.Error("service cannot be started", "error", err)
	case !s.kept.Lasting: // else what follows says it
		s.log.Error("service cannot be started, for the same reason as before", "tries", s.kept.InARow+1)
	}
	s.recordFailure(incident.CauseNotStarted, 0)
	s.settle(false)
}

// LastingError is an error of Launcher.Prepare that can say that only another
// configuration, another start by hand or another container changes it.
type LastingError interface {
	error
	Lasting() bool
}

// fail gives up a start whose process lives.
func (s *Service) fail(what incident.Cause, why string) {
	s.blame(why)
	s.reach(lifecycle.StartFailed, s.kept.Reason)
	s.log.Error("service failed to start", "reason", why)
	s.recordFailure(what, 0)
	s.explain()
	s.stop(Delayed, 0)
}
