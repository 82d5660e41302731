package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// enterStarting begins a start: number, state in the bag, then the work.
func (s *Service) enterStarting() {
	s.kept.Gen++
	if s.kept.Exit != nil {
		s.kept.Previous = s.kept.Exit
	}
	s.kept.Asked, s.kept.Exit, s.kept.UpSince, s.kept.StopSig = "", nil, 0, 0
	ctx := s.begin()
	s.proc, s.launch, s.watcher, s.probeErr = nil, nil, nil, ""
	s.enter(Starting, s.cfg.Ready.Within)
	gen := s.kept.Gen
	go func() { // ends when Prepare does, which obeys ctx
		launch, err := s.launcher.Prepare(ctx)
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

// inStarting handles the events of STARTING.
func (s *Service) inStarting(h happening) {
	switch h.event {
	case EvSpawned:
		if s.proc != nil {
			return // nothing is ever started twice
		}
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
		s.fail(h.text)
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
		if l.Spec.Log = s.world.Log(s.name); l.Spec.Log == nil {
			l.Spec.Stdout, l.Spec.Stderr = os.Stdout, os.Stderr
		}
	}
	if out := s.output(); out != nil {
		s.kept.LogStart = out.End()
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
	if l.Ready == nil && s.cfg.Ready.Log == "" {
		s.ready()
		return
	}
	s.watcher = s.watch(l)
	go s.probe(ctx, gen, p, l, s.watcher) // ends with ctx or when ready
}

// Times between two looks at readiness: quick at first, so that a fast service
// is not held up.
const firstLook = 20 * time.Millisecond

// probe looks until the service is ready.
func (s *Service) probe(ctx context.Context, gen uint64, p Process, l *Launch, w *watcher) {
	if s.cfg.Ready.Log != "" && !s.awaitLine(ctx, gen, w) {
		return
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
	if w != nil { // one that says "failed" and answers must not count as ready
		p.FlushOutput()
		w.reach(ctx, s.output().End())
	}
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

// ready enters RUNNING.
func (s *Service) ready() {
	took := time.Duration(s.world.Now() - s.kept.UpSince).Round(time.Millisecond)
	s.quit()
	s.blame("")
	s.probeErr = ""
	s.enter(Running, s.cfg.Restart.Backoff.Reset)
	s.log.Info("service is ready", "pid", s.proc.Pid(), "took", took)
}

// notBorn handles a start that made no process.
func (s *Service) notBorn(err error) {
	s.quit()
	if errors.Is(err, proc.ErrStopping) {
		s.enter(Stopped, -1)
		return
	}
	s.blame(err.Error())
	code := 1
	var se *proc.StartError
	if errors.As(err, &se) {
		code = se.Code()
	}
	s.kept.Exit = &ExitInf{Code: code, NotStarted: true, At: time.Now()}
	s.log.Error("service cannot be started", "error", err)
	s.settle(false)
}

// fail gives up a start whose process lives.
func (s *Service) fail(why string) {
	s.blame(why)
	s.log.Error("service failed to start", "reason", why)
	s.explain()
	s.stop(Delayed, 0)
}
