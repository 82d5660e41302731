package supervisor

import (
	"context"
	"syscall"
	"time"
)

type threadDump struct {
	start uint64 // the number of the start
	text  []byte // nil: it is in the output
	from  int64  // where in the output it begins
}

// requestDumpDirectly makes a thread dump outside of the output, else by the signal.
func (s *Service) requestDumpDirectly(limit time.Duration) {
	ctx, cancel := context.WithTimeout(s.life, limit)
	gen, p, l := s.saved.Gen, s.proc, s.launch
	go func() { // ends with ThreadDump, which obeys ctx
		defer cancel()
		text, err := l.ThreadDump(ctx, p)
		if err == nil && len(text) > 0 {
			s.dump.Store(&threadDump{start: gen, text: text})
			return
		}
		if ctx.Err() != nil || !p.Catches(l.DumpSignal) { // no time is left, or it has ended
			return
		}
		s.log.Info("the thread dump goes to the output of the service", "pid", p.Pid(), "why", err)
		_ = s.signalDump(gen, p, l.DumpSignal) // one that is gone needs none
	}()
}

func (s *Service) signalDump(gen uint64, p Process, sig syscall.Signal) error {
	if out := s.output(); out != nil {
		s.dump.Store(&threadDump{start: gen, from: out.End()})
	}
	return p.Signal(sig)
}

// recordDump adds the thread dump of the present start to its incidents.
func (s *Service) recordDump() {
	d, out := s.dump.Load(), s.output()
	switch {
	case d == nil || d.start != s.saved.Gen:
	case d.text != nil:
		s.env.AddThreadDump(s.name, d.start, d.text)
	case out != nil:
		s.env.AddThreadDump(s.name, d.start, s.lastLines(out, d.from))
	}
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
