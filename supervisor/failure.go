package supervisor

import (
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"
)

// record saves a failure of the present start and has it recorded.
func (s *Service) record(f *incident.Failure) {
	s.saved.Failure = f
	s.env.Record(f)
}

// failure is what is known of a failure of the present start. gaveUp is why the process is stopped, or what is wrong
// with it; empty: it has ended.
func (s *Service) failure(gaveUp incident.Cause, reason string, ran time.Duration) *incident.Failure {
	k := &s.saved
	f := &incident.Failure{Service: s.name, GaveUp: gaveUp, Reason: reason, Starting: k.State == Starting, At: time.Now(),
		Start: k.Gen, Ran: ran, Exit: k.Exit, Asked: k.StopRequestedBy, Killed: k.Phase == PhaseKill,
		Signaled: k.Phase >= PhaseCommandDone, From: k.LogStart, Before: k.OOM}
	if s.proc != nil {
		f.Pid, f.After = s.proc.Pid(), s.oomAfter
		if out := s.output(); out != nil {
			f.To = out.End()
		}
	}
	if s.launch != nil {
		f.Argv, f.Dir, f.Evidence = s.launch.Spec.Argv, s.launch.Spec.Dir, s.launch.Evidence
	}
	return f
}

// failureOfEnd is the failure of a process that has ended, with what its output says.
func (s *Service) failureOfEnd(ran time.Duration, left string) *incident.Failure {
	f := s.failure("", "", ran)
	f.Left = left
	out := s.output()
	if out == nil || s.launch == nil || s.launch.ReadOutput == nil {
		return f
	}
	s.proc.FlushOutput()
	text := s.lastLines(out, max(s.saved.LogStart, out.End()-incident.MaxOutput))
	found := s.launch.ReadOutput(incident.End{Service: s.name, Pid: f.Pid, Exit: f.Exit, Argv: f.Argv, Dir: f.Dir, Output: text})
	f.Found = incident.Findings{Cause: found.Cause, Reason: clip(found.Reason)}
	f.To = out.End()
	return f
}

// Incidents lists the incidents, the newest first.
func (s *Supervisor) Incidents() []incident.Summary { return s.incidents.List() }

// Incident returns an incident with its evidence.
func (s *Supervisor) Incident(number uint64) (incident.Incident, bool) {
	return s.incidents.Get(number)
}

// Kind is the kind of a service.
func (s *Supervisor) Kind(service string) string { return s.set.Load().defined[service].Kind }

// OutputOf returns the last bytes, at most most, of a service's output between two offsets; to 0: up to now.
func (s *Supervisor) OutputOf(service string, from, to int64, most int) []byte {
	log := s.Log(service)
	if log == nil {
		return nil
	}
	if to <= 0 {
		to = log.End()
	}
	return log.Bytes(max(from, to-int64(most)), to)
}

// ReasonFound gives a service a better reason for the failure of a start.
func (s *Supervisor) ReasonFound(service string, start uint64, reason string) {
	if svc := s.set.Load().services[service]; svc != nil {
		svc.report(svc.life, event{kind: EvFailureFound, gen: start, text: reason, late: true})
	}
}
