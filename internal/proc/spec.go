package proc

import (
	"errors"
	"os"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/program"
)

// Spec says what to start and how.
type Spec struct {
	ID   string       // "tomcat.5"; never used twice
	Argv []string     // Argv[0] is looked up in the PATH of Env when it has no slash
	Env  []string     // the whole environment
	Dir  string       // working directory; empty: stoker's own
	User *asuser.User // nil: stoker's own
	// Open checks the program, as in Command; nil: it is not checked.
	Open func(path string) (folder *os.File, name string, err error)
	// Attributes need the exec shim, which takes a millisecond. Their Cgroups are removed
	// when the process is Done and no other is in them. A process that is not Foreground
	// leads a session of its own.
	execshim.Attributes

	Stdio Stdio
	// Sockets are passed on by systemd's protocol: as descriptors 3 and up, with LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID. They stay
	// the caller's.
	Sockets []listen.Socket
	// KeepReserve refuses a start beside others that would take the descriptors that are
	// kept for operators.
	KeepReserve bool
	// OOMRaise is by how much its OOM score adjustment exceeds that of other processes, in
	// thousandths of the machine's memory.
	OOMRaise int
	// WhileStopping lets it start after a stop of the container was asked for.
	WhileStopping bool
}

func (s *Spec) command() *program.Command {
	return &program.Command{Argv: s.Argv, Env: s.Env, Dir: s.Dir, Open: s.Open, FDs: len(s.Sockets)}
}

// ErrStopping refuses a start because the container stops.
var ErrStopping = errors.New("the container stops")

// procPrefix marks the items of the fd store that are records of processes.
const procPrefix = "proc/"

// record is what the fd store keeps of a process: enough for a supervisor that has never
// seen it. Without Pid it is the intent to start one.
type record struct {
	ID     string          `json:"id"`
	Path   string          `json:"path"`
	Log    string          `json:"log,omitempty"`
	OwnLog *logs.Options   `json:"late,omitempty"` // of Stdio
	Time   int64           `json:"time"`           // before the clone; CLOCK_BOOTTIME, ns
	Pid    int             `json:"pid,omitempty"`
	Start  uint64          `json:"start,omitempty"` // clock ticks since boot
	Group  bool            `json:"group,omitempty"` // leads a group only, not a session
	Dirs   []string        `json:"dirs,omitempty"`  // its own cgroup
	Exit   *initproto.Exit `json:"exit,omitempty"`
	Done   bool            `json:"done,omitempty"` // only its output is still of interest
	// Pipes are the names of those among Stdio.Files that it writes to: it is known by them.
	Pipes []string `json:"pipes,omitempty"`
	// Lost is how much the init had discarded of each pipe when the line before it was ended
	// in the log.
	Lost initproto.PipeBytes `json:"lost,omitzero"`
}

// newRecord is the intent to start s.
func newRecord(s *Spec, path string) *record {
	r := &record{ID: s.ID, Path: path, Group: s.Foreground, Dirs: s.Cgroups, Time: initproto.BootNow()}
	switch {
	case s.Stdio.Log != nil:
		r.Log = s.Stdio.Log.Name()
	case s.Stdio.OwnLog != nil:
		r.Log, r.OwnLog = s.ID, s.Stdio.OwnLog
	}
	return r
}
