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

func (s *Service) enterStarting() {
	s.endStart()
	k := &s.saved
	k.Start, k.Attempt, k.Reached = k.Gen+1, k.InARow+1, nil
	k.Variant, k.NextVariant = k.NextVariant, ""
	s.attempt()
}

// attempt makes a start, or makes it again: what the service requires comes first, then the hooks.
func (s *Service) attempt() {
	k := &s.saved
	k.Gen++
	if k.Exit != nil {
		k.Previous = k.Exit
	}
	k.attemptState, k.Exit, k.UpSince, k.Then, k.Phase = attemptState{}, nil, 0, "", PhaseBegin
	s.quit()
	s.proc, s.launch, s.watcher, s.oomAfter = nil, nil, nil, incident.OOMCount{}
	if s.waiting = s.env.mayStart(s.name); s.waiting != "" {
		k.Phase = PhaseWaiting
		s.enter(Starting, -1)
		return
	}
	s.enter(Starting, s.preStart())
	s.logStart()
	s.proceed()
}

// logStart logs a start that was asked for, when it waits for nothing more.
func (s *Service) logStart() {
	if s.askedBy != "" {
		s.log.Info("service starts", "asked_by", s.askedBy)
		s.askedBy = ""
	}
}

func (s *Service) unblockStart() {
	if s.saved.Phase != PhaseWaiting {
		return
	}
	if s.waiting = s.env.mayStart(s.name); s.waiting != "" {
		s.publish() // it is another one now that is missing
		return
	}
	s.saved.Phase = PhaseBegin
	s.setDeadline(s.preStart())
	s.save()
	s.logStart()
	s.proceed()
}

func (s *Service) prepare() {
	ctx, gen, launcher := s.begin(), s.saved.Gen, s.launcher
	go func() { // ends when Prepare does, which obeys ctx
		launch, err := launcher.Prepare(ctx)
		s.report(ctx, event{kind: EvPrepared, gen: gen, launch: launch, err: err})
	}()
}

// begin returns the context of what the present start has under way.
func (s *Service) begin() context.Context {
	s.quit()
	ctx, cancel := context.WithCancel(s.life)
	s.cancel = cancel
	return ctx
}

func (s *Service) quit() {
	s.cancel()
	s.stopWatching()
	if s.watcher != nil {
		s.watcher.stop()
	}
}

// report hands an event to the service, unless ctx is done.
func (s *Service) report(ctx context.Context, h event) {
	select {
	case s.events <- h:
	case <-ctx.Done():
	}
}

// prepared starts what was prepared, once.
func (s *Service) prepared(h event) {
	if s.proc != nil || s.saved.Phase != PhaseBegin {
		return
	}
	if h.err != nil {
		s.startFailed(h.err)
		return
	}
	if s.waiting = s.env.mayStart(s.name); s.waiting != "" { // it went while we found out what to start
		s.enterPhase(PhaseWaiting, -1)
		return
	}
	s.spawn(h.launch)
}

func (s *Service) notReady(h event) {
	s.waiting = h.err.Error()
	s.publish()
}

func (s *Service) failureFound(h event) {
	if s.proc != nil {
		s.fail(incident.CauseFailedStart, h.text)
	}
}

func (s *Service) startTimedOut() {
	if s.proc == nil {
		s.startFailed(fmt.Errorf("cannot find out within %v what to start", s.cfg.Ready.Within))
		return
	}
	why := fmt.Sprintf("not ready within %v", s.cfg.Ready.Within)
	if s.waiting != "" {
		why += ": " + s.waiting
	}
	s.fail(incident.CauseStartTimeout, why)
}

func (s *Service) spawn(l *Launch) {
	for _, warning := range l.Warnings {
		if !slices.Contains(s.saved.Notes, clip(warning)) { // the latest start had it too
			s.log.Warn("warning of the start", "warning", warning)
		}
	}
	s.launch, s.saved.Notes, s.saved.Port = l, nil, l.Port
	for _, note := range slices.Concat(l.Notes, l.Warnings) {
		s.addNote(note)
	}
	if s.saved.Variant != "" {
		s.addNote(s.saved.Variant)
	}
	l.Spec.ID = s.processID()
	if io := &l.Spec.Stdio; io.Mode != proc.Inherit {
		io.Mode, io.Merge = proc.Capture, s.cfg.Output.Merge
		if io.Log = s.env.Log(s.name); io.Log == nil {
			io.Mode = proc.Inherit
		}
	}
	if out := s.output(); out != nil {
		s.saved.LogStart = out.End()
	}
	s.saved.ConfigHash, s.saved.Sources, s.saved.AttachData = s.configHash, l.Sources, ""
	if len(l.AttachData) <= maxAttachData {
		s.saved.AttachData = l.AttachData
	}
	s.save() // where its output begins must be known before there is any
	p, err := s.env.startProcess(context.Background(), l.Spec)
	if err != nil {
		s.startFailed(err)
		return
	}
	s.proc, s.saved.UpSince, s.saved.Pid = p, s.env.now(), p.Pid()
	s.occur(lifecycle.Started, "")
	s.saved.OOM = s.env.oomCount(p.Cgroups(), false)
	s.save()
	s.env.updateStopPlan()
	s.log.Debug("process started", "pid", p.Pid())
	s.attend()
}

// processID names the process of the present start.
func (s *Service) processID() string { return fmt.Sprintf("%s.%d", s.name, s.saved.Gen) }

// ServiceOf returns the service of a process ID; false: it is a hook, a probe or another command.
func ServiceOf(id string) (name string, ok bool) {
	if strings.ContainsAny(id, "@/") {
		return "", false
	}
	dot := strings.LastIndexByte(id, '.')
	return id[:max(dot, 0)], dot > 0
}

// attend probes a process that is not ready yet.
func (s *Service) attend() {
	ctx := s.begin()
	gen, p, l, ready := s.saved.Gen, s.proc, s.launch, s.cfg.Ready
	if l.unproven(ready) {
		s.ready()
		return
	}
	s.watcher = s.watch(l)
	s.watchDebugger(ctx)
	go s.awaitReady(ctx, gen, ready, p, l, s.watcher) // ends with ctx or when ready
}

// unproven reports that nothing proves the readiness of what was started.
func (l *Launch) unproven(ready Ready) bool { return l.Ready == nil && ready.Log == "" }

// awaitReady probes until the service is ready, as it was configured at the start.
func (s *Service) awaitReady(ctx context.Context, gen uint64, ready Ready, p Process, l *Launch, w *watcher) {
	if ready.Log != "" && !s.awaitLine(ctx, gen, ready.Log, w) {
		return
	}
	for pause := firstPause; l.Ready != nil; pause = min(2*pause, ready.Every) {
		err := probe.Check(ctx, l.Ready, p, ready.Timeout)
		if err == nil {
			break
		}
		s.report(ctx, event{kind: EvNotReady, gen: gen, err: err})
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
	s.report(ctx, event{kind: EvReady, gen: gen})
}

func (s *Service) ready() {
	if s.proc == nil || s.launch == nil {
		return
	}
	took := time.Duration(s.env.now() - s.saved.UpSince).Round(time.Millisecond)
	s.quit()
	s.setReason("")
	s.waiting = ""
	s.occur(lifecycle.Ready, "")
	s.enter(Running, s.cfg.Restart.Backoff.Reset)
	if s.cfg.Oneshot {
		s.log.Info("service runs", "pid", s.proc.Pid())
	} else {
		s.log.Info("service is ready", "pid", s.proc.Pid(), "took", took)
	}
	s.watchRunning()
	s.verify()
}

func (s *Service) startFailed(err error) {
	s.quit()
	if errors.Is(err, proc.ErrStopping) {
		s.enter(Stopped, -1)
		return
	}
	again := s.saved.InARow > 0 && s.saved.Reason == clip(err.Error())
	s.setReason(err.Error())
	code := 1
	var se *program.StartError
	if errors.As(err, &se) {
		code = se.Code()
	}
	s.saved.Exit = &incident.Exit{Code: code, NotStarted: true, At: time.Now()}
	s.occur(lifecycle.StartFailed, s.saved.Reason)
	var l PermanentError
	s.saved.Permanent = errors.As(err, &l) && l.Lasting()
	switch {
	case !again:
		s.log.Error("service cannot be started", "error", err)
	case !s.saved.Permanent: // else what follows says it
		s.log.Error("service cannot be started, for the same reason as before", "tries", s.saved.InARow+1)
	}
	s.record(s.failure(incident.CauseNotStarted, s.saved.Reason, 0))
	s.applyRestartPolicy(false)
}

// PermanentError is an error of Launcher.Prepare that no retry changes.
type PermanentError interface {
	error
	Lasting() bool
}

func (s *Service) fail(what incident.Cause, why string) {
	s.setReason(why)
	s.occur(lifecycle.StartFailed, s.saved.Reason)
	s.log.Error("service failed to start", "reason", why)
	f := s.failure(what, s.saved.Reason, 0)
	f.Explain = s.explanation()
	s.record(f)
	s.stop(Backoff, 0)
}
