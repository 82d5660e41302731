package supervisor

import "time"

// What a Case is about.
const (
	CaseNotStarted   = "not-started"
	CaseStartTimeout = "start-timeout"
	CaseFailedStart  = "failed-start"
	CaseEnded        = "ended"
	CaseUnhealthy    = "unhealthy"
	CaseKilled       = "killed-by-stop"
	CaseUnseen       = "unseen"
)

// Case is a failure of a service, as far as the service itself knows it.
type Case struct {
	Service   string
	What      string
	Reason    string
	At        time.Time
	Start     uint64 // number of the start
	Pid       int    // 0: there was no process
	Ran       time.Duration
	Exit      *ExitInf // nil: it lives, or nobody knows how it ended
	Asked     string   // who asked for the stop; empty: nobody
	Killed    bool     // by us
	LogFrom   int64    // where its output begins
	LogTo     int64
	DumpAt    int64  // where a thread dump begins; 0: there is none
	OOMBefore uint64 // kills in its cgroup before it was started
	Launch    *Launch
}

// note keeps the evidence of a failure of the present start.
func (s *Service) note(what string, ran time.Duration) {
	c := Case{Service: s.name, What: what, Reason: s.kept.Reason, At: time.Now(), Start: s.kept.Gen, Ran: ran, Exit: s.kept.Exit,
		Asked: s.kept.Asked, Killed: s.kept.Killed, LogFrom: s.kept.LogStart, DumpAt: s.kept.DumpAt, OOMBefore: s.kept.OOMKills, Launch: s.launch}
	if s.proc != nil {
		c.Pid = s.proc.Pid()
		if out := s.output(); out != nil {
			c.LogTo = out.End()
		}
	}
	s.world.Note(c)
}

// oomKills reads the counter of the cgroup in which the process will be.
func oomKills(l *Launch) uint64 {
	if l.OOMKills == nil {
		return 0
	}
	n, _ := l.OOMKills()
	return n
}
