package hooks

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
)

// Host is where hooks' processes live and what is known of them is kept. *Machine is
// one.
type Host interface {
	// Start starts a program; each line that it writes is passed on behind title.
	Start(ctx context.Context, spec proc.Spec, title string) (Process, error)
	// Put keeps a blob (64 KiB at most) for the next supervisor, Del forgets it.
	Put(name string, body []byte) error
	Del(name string)
}

// Execution is a process that runs or has ended.
type Process interface {
	ID() string
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	SignalGroup(syscall.Signal) error // to all that came of it
	// Tail is the end of what it has written, and of that to stderr, n bytes at most.
	Tail(n int) (all, stderr string)
	// Done gives it up: nothing is asked of it any more.
	Done()
}

// Past is what an earlier supervisor has left.
type Recovered struct {
	Items     map[string][]byte // by the name that Put was given
	Processes []Process
}

// Names of what is ours.
const (
	idPrefix   = "hook/"  // of processes and their logs
	itemPrefix = "hooks/" // of items in the bag
)

// Machine is the Host of a container.
type ManagerHost struct{ m *proc.Manager }

// NewMachine makes one and takes out of rec what belongs to hooks, so that nobody
// takes their processes for strays.
func NewManagerHost(m *proc.Manager, rec *proc.Recovered) (*ManagerHost, Recovered) {
	past := Recovered{Items: map[string][]byte{}}
	for name, body := range rec.Blobs {
		if strings.HasPrefix(name, itemPrefix) {
			past.Items[name] = body
			delete(rec.Blobs, name)
			delete(rec.Files, name)
		}
	}
	var logs []string
	rec.Processes = slices.DeleteFunc(rec.Processes, func(p *proc.Process) bool {
		if !strings.HasPrefix(p.ID(), idPrefix) {
			return false
		}
		logs = append(logs, p.ID())
		past.Processes = append(past.Processes, p)
		return true
	})
	for _, name := range m.Logs.Names() {
		if strings.HasPrefix(name, idPrefix) && !slices.Contains(logs, name) {
			m.Logs.Retire(m.Logs.Get(name)) // of one that was given up
		}
	}
	return &ManagerHost{m}, past
}

// keptOutput is what is kept of a hook's output until it is passed on, in bytes.
const keptOutput = 64 << 10

// Start starts a program.
func (h *ManagerHost) Start(ctx context.Context, spec proc.Spec, title string) (Process, error) {
	spec.Stdio = proc.Stdio{Mode: proc.Capture, Late: &logs.Options{Keep: keptOutput, Format: logs.FormatPrefix, Title: title}}
	p, err := h.m.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Put keeps a blob.
func (h *ManagerHost) Put(name string, body []byte) error { return h.m.Put(name, body) }

// Del forgets it.
func (h *ManagerHost) Del(name string) { h.m.Del(name) }
