package supervisor

import (
	"context"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// Process is a started process; *proc.Process is one.
type Process interface {
	processIdentity
	processEnd
	processSignals
	processOutput
}

type processIdentity interface {
	Pid() int
	StartTicks() uint64
	Members() []int    // the living processes of the service
	Cgroups() []string // its own; nil: it is in the container's
}

type processEnd interface {
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	Held() bool // dead, and cannot be waited for
	Ack()
	Done()
}

type processSignals interface {
	Signal(syscall.Signal) error
	SignalGroup(syscall.Signal) error
	Catches(syscall.Signal) bool
}

type processOutput interface {
	FlushOutput()
	FreeOutput() // from here on the process never waits for a reader of its output
}

// Launcher finds out how a service is started and probed. It is asked at every start, so a repaired file takes effect.
type Launcher interface {
	// Prepare finds out what to start. Its error is the reason that the operator sees.
	Prepare(ctx context.Context) (*Launch, error)
	// Attach returns the Launch, without its Spec, of a process that an earlier supervisor
	// started. data is the AttachData of that start.
	Attach(ctx context.Context, data string) (*Launch, error)
}

// Launch is one start of a service. What is nil is not done.
type Launch struct {
	Spec  proc.Spec // the service fills in ID and Log
	Notes []string  // what was found, for the operator
	// Warnings are shown with the notes, and logged when they are new.
	Warnings []string
	// Sources is a fingerprint of what the command line was read from besides the configuration; empty: nothing.
	Sources string
	// AttachData is saved for Launcher.Attach; at most maxAttachData bytes.
	AttachData string
	// Port is the TCP port of readiness, for hooks; 0: unknown.
	Port int

	// Ready proves readiness; nil: the service is ready as soon as it runs.
	Ready probe.Checker
	// Live checks a RUNNING service.
	Live probe.Checker
	// Verify checks once, when the service has become RUNNING, that what runs is what was
	// started. A *HealthIssue makes an incident, any other error a note.
	Verify func(ctx context.Context, p Process) error
	// Debugger returns what a debugger does with a process, and whether one can attach at
	// all; before is its latest answer. It does not wait.
	Debugger func(p Process, before Debugging) (now Debugging, possible bool)

	// OnStartupLine gets each line until the service is ready, and does not wait. It returns
	// why the service will never be ready by itself; empty: nothing.
	OnStartupLine func(line []byte) (failure string)
	// WatchOutput returns the function that gets each line of a RUNNING service, from the
	// first line of the start on, and does not wait.
	WatchOutput func() func(line []byte) *HealthIssue
	// WatchLogFile reports what a RUNNING service writes elsewhere, until ctx is done.
	WatchLogFile func(ctx context.Context, report func(*HealthIssue))
	// ReadOutput finds in the output why a process ended: a Cause and a Reason.
	ReadOutput func(incident.End) incident.Findings
	// Explain returns why a start or a run has failed, after the last line was read;
	// empty: unknown. It is not asked if ReadOutput has found a reason.
	Explain func(ctx context.Context) string

	// OnEarlyExit is called when a process has failed in STARTING or within 10 s after its start, and does not wait. It
	// may return why the next start is another variant: that follows at once, whatever the policy, and does not count
	// for back-off and limit. It may be left out if the process ended while no supervisor worked.
	OnEarlyExit func(e EarlyExit) (variant string)
	// OnStable is called, perhaps more than once, when a start that was ready for 10 s or
	// more becomes stable or ends. It may be left out if the supervisor dies meanwhile.
	OnStable func()

	// EndRequests asks the process to accept no more connections, and returns when none is open any more or ctx is done. summary says how it
	// went, for the log. nil: it cannot be asked.
	EndRequests func(ctx context.Context, p Process) (summary string, err error)
	// StopCommand asks the process to end instead of the stop signal.
	StopCommand func(ctx context.Context, p Process) error
	// DumpSignal requests a thread dump; 0: it cannot make one.
	DumpSignal syscall.Signal
	// ThreadDump makes a thread dump outside of the output. If it fails before ctx is done DumpSignal is sent.
	ThreadDump func(ctx context.Context, p Process) ([]byte, error)
	// Evidence finds what an ended process has left; nil: incident.ProcessEvidence.
	Evidence incident.Evidence
}

// EarlyExit is a process that has ended by itself soon after it was started.
type EarlyExit struct {
	Exit   *incident.Exit
	Ran    time.Duration
	Ready  bool   // its readiness had been proven
	Output []byte // the last lines that this start has written, of both streams
}
