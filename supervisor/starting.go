package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// enterStarting begins a start: number, state in the bag, then the work.
func (s *Service) enterStarting() {
	s.kept.Gen++
	s.kept.Asked, s.kept.Exit, s.kept.UpSince, s.kept.Killed = "", nil, 0, false
	s.kept.StopSig = 0
	s.proc, s.launch, s.probeErr = nil, nil, ""
	s.enter(Starting, s.cfg.Ready.Within)
	ctx := s.begin()
	gen := s.kept.Gen
	go func() { // ends when Prepare does, which obeys ctx
		launch, err := s.launcher.Prepare(ctx)
		s.report(ctx, happening{event: EvSpawned, gen: gen, launch: launch, err: err})
	}()
}

// begin makes the context of what one start has under way.
func (s *Service) begin() context.Context {
	s.cancel()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	return ctx
}

// report hands an event to the service, unless it is of no interest any more.
func (s *Service) report(ctx context.Context, h happening) {
	select {
	case s.happened <- h:
	case <-ctx.Done():
	}
}

// inStarting handles the events of STARTING.
func (s *Service) inStarting(h happening) {
	switch h.event {
	case EvSpawned:
		if h.err != nil {
			s.notBorn(h.err)
			return
		}
		s.spawn(h.launch)
	case EvReady:
		s.ready()
	case EvUnready:
		s.probeErr = h.err.Error()
		s.publish()
	case EvFailed:
		if h.err != errExplained {
			s.fail(h.text)
		}
	case EvDeadline:
		if s.proc == nil {
			s.notBorn(fmt.Errorf("cannot find out within %v what to start", s.cfg.Ready.Within))
			return
		}
		why := fmt.Sprintf("not ready within %v", s.cfg.Ready.Within)
		if s.probeErr != "" {
			why += ": " + s.probeErr
		}
		s.fail(why)
	}
}

// spawn starts the process that was prepared.
func (s *Service) spawn(l *Launch) {
	s.launch, s.kept.Notes = l, l.Notes
	l.Spec.ID = fmt.Sprintf("%s.%d", s.name, s.kept.Gen)
	if l.Spec.Stdout == nil {
		l.Spec.Log = s.world.Log(s.name)
	}
	if l.Spec.Log != nil {
		s.kept.LogStart = l.Spec.Log.End()
	}
	s.keep() // where its output begins must be known before there is any
	p, err := s.world.Start(context.Background(), l.Spec)
	if err != nil {
		s.notBorn(err)
		return
	}
	s.proc, s.kept.UpSince = p, s.world.Now()
	s.keep()
	s.world.Changed()
	s.log.Debug("process started", "pid", p.Pid())
	s.attend()
}

// attend looks after a process that is not ready yet.
func (s *Service) attend() {
	ctx := s.begin()
	gen, p, l := s.kept.Gen, s.proc, s.launch
	s.seen.Store(s.kept.LogStart)
	matched := make(chan struct{})
	if l.Watch != nil && s.world.Log(s.name) != nil {
		go s.watch(ctx, gen, l, matched) // ends with ctx
	} else {
		s.seen.Store(1 << 62)
	}
	if l.Ready == nil && s.cfg.Ready.Log == "" {
		s.ready()
		return
	}
	go s.probe(ctx, gen, p, l, matched) // ends with ctx or when ready
}

// watch reads the output line by line.
func (s *Service) watch(ctx context.Context, gen uint64, l *Launch, matched chan struct{}) {
	open := true
	s.world.Log(s.name).Lines(ctx, s.kept.LogStart, true, func(line proc.Line) error {
		o := l.Watch(line.Text)
		if o.Failed != "" {
			s.report(ctx, happening{event: EvFailed, gen: gen, text: o.Failed})
		}
		if o.Match && open {
			open = false
			close(matched)
		}
		s.seen.Store(max(line.Offset, s.seen.Load()))
		return nil
	})
}

// Times between two looks at readiness: quick at first, so that a fast service
// is not held up.
const firstLook = 20 * time.Millisecond

// probe looks until the service is ready.
func (s *Service) probe(ctx context.Context, gen uint64, p Process, l *Launch, matched <-chan struct{}) {
	if s.cfg.Ready.Log != "" {
		select {
		case <-matched:
		case <-ctx.Done():
			return
		}
	}
	for pause := firstLook; l.Ready != nil; pause = min(2*pause, s.cfg.Ready.Every) {
		err := s.look(ctx, l, p)
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
	s.catchUp(ctx, p)
	s.report(ctx, happening{event: EvReady, gen: gen})
}

// lookTime bounds one look.
const lookTime = 5 * time.Second

func (s *Service) look(ctx context.Context, l *Launch, p Process) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	err := l.Ready.Check(ctx, p)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", lookTime)
	}
	return err
}

// catchUp waits until everything that was written before now has been watched:
// a service that says "failed" and answers must not count as ready.
func (s *Service) catchUp(ctx context.Context, p Process) {
	log := s.world.Log(s.name)
	if log == nil {
		return
	}
	p.FlushOutput()
	end := log.End()
	limit := time.After(2 * time.Second) // an unfinished line at the end is not watched
	for s.seen.Load() < end {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ready enters RUNNING.
func (s *Service) ready() {
	took := time.Duration(s.world.Now() - s.kept.UpSince).Round(time.Millisecond)
	s.cancel()
	s.kept.Reason, s.probeErr = "", ""
	s.enter(Running, s.cfg.Restart.Backoff.Reset)
	s.log.Info("service is ready", "pid", s.proc.Pid(), "took", took)
}

// notBorn handles a start that made no process.
func (s *Service) notBorn(err error) {
	s.cancel()
	if errors.Is(err, proc.ErrStopping) {
		s.enter(Stopped, -1)
		return
	}
	s.kept.Reason = err.Error()
	code := 1
	var se *proc.StartError
	if errors.As(err, &se) {
		code = se.Code()
	}
	s.kept.Exit = &ExitInf{Code: code, At: time.Now()}
	s.log.Error("service cannot be started", "error", err)
	s.settle(false)
}

// fail gives up a start whose process lives.
func (s *Service) fail(why string) {
	s.kept.Reason = why
	s.log.Error("service failed to start", "reason", why)
	s.explain()
	s.stop(Delayed, 0)
}

// explain asks for the cause of a failure, which may need a moment, and adds it
// when it is known.
func (s *Service) explain() {
	if s.launch == nil || s.launch.Explain == nil {
		return
	}
	gen, l := s.kept.Gen, s.launch
	end := int64(0)
	if log := s.world.Log(s.name); log != nil {
		end = log.End()
	}
	watched := s.cancel // the watching goes on until it has seen the end
	s.cancel = func() {}
	go func() { // ends within explainTime
		defer watched()
		ctx, cancel := context.WithTimeout(context.Background(), explainTime)
		defer cancel()
		for s.seen.Load() < end && ctx.Err() == nil {
			<-time.After(2 * time.Millisecond)
		}
		if text := l.Explain(ctx); text != "" {
			s.happened <- happening{event: EvFailed, gen: gen, err: errExplained, text: text}
		}
	}()
}

// explainTime is how long the search for a cause may take.
const explainTime = 3 * time.Second

// explained puts the cause where the operator sees it.
func (s *Service) explained(text string) {
	if s.kept.Reason == text {
		return
	}
	s.kept.Reason = text
	s.log.Error("cause of the failure", "reason", text)
	s.keep()
}
