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
		line, owner := m.ancestors(pid)
		if again, _ := m.ancestors(pid); !slices.Equal(line, again) {
			continue // a parent has ended meanwhile, and its pid may be another's
		}
		switch last := line[len(line)-1].pid; {
		case owner != nil:
			return owner.rec.ID, nil
		case last == 0:
			return "", nil
		case last == m.init.Pid:
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
}

// ancestors leads from a process to the nearest tracked one, the owner. Without one it leads
// to the init, to the supervisor, to 0 where the parent is in another PID namespace, or to
// one that cannot be seen.
func (m *Manager) ancestors(pid int) (line []ancestor, owner *Process) {
	for {
		s, err := procfs.ReadStat(pid)
		line = append(line, ancestor{pid, s.Start})
		if pid == 0 || pid == m.init.Pid || pid == os.Getpid() || err != nil {
			return line, nil
		}
		if owner = m.tracked.find(pid, s); owner != nil {
			return line, owner
		}
		pid = s.Parent
	}
}
