package executor

import (
	"context"
	"syscall"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
)

// Host is the container in which jobs run.
type Host interface {
	// Prepare returns how a job is started: its environment, user and limits. The workspace is its HOME, its TMPDIR, and its
	// working directory unless the Spec names another.
	Prepare(job Job, workspace string) (Launch, error)
	Start(ctx context.Context, spec proc.Spec) (Process, error)
	// Room returns the memory that no service needs, in bytes; false: unknown, or there is no limit.
	Room() (int64, bool)
	// OOMKills counts the processes that the kernel's OOM killer has ended; cgroups: in these only.
	OOMKills(cgroups []string) (count uint64, ok bool)
	// Publish may wait, but for no job.
	Publish(o lifecycle.Occurrence)
}

// Store keeps descriptors for the next supervisor; an fdstore.Store is one.
type Store interface {
	Put(name string, blob []byte, fds ...int) error
	Delete(name string)
}

// Launch is how an attempt is started.
type Launch struct {
	Spec proc.Spec    // without ID, Argv and Stdio
	User *asuser.User // who owns the workspace; nil: stoker's own user
	// Notes are limits that cannot be applied here.
	Notes []string
}

// Process is a job's process; a *proc.Process is one.
type Process interface {
	Group
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	// Ack acknowledges the exit, once what follows from it is saved.
	Ack()
	// Done ends the supervision of the job's processes.
	Done()
}

// Group is all processes of a job.
type Group interface {
	Pid() int // of the first one
	SignalGroup(sig syscall.Signal) error
	Members() []int
}
