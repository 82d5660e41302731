package hooks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/proc"
)

// Host is where hooks' processes live and what is known of them is kept. *Machine is
// one.
type Host interface {
	// Start starts a program; each line that it writes is passed on behind title.
	Start(ctx context.Context, spec proc.Spec, title string) (Execution, error)
	// Put keeps a blob (64 KiB at most) for the next supervisor, Del forgets it.
	Put(name string, body []byte) error
	Del(name string)
}

// Execution is a process that runs or has ended.
type Execution interface {
	ID() string
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	SignalGroup(syscall.Signal) error // to all that came of it
	// Tail is the end of what it has written, in bytes.
	Tail(n int) string
	// Done gives it up: nothing is asked of it any more.
	Done()
}

// Past is what an earlier supervisor has left.
type Past struct {
	Items map[string][]byte // by the name that Put was given
	Runs  []Execution
}

// Names of what is ours.
const (
	idPrefix   = "hook/"  // of processes and their logs
	itemPrefix = "hooks/" // of items in the bag
)

// Machine is the Host of a container.
type Machine struct {
	m    *proc.Manager
	warn func(string)
	once sync.Once // for the one warning about output
}

// NewMachine makes one and takes out of rec what belongs to hooks, so that nobody
// takes their processes for strays.
func NewMachine(m *proc.Manager, rec *proc.Recovered, warn func(string)) (*Machine, Past) {
	h := &Machine{m: m, warn: warn}
	past := Past{Items: map[string][]byte{}}
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
		x := &execution{Process: p, log: m.KeptLog(p.ID()), giveUp: func() {}}
		if x.log != nil {
			x.giveUp = func() { m.Retire(x.log) }
		}
		past.Runs = append(past.Runs, x)
		return true
	})
	for _, name := range m.LogNames() {
		if strings.HasPrefix(name, idPrefix) && !slices.Contains(logs, name) {
			m.Retire(m.KeptLog(name)) // of one that was given up
		}
	}
	return h, past
}

// maxLogs bounds the logs that are still to be passed on. Where nobody reads the
// container's output more of them would pile up.
const maxLogs = 64

// keptOutput is what is kept of a hook's output until it is passed on, in bytes.
const keptOutput = 64 << 10

// Start starts a program.
func (h *Machine) Start(ctx context.Context, spec proc.Spec, title string) (Execution, error) {
	log, giveUp, err := h.newLog(spec.ID, title)
	if err != nil {
		return nil, fmt.Errorf("cannot capture the output: %w", err)
	}
	spec.Log = log
	p, err := h.m.Start(ctx, spec)
	if err != nil {
		giveUp()
		return nil, err
	}
	return &execution{Process: p, log: log, giveUp: giveUp}, nil
}

// newLog makes the log of a process. Where too many wait to be passed on it is one
// that is not, and that a later supervisor does not have.
func (h *Machine) newLog(id, title string) (log *proc.Log, giveUp func(), err error) {
	if h.logs() >= maxLogs {
		h.once.Do(func() {
			h.warn("nobody reads the container's output: that of hooks is not passed on until it is read")
		})
		log, err = proc.NewScratchLog(id)
		return log, func() { log.Close() }, err
	}
	log, err = h.m.Log(id, proc.LogOptions{Keep: keptOutput, Format: proc.FormatPrefix, Title: title})
	return log, func() { h.m.Retire(log) }, err
}

// logs counts those of hooks that are there.
func (h *Machine) logs() (n int) {
	for _, name := range h.m.LogNames() {
		if strings.HasPrefix(name, idPrefix) {
			n++
		}
	}
	return n
}

// Put keeps a blob.
func (h *Machine) Put(name string, body []byte) error { return h.m.Put(name, body) }

// Del forgets it.
func (h *Machine) Del(name string) { h.m.Del(name) }

// execution is a process with its log.
type execution struct {
	*proc.Process
	log    *proc.Log // nil: lost
	giveUp func()    // of the log
}

// Tail is the end of its output.
func (e *execution) Tail(n int) string {
	if e.log == nil {
		return ""
	}
	end := e.log.End()
	return string(e.log.Bytes(max(end-int64(n), 0), end))
}

// Done gives the process and its log up.
func (e *execution) Done() {
	e.giveUp()
	e.Process.Done()
}
