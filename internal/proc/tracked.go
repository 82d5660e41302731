package proc

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
)

// CookieVar is the variable that marks a process and its descendants wherever they go:
// ID@PID.START, the ID of the Spec and the init. The second part tells the processes of
// another stoker apart, which may run with the same IDs within a service.
const CookieVar = "STOKER_PROCESS"

// tracked are the processes that this manager started or adopted.
type tracked struct {
	mu             sync.Mutex
	byPid          map[int]*Process
	byID           map[string]*Process
	escaped        map[int]escapedProcess
	warnUnreadable sync.Once // that a process cannot be assigned to a service
}

// escapedProcess is a member that has left the group, or may do so: when its parents have
// ended, nothing else may show whose it is.
type escapedProcess struct {
	owner *Process
	start uint64
	at    int64 // when it was seen
}

func newTracked() tracked {
	return tracked{byPid: map[int]*Process{}, byID: map[string]*Process{}, escaped: map[int]escapedProcess{}}
}

func (t *tracked) add(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.trackedAt = initproto.BootNow()
	t.byPid[p.rec.Pid], t.byID[p.rec.ID] = p, p
}

func (t *tracked) remove(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPid[p.rec.Pid] == p {
		delete(t.byPid, p.rec.Pid)
	}
	delete(t.byID, p.rec.ID)
	maps.DeleteFunc(t.escaped, func(_ int, e escapedProcess) bool { return e.owner == p })
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

// withID returns the tracked process with an ID.
func (t *tracked) withID(id string) *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// all returns the tracked processes.
func (t *tracked) all() []*Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.byPid))
}

// addEscaped remembers a process that has left the group of its service, or may do so.
func (t *tracked) addEscaped(pid int, s procfs.Stat, owner *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.escaped[pid] = escapedProcess{owner, s.Start, initproto.BootNow()}
}

// escapedFrom returns the service that a process was a member of; nil: not known.
func (t *tracked) escapedFrom(pid int, s procfs.Stat) *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.escaped[pid]; e.start == s.Start {
		return e.owner
	}
	return nil
}

// pruneEscaped forgets those that had ended when a snapshot of all processes was taken.
func (t *tracked) pruneEscaped(all *snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.escaped, func(pid int, e escapedProcess) bool { return e.at < all.at && all.stats[pid].Start != e.start })
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

// environ is the environment of s with its cookie.
func (m *Manager) environ(s *Spec) []string {
	out := make([]string, 0, len(s.Env)+1)
	for _, kv := range s.Env {
		if !strings.HasPrefix(kv, CookieVar+"=") {
			out = append(out, kv)
		}
	}
	return append(out, CookieVar+"="+s.ID+m.cookieSuffix)
}
