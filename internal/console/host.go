package console

import (
	"context"
	"os"
	"syscall"

	"github.com/stoker-init/stoker/internal/proc"
)

// Host is the container in which sessions run.
type Host interface {
	// Prepare returns how a session is started, or a *SpecError.
	Prepare(spec Spec) (Launch, error)
	Start(ctx context.Context, spec proc.Spec) (Process, error)
	// OOMKills counts the processes that the kernel's OOM killer has ended; false: unknown.
	OOMKills() (uint64, bool)
}

// Launch is how a session is started.
type Launch struct {
	Spec proc.Spec // without ID and Stdio
	User string    // the name of the user
	// Admin is why the session needs the grant admin; empty: it does not.
	Admin string
}

// Store keeps items for the next supervisor; an fdstore.Store is one.
type Store interface {
	PutJSON(name string, value any, fds ...int) error
	Delete(name string)
}

// Process is the process of a session; a *proc.Process is one.
type Process interface {
	Group
	Screen
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	// Done ends the supervision, and closes the terminal.
	Done()
}

// Group is all processes of a session.
type Group interface {
	Pid() int // of the first one
	SignalGroup(sig syscall.Signal) error
	Members() []int // each is known from then on, also when its parents have ended
}

// Screen is the terminal of a session.
type Screen interface {
	Terminal() *os.File // nil: there is none
	Resize(rows, columns uint16) error
	SignalForeground(sig syscall.Signal) error
}
