package hooks

import (
	"context"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
)

// Host starts the processes of hooks and keeps the state of a Runner for the next supervisor.
type Host interface {
	// Start starts a program; each line of its output is forwarded with title.
	Start(ctx context.Context, spec proc.Spec, title string) (Process, error)
	PutJSON(name string, value any, fds ...int) error
	Delete(name string)
}

// Process is a process of a hook.
type Process interface {
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	SignalGroup(syscall.Signal) error
	// Tail returns the last n bytes of the output, and of stderr.
	Tail(n int) (all, stderr string)
	// Done releases the process and its output.
	Done()
}

// Recovered is what an earlier supervisor has left.
type Recovered struct {
	Items     fdstore.Items
	Processes map[string]Process // by ID
}

// Prefixes of the names that belong to hooks.
const (
	idPrefix     = "hook/"         // of processes and their logs
	queuePrefix  = "hooks/queue/"  // of items: a queue
	runPrefix    = "hooks/run/"    // a run
	outputPrefix = "hooks/output/" // an output
)

// ManagerHost is the Host of a container.
type ManagerHost struct {
	*fdstore.Store
	m *proc.Manager
}

// NewManagerHost makes a Host, and takes the processes of hooks out of rec.
func NewManagerHost(m *proc.Manager, rec *proc.Recovered) (*ManagerHost, Recovered) {
	recovered := Recovered{rec.Items, map[string]Process{}}
	for id, p := range rec.TakeProcesses(idPrefix) {
		recovered.Processes[id] = p
	}
	for _, name := range m.Logs.Names() {
		if strings.HasPrefix(name, idPrefix) && recovered.Processes[name] == nil {
			m.Logs.Get(name).Retire() // its process was released
		}
	}
	return &ManagerHost{m.FDStore(), m}, recovered
}

// maxBuffered bounds the output of a hook that is kept until it is forwarded, in bytes.
const maxBuffered = 64 << 10

// Start starts a program.
func (h *ManagerHost) Start(ctx context.Context, spec proc.Spec, title string) (Process, error) {
	spec.Stdio = proc.Stdio{Mode: proc.Capture, OwnLog: &logs.Options{Keep: maxBuffered, Format: logs.FormatPrefix, Title: title}}
	p, err := h.m.Start(ctx, spec)
	if err != nil {
		return nil, err // no typed nil
	}
	return p, nil
}
