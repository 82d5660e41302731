package supervisor

import (
	"context"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/redact"
)

// output is what a service reads of what it wrote; *proc.Log is one.
type output interface {
	End() int64
	Lines(ctx context.Context, offset int64, follow bool, f func(logs.Line) error) error
}

type watcher struct {
	seen    atomic.Int64       // how far; an offset in the log
	matched chan struct{}      // closed at the line that readiness waits for
	stop    context.CancelFunc // asks it to end
	ended   chan struct{}      // closed when it has: Watch is not called any more
}

// watch begins to read the output of the present start; nil: it is not captured, or not read.
func (s *Service) watch(l *Launch) *watcher {
	out := s.output()
	pattern := s.cfg.Ready.Log
	if l.OnStartupLine == nil && pattern == "" || out == nil {
		return nil
	}
	ready := regexp.MustCompile(pattern) // the configuration's check has compiled it
	ctx, stop := context.WithCancel(s.life)
	w := &watcher{matched: make(chan struct{}), stop: stop, ended: make(chan struct{})}
	gen, from, open := s.saved.Gen, s.saved.LogStart, pattern != ""
	w.seen.Store(from)
	go func() { // ends with ctx
		defer close(w.ended)
		_ = out.Lines(ctx, from, true, func(line logs.Line) error {
			if l.OnStartupLine != nil {
				if failure := l.OnStartupLine(line.Text); failure != "" {
					s.report(ctx, event{kind: EvFailureFound, gen: gen, text: failure})
				}
			}
			w.seen.Store(max(line.Offset, w.seen.Load())) // before the match is reported
			if open && ready.Match(line.Text) {
				open = false
				close(w.matched)
			}
			return nil
		})
	}()
	return w
}

// reach waits until the output up to end has been watched.
func (w *watcher) reach(ctx context.Context, end int64) {
	limit := time.After(reachTime)
	for w.seen.Load() < end {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-w.ended:
			return
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// awaitLine waits for the line of ready.log; false: ctx is done.
func (s *Service) awaitLine(ctx context.Context, gen uint64, pattern string, w *watcher) bool {
	var matched <-chan struct{}
	err := fmt.Errorf("no line of the output matches %q yet", pattern)
	if w == nil {
		err = fmt.Errorf("no line can match %q: the output is not captured", pattern)
	} else {
		matched = w.matched
	}
	s.report(ctx, event{kind: EvNotReady, gen: gen, err: err})
	select {
	case <-matched:
		return true
	case <-ctx.Done():
		return false
	}
}

// setReason sets why the present start or run failed; empty: it did not.
func (s *Service) setReason(why string) {
	s.saved.Reason, s.reasonOf = clip(why), 0
	if why != "" {
		s.reasonOf = s.saved.Gen
	}
}

func clip(text string) string { return redact.Clip(text, maxText) }

// explanation returns the Explain of a failure of the present start; nil: there is none.
func (s *Service) explanation() func(context.Context) string {
	if s.launch == nil || s.launch.Explain == nil {
		return nil
	}
	l, w := s.launch, s.watcher
	if w == nil {
		return l.Explain
	}
	s.watcher = nil // the watching goes on until it has seen the end
	end := s.output().End()
	return func(ctx context.Context) string {
		w.reach(ctx, end)
		w.stop()
		<-w.ended // OnStartupLine and Explain are never called at the same time
		return l.Explain(ctx)
	}
}

// explained shows the cause, unless the status shows another start by now.
func (s *Service) explained(h event) {
	text := clip(h.text)
	if h.gen != s.reasonOf || s.saved.Reason == text {
		return
	}
	s.saved.Reason = text
	s.log.Error("cause of the failure", "reason", text)
	s.save()
}
