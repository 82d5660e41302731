package supervisor

import (
	"context"
	"time"
)

// Debugging is what a debugger does with a process, or what the process waits for one
// with. While there is a Text the start timeout stands still, and a liveness probe that
// fails is reported only: the process may be held at a breakpoint.
type Debugging struct {
	Text string `json:"text"` // for people; empty: it runs freely
	// Port, Socket and Resumed are what Launch.Debugger has found and is given back.
	Port    int    `json:"port,omitempty"`
	Socket  string `json:"socket,omitempty"`
	Resumed bool   `json:"resumed,omitempty"`
}

// Times between two searches for a debugger: at first the process may not be a JVM yet.
const (
	firstDebugPause = 100 * time.Millisecond
	debugPause      = time.Second
)

// DebuggerTime is for how long a debugger is searched for in a process that none can attach to.
const DebuggerTime = 10 * time.Second

// watchDebugger reports what a debugger does with the present process.
func (s *Service) watchDebugger(ctx context.Context) {
	if s.launch.Debugger == nil {
		return
	}
	gen, p, debugger, before := s.saved.Gen, s.proc, s.launch.Debugger, s.saved.Debugging
	go func() { // ends with ctx
		begun, pause := time.Now(), firstDebugPause
		for ever := before.Text != ""; ever || time.Since(begun) < DebuggerTime; pause = min(2*pause, debugPause) {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			now, possible := debugger(p, before)
			ever = ever || possible
			if now != before {
				before = now
				s.report(ctx, event{kind: EvDebugger, gen: gen, debugging: now})
			}
		}
	}()
}

// debuggerChanged suspends the deadline of a start while a debugger is attached or waited for.
func (s *Service) debuggerChanged(h event) {
	k := &s.saved
	before := k.Debugging.Text
	k.Debugging = h.debugging
	switch text := k.Debugging.Text; text {
	case before:
	case "":
		s.log.Info("service runs without a debugger again", "pid", s.proc.Pid())
		k.LiveFailures = 0 // what was found meanwhile does not count
		if k.State == Starting && k.Deadline == 0 {
			s.setDeadline(time.Duration(k.StartLeft))
		}
	default:
		s.log.Info("service "+text, "pid", s.proc.Pid())
		if before == "" && k.State == Starting && k.Deadline != 0 {
			k.StartLeft = max(k.Deadline-s.env.now(), 0)
			s.setDeadline(-1)
		}
	}
	s.save()
}
