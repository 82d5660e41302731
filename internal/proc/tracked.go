package proc

import (
	"strings"
	"sync"

	"github.com/stoker-init/stoker/internal/procfs"
)

// CookieVar is the variable that marks a process and its descendants wherever they go:
// ID@PID.START, the ID of the Spec and the init. The second part tells the processes of
// another stoker apart, which may run with the same IDs within a service.
const CookieVar = "STOKER_PROCESS"

// tracked maps pids to the processes that this manager started or adopted.
type tracked struct {
	mu             sync.Mutex
	byPid          map[int]*Process
	warnUnreadable sync.Once // that a process cannot be assigned to a service
}

func (t *tracked) add(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byPid[p.rec.Pid] = p
}

func (t *tracked) remove(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPid[p.rec.Pid] == p {
		delete(t.byPid, p.rec.Pid)
	}
}

// find returns the tracked process with a pid and the start time of a stat.
func (t *tracked) find(pid int, s procfs.Stat) *Process {
	p := t.lookup(pid)
	if p == nil || p.rec.Start != 0 && p.rec.Start != s.Start {
		return nil
	}
	return p
}

// lookup returns the tracked process that has, or had, a pid.
func (t *tracked) lookup(pid int) *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byPid[pid]
}

// runs says whether a pid is that of a tracked process that has not ended.
func (t *tracked) runs(pid int) bool {
	p := t.lookup(pid)
	if p == nil {
		return false
	}
	_, ended := p.Exit()
	return !ended
}

// cookie is the cookie of the process with an ID.
func (m *Manager) cookie(id string) string { return id + m.cookieSuffix }

// environ is the environment of s with its cookie.
func (m *Manager) environ(s *Spec) []string {
	out := make([]string, 0, len(s.Env)+1)
	for _, kv := range s.Env {
		if !strings.HasPrefix(kv, CookieVar+"=") {
			out = append(out, kv)
		}
	}
	return append(out, CookieVar+"="+m.cookie(s.ID))
}
