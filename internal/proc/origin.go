package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/stoker-init/stoker/internal/procfs"
)

// Origin returns the ID of the nearest tracked process that a process is or descends from.
// Empty: it came from outside of the init, as by docker exec or nsenter. It goes by the
// parents alone, which no process can choose: if those have ended, the init is the parent,
// and the origin is unknown, which is an error.
func (m *Manager) Origin(pid int) (id string, err error) {
	if id, err = m.origin(pid); err != nil {
		m.do(func() {}) // one that was started just now may not have been tracked yet
		id, err = m.origin(pid)
	}
	return id, err
}

func (m *Manager) origin(pid int) (string, error) {
	for range maxAttempts {
		line := m.ancestors(pid)
		if !slices.Equal(line, m.ancestors(pid)) {
			continue // a parent has ended meanwhile, and its pid may be another's
		}
		switch last := line[len(line)-1]; {
		case last.owner != nil:
			return last.owner.rec.ID, nil
		case last.pid == 0:
			return "", nil
		case last.pid == m.initPid:
			return "", fmt.Errorf("the parents of pid %d have ended", pid)
		default:
			return "", fmt.Errorf("pid %d has ended, or /proc does not show its parents", pid)
		}
	}
	return "", errors.New("its parents change too fast")
}

// ancestor is one step from a process to its parent.
type ancestor struct {
	pid   int
	start uint64
	owner *Process // nil: it is not tracked
}

// ancestors leads from a process to the nearest tracked one, to the init, to the
// supervisor, to 0 where the parent is in another PID namespace, or to one that cannot
// be seen.
func (m *Manager) ancestors(pid int) (line []ancestor) {
	for {
		line = append(line, ancestor{pid: pid})
		if pid == 0 || pid == m.initPid || pid == os.Getpid() {
			return line
		}
		b, err := procfs.ReadStat(pid)
		if err != nil {
			return line
		}
		last := &line[len(line)-1]
		if last.start, last.owner = b.Start, m.tracked.find(pid, b); last.owner != nil {
			return line
		}
		pid = b.Parent
	}
}
