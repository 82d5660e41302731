package supervisor

import (
	"context"
	"syscall"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// Process is a started process; *proc.Process is one.
type Process interface {
	ID() string
	Pid() int
	StartTicks() uint64
	Exited() <-chan struct{}
	Exit() (proc.Exit, bool)
	Signal(syscall.Signal) error
	SignalGroup(syscall.Signal) error
	Catches(syscall.Signal) bool
	Members() []int
	Cgroups() []string // its own; nil: it is in the container's
	FlushOutput()
	FreeOutput() // from here on it never waits for who reads what it writes
	Held() bool  // dead, and cannot be waited for
	Ack()
	Done()
}

// Launcher says what a service is: how it is started and when it is ready. It
// is asked anew at every start, so that a repair of a file takes effect.
type Launcher interface {
	// Prepare finds out what to start. Its error is shown to the operator as the
	// reason why the service does not start.
	Prepare(ctx context.Context) (*Launch, error)
	// Attach gives what is needed to go on with a process that an earlier
	// supervisor started: everything of a Launch but the Spec. learned is what that
	// start put into Launch.Learned; empty: nothing.
	Attach(ctx context.Context, learned string) (*Launch, error)
}

// Launch is one start of a service.
type Launch struct {
	Spec  proc.Spec // ID and Log are filled in by the service
	Notes []string  // what was found, for the operator
	// Warnings are shown with the notes, and logged when they are new.
	Warnings []string
	// Sources is a fingerprint of what the command line was read from besides the
	// configuration; it is kept with the service. Empty: of nothing.
	Sources string
	// AttachData is what Attach cannot find out again once the process runs; it is kept
	// with the service, and may have maxLearned bytes.
	AttachData string
	// Ready proves that the service is; nil: it is as soon as it runs.
	Ready probe.Checker
	// Live proves that a RUNNING service does not hang; nil: nobody looks.
	Live probe.Checker
	// StopCommand asks the process to end in the place of the signal; nil: the
	// signal does.
	StopCommand func(ctx context.Context, p Process) error
	// OnStartupLine gets each line of output until the service is ready; nil: none.
	OnStartupLine func(line []byte) StartupLine
	// Verify looks once, when the service has become RUNNING, whether what runs is
	// what was started; not again for a later supervisor. A *Complaint makes an
	// incident, any other error a note. The service is left alone. nil: nobody looks.
	Verify func(ctx context.Context, p Process) error
	// WatchOutput begins to read the output of a RUNNING service, from the start's first
	// line on; the function that it gives takes each line and says what is wrong.
	// nil: nobody listens.
	WatchOutput func() func(line []byte) *HealthIssue
	// WatchLogFile complains of what a RUNNING service has said elsewhere than in its
	// output, until ctx is done. nil: it says nothing elsewhere.
	WatchLogFile func(ctx context.Context, complain func(*HealthIssue))
	// ReadOutput says why a process ended, going by the output of that start alone: the
	// Cause and the Reason of the Findings count. It does not wait. nil: nothing is read.
	ReadOutput func(incident.End) incident.Findings
	// Explain says why a start or a run has failed, after the last line of the
	// output was watched; empty: it does not know. It is not asked where ReadOutput knows.
	// nil: no explanation.
	Explain func(ctx context.Context) string
	// OnEarlyExit is asked when a process has ended by itself, and not as it should, in
	// STARTING or within 10 s after it was started, and does not wait. If it says
	// why the next start is another one, that follows at once, whatever the policy,
	// and does not count for back-off and limit. It may be left out where the process
	// ended while no supervisor worked: then the next one that ends has its turn.
	// nil: there is nothing to be changed.
	OnEarlyExit func(d EarlyExit) (why string)
	// OnStable is called once for each start that is RUNNING and 10 s old (more than
	// once if the supervisor dies meanwhile), and does not wait: what the process was
	// started with does not end it. nil: nobody wants to know.
	OnStable func()
	// Debugger says what a debugger does with a process; before is its latest answer for
	// this process. possible: one can be let in. It is asked from time to time and waits for
	// nothing. nil: a debugger is not looked for.
	Debugger func(p Process, before Debugging) (now Debugging, possible bool)
	// Port is the TCP port of its readiness, for those who act at its stages; 0: it
	// is not known.
	Port int
	// Evidence looks for what an ended process has left; nil: ProcessEvidence.
	Evidence incident.Evidence
	// DumpSignal asks for a thread dump; 0: it cannot make one.
	DumpSignal syscall.Signal
	// ThreadDump makes one that does not go to the output. Where it fails before ctx
	// is done, and where it is nil, DumpSignal asks for one.
	ThreadDump func(ctx context.Context, p Process) ([]byte, error)
}

// StartupLine is what a line of output says.
type StartupLine struct {
	Failed string // why the service will never be ready by itself; empty: nothing
	Match  bool   // the line that readiness waits for
}
