package supervisor

import (
	"context"
	"time"
)

// signalledDump is a thread dump that was asked for by signal, where Launch.ThreadDump
// could not make one.
type signalledDump struct {
	gen uint64 // the start
	at  int64  // where in the output it begins
}

// requestDumpDirectly makes a thread dump outside of the output. If that fails in time,
// the signal is sent.
func (s *Service) requestDumpDirectly(wait time.Duration) {
	ctx, cancel := context.WithTimeout(s.life, wait)
	gen, p, l := s.saved.Gen, s.proc, s.launch
	go func() { // ends with ThreadDump, which obeys ctx
		defer cancel()
		text, err := l.ThreadDump(ctx, p)
		if err == nil && len(text) > 0 {
			s.env.AddThreadDump(s.name, gen, text)
			return
		}
		if ctx.Err() != nil || !p.Catches(l.DumpSignal) { // no time is left, or it has ended
			return
		}
		s.log.Info("the thread dump goes to the output of the service", "pid", p.Pid(), "why", err)
		if out := s.output(); out != nil {
			s.signalled.Store(&signalledDump{gen, out.End()})
		}
		_ = p.Signal(l.DumpSignal) // one that is gone needs none
	}()
}

// dumpAt is where in the output the thread dump of the present start begins; 0: there is
// none.
func (s *Service) dumpAt() int64 {
	if d := s.signalled.Load(); d != nil && d.gen == s.saved.Gen {
		return d.at
	}
	return s.saved.DumpAt
}

// Process returns the process of a service; false: it has none.
func (s *Supervisor) Process(name string) (Process, bool) {
	svc := s.set.Load().services[name]
	if svc == nil {
		return nil, false
	}
	p := svc.snap.Load().process
	if p == nil {
		return nil, false
	}
	_, ended := p.Exit()
	return p, !ended
}
