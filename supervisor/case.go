package supervisor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stoker-init/stoker/internal/redact"
)

// Case is a failure of a service, as far as the service itself knows it. It is in
// the service's kept state, so that a supervisor that takes over before the
// incident was kept can make it.
type Case struct {
	Service string        `json:"service"`
	GaveUp  Cause         `json:"gave_up"` // why we brought it down; empty: it ended by itself
	Reason  string        `json:"reason"`
	State   State         `json:"state"`
	At      time.Time     `json:"at"`
	Start   uint64        `json:"start"` // number of the start
	Pid     int           `json:"pid"`   // 0: there was no process
	Ran     time.Duration `json:"ran"`
	Exit    *Exit         `json:"exit"`    // nil: it lives, or nobody knows how it ended
	Asked   string        `json:"asked"`   // who asked for the stop; empty: nobody
	Killed  bool          `json:"killed"`  // by us
	Signal  bool          `json:"signal"`  // it had got the stop signal, or the stop command had ended
	From    int64         `json:"from"`    // where its output begins
	To      int64         `json:"to"`      // and where it ended then
	DumpAt  int64         `json:"dump_at"` // where a thread dump begins; 0: there is none
	Before  OOMCount      `json:"before"`  // of its cgroup when it was started
	After   OOMCount      `json:"after"`   // and when KILL had ended it
	Left    string        `json:"left"`    // the processes that it left behind; empty: none
	Cause   Cause         `json:"cause"`   // of Launch.ReadOutput; empty: it does not say
	Found   string        `json:"found"`   // its Reason
	Argv    []string      `json:"-"`
	Dir     string        `json:"-"`

	evidence Evidence
}

// note keeps the evidence of a failure of the present start. gaveUp is why we
// bring it down; empty: it has ended.
func (s *Service) note(gaveUp Cause, ran time.Duration) { s.noteWhy(gaveUp, s.kept.Reason, ran) }

// noteWhy is note with a reason that the status does not show.
func (s *Service) noteWhy(gaveUp Cause, why string, ran time.Duration) {
	s.keepCase(s.caseOf(gaveUp, why, ran))
}

// keepCase keeps a case, and has its incident made.
func (s *Service) keepCase(c *Case) {
	s.kept.Case = c
	s.world.Note(c)
}

// caseOf is what is known of a failure of the present start.
func (s *Service) caseOf(gaveUp Cause, why string, ran time.Duration) *Case {
	c := &Case{Service: s.name, GaveUp: gaveUp, Reason: why, State: s.kept.State, At: time.Now(), Start: s.kept.Gen, Ran: ran,
		Exit: s.kept.Exit, Asked: s.kept.Asked, Killed: s.kept.Killed, Signal: s.kept.Signaled || s.kept.Told, From: s.kept.LogStart, DumpAt: s.dumpAt(),
		Before: s.kept.OOM}
	if s.proc != nil {
		c.Pid = s.proc.Pid()
		if out := s.output(); out != nil {
			c.To = out.End()
		}
		c.After = s.oomAfter
	}
	if s.launch != nil {
		c.Argv, c.Dir, c.evidence = s.launch.Spec.Argv, s.launch.Spec.Dir, s.launch.Evidence
	}
	return c
}

// caseOfEnd is the case of a process that has ended, with what its output says of it.
func (s *Service) caseOfEnd(ran time.Duration, left string) *Case {
	c := s.caseOf("", "", ran)
	c.Left = left
	out := s.output()
	if out == nil || s.launch == nil || s.launch.ReadOutput == nil {
		return c
	}
	s.proc.FlushOutput()
	text := s.lastLines(out, max(s.kept.LogStart, out.End()-MaxIncidentOutput))
	found := s.launch.ReadOutput(End{Service: s.name, Pid: c.Pid, Exit: c.Exit, Argv: c.Argv, Dir: c.Dir, Output: text})
	c.Cause, c.Found = found.Cause, clip(found.Reason)
	c.To = out.End()
	return c
}

// death is what the machine knows of it.
func (c *Case) death() Death {
	return Death{State: c.State, Exit: c.Exit, GaveUp: c.GaveUp, Why: c.Reason, Asked: c.Asked != "", Killed: c.Killed,
		Signaled: c.Signal, Left: c.Left, Before: c.Before, After: c.After, Found: Findings{Cause: c.Cause, Reason: c.Found}}
}

// recorder makes incidents of cases, one at a time, while the services go on.
type recorder struct {
	s     *Supervisor
	queue chan func()
	begin sync.Once
	ahead atomic.Int32 // asked for and not done
}

// maxCases is how many wait to be recorded.
const maxCases = 64

// recordDelay is how long what is to be recorded waits. The case is kept already, and
// what is read for it does not change so soon.
const recordDelay = 20 * time.Millisecond

// do has f done after what was asked for before; false: too much waits.
func (r *recorder) do(f func()) bool {
	r.begin.Do(func() {
		go func() { // ends with the process: it has the last word on an end
			for f := range r.queue {
				<-time.After(recordDelay) // the next start of the service comes first
				f()
				r.ahead.Add(-1)
			}
		}()
	})
	r.ahead.Add(1)
	select {
	case r.queue <- f:
		return true
	default:
		r.ahead.Add(-1)
		return false
	}
}

// settleTime bounds how long a question about incidents waits.
const settleTime = 2 * time.Second

// settled waits until what was asked for before is done, as long as settleTime:
// whoever has seen a service fail finds its incident.
func (r *recorder) settled() {
	done := make(chan struct{})
	if r.ahead.Load() == 0 || !r.do(func() { close(done) }) {
		return
	}
	select {
	case <-done:
	case <-time.After(settleTime):
	}
}

// evidenceTime bounds the search for what an end has left.
const evidenceTime = 5 * time.Second

// record makes the incident of a case: at once what is known, then what is found.
func (r *recorder) record(c *Case) {
	d := c.death()
	tail := c.To
	if c.Exit == nil && c.GaveUp != "" {
		tail = 0 // it lives: what it says until the look counts too
	}
	out := r.s.outputOf(c.Service, c.From, tail, MaxIncidentOutput)
	v := Classify(d)
	if !v.Incident {
		return
	}
	i := Incident{Service: c.Service, Kind: r.s.set.Load().kinds[c.Service], At: c.At, Cause: v.Cause, Reason: v.Reason, Exit: c.Exit,
		StopRequestedBy: c.Asked, Start: c.Start, Pid: c.Pid, Ran: c.Ran, Notes: v.Notes, Output: out, Options: redact.Args(c.Argv)}
	if i.ThreadDump = r.s.dumpOf(c.Service, c.Start); i.ThreadDump == nil && c.DumpAt > 0 {
		i.ThreadDump = r.s.outputOf(c.Service, c.DumpAt, 0, MaxThreadDump)
	}
	number := r.s.incidents.Add(i)
	find := c.evidence
	if find == nil {
		find = ProcessEvidence
	}
	ctx, cancel := context.WithTimeout(context.Background(), evidenceTime)
	defer cancel()
	found := find(ctx, End{Service: c.Service, Pid: c.Pid, Exit: c.Exit, Started: c.At.Add(-c.Ran), Dir: c.Dir, Argv: c.Argv, Output: out})
	if d.Found = found; c.Found != "" { // the status says so already
		d.Found.Cause, d.Found.Reason = c.Cause, c.Found
	}
	told := v.Reason
	v = Classify(d)
	r.s.incidents.Amend(number, func(i *Incident) { i.add(v, d.Found) })
	if v.Reason != told {
		r.s.tellReason(c.Service, c.Start, v.Reason)
	}
}

// tellReason has a service know the reason of the latest incident of a start.
func (s *Supervisor) tellReason(service string, start uint64, text string) {
	if svc := s.set.Load().services[service]; svc != nil {
		svc.report(svc.life, happening{event: EvFailed, gen: start, text: text, late: true})
	}
}

// add puts in what was found.
func (i *Incident) add(v Verdict, f Findings) {
	i.Cause, i.Reason, i.Notes, i.Files = v.Cause, v.Reason, v.Notes, f.Files
	if f.Options != nil {
		i.Options = f.Options
	}
	if f.Limits != nil {
		i.Limits = f.Limits
	}
	if len(i.ThreadDump) == 0 {
		i.ThreadDump = f.ThreadDump
	}
}

// noteCase has an incident made of a case.
func (s *Supervisor) noteCase(c *Case) {
	if !s.recorder.do(func() { s.recorder.record(c) }) {
		s.log.Error("no incident is kept of a failure: too many wait", "name", c.Service, "reason", c.Reason)
	}
}

// explained puts the cause that was found later into the incident.
func (s *Supervisor) explained(service string, start uint64, text string) {
	s.recorder.do(func() {
		for _, i := range s.incidents.List() {
			if i.Service == service && i.Start == start {
				if i.Cause.proven() {
					s.tellReason(service, start, i.Reason)
					return
				}
				s.incidents.Amend(i.Number, func(i *Incident) { i.Reason = text })
				return
			}
		}
	})
}

// dumped puts a thread dump that came after the failure into its incidents.
func (s *Supervisor) dumped(service string, start uint64, from, to int64) {
	s.recorder.do(func() { s.addDump(service, start, s.outputOf(service, from, to, MaxThreadDump)) })
}

// pendingCases makes the incidents that an earlier supervisor had no time for.
func (s *Supervisor) pendingCases() {
	known := s.incidents.List()
	for _, svc := range s.set.Load().services {
		c := svc.kept.Case
		if c != nil && len(known) == maxIncidents && !slices.ContainsFunc(known, func(i Summary) bool { return i.At.Before(c.At) }) {
			continue // it had its incident, which had to go
		}
		if c != nil && !slices.ContainsFunc(known, func(i Summary) bool { return i.Service == c.Service && i.Start == c.Start && i.At.Equal(c.At) }) {
			s.noteCase(c)
		}
	}
}

// Incidents lists the incidents that are kept, the newest first.
func (s *Supervisor) Incidents() []Summary {
	s.recorder.settled()
	return s.incidents.List()
}

// Incident gives one of them with its evidence.
func (s *Supervisor) Incident(number uint64) (Incident, bool) {
	s.recorder.settled()
	return s.incidents.Get(number)
}

// outputOf gives the last bytes that a service wrote from one offset to another;
// to 0: the end.
func (s *Supervisor) outputOf(service string, from, to int64, most int) []byte {
	log := world{s}.Log(service)
	if log == nil {
		return nil
	}
	if to <= 0 {
		to = log.End()
	}
	return log.Bytes(max(from, to-int64(most)), to)
}
