// Package execshim is the exec shim: a process that sets the limits, capabilities, credentials
// and cgroup that Go cannot set between clone and exec, and then executes the program. It also
// parses their names.
package execshim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is the hidden command by which stoker runs as the exec shim.
const Command = "exec-shim"

// Args is the command line of the shim that starts the process of an id.
func Args(id string) []string { return []string{"stoker", Command, id} }

// Descriptors of the shim beside 0 to 2.
const (
	ordersFD = 3
	reportFD = 4 // closed by a successful exec
	// FirstFreeFD is the first one that is free for others: the sockets of Orders, and what follows them.
	FirstFreeFD = 5
)

// Attributes are what Go cannot set between clone and exec. What is nil or zero stays
// as it is.
type Attributes struct {
	Umask       *int         `json:"umask,omitempty"`
	Rlimits     []Rlimit     `json:"rlimits,omitempty"`       // in the order in which they are set
	Nice        *int         `json:"nice,omitempty"`          // -20 to 19
	IOPriority  *int         `json:"io_priority,omitempty"`   // as ParseIONice returns it
	OOMScoreAdj *int         `json:"oom_score_adj,omitempty"` // -1000 to 1000
	Drop        Capabilities `json:"drop,omitempty"`          // taken from the process and its descendants
	// NoNewPrivileges keeps set-user-ID programs and file capabilities from giving any.
	NoNewPrivileges bool `json:"no_new_privileges,omitempty"`
	// Cgroups are directories of cgroup file systems that the process joins. If it cannot
	// join all of them it joins none, and Wait returns a note.
	Cgroups []string `json:"cgroups,omitempty"`
	// Subreaper makes the process the parent of all its descendants whose parents have ended
	// (PR_SET_CHILD_SUBREAPER), until it undoes that itself.
	Subreaper bool `json:"subreaper,omitempty"`
	// Foreground makes the group of the process the foreground group of stoker's terminal.
	Foreground bool `json:"foreground,omitempty"`
}

// NeedShim says whether one of them is set.
func (a *Attributes) NeedShim() bool {
	return a.Umask != nil || a.Foreground || len(a.Rlimits) > 0 || a.Nice != nil || a.IOPriority != nil ||
		a.OOMScoreAdj != nil || a.Drop != 0 || a.NoNewPrivileges || a.Subreaper || len(a.Cgroups) > 0
}

// Orders is what the shim does, and what it executes then.
type Orders struct {
	Attributes
	Path   string              `json:"path"`
	Argv   []string            `json:"argv"`
	Dir    string              `json:"dir,omitempty"`
	User   string              `json:"user,omitempty"`   // name of Become
	Become *syscall.Credential `json:"become,omitempty"` // the user that the shim becomes
	// Sockets are the names of the sockets that the shim has from FirstFreeFD on, and the program from 3 on.
	Sockets []string `json:"sockets,omitempty"`
}

// report is what the shim writes: the step that failed, or a note about what it does without.
type report struct {
	StepError
	Note string `json:"note,omitempty"`
}

// StepError says which step of the shim failed.
type StepError struct {
	Step  string        `json:"step,omitempty"`  // "execute", "set the limit nofile of"
	Thing string        `json:"thing,omitempty"` // what Step is about; empty: the program
	Why   string        `json:"why,omitempty"`   // what Errno does not say; empty: nothing
	Errno syscall.Errno `json:"errno,omitempty"`
}

func (e *StepError) Error() string { return fmt.Sprintf("cannot %s %s: %v", e.Step, e.Thing, e.Errno) }

// Shim is the supervisor's side of an exec shim.
type Shim struct{ orders, reports, childReports *os.File }

// New writes the orders into a memfd, which has no size limit as a pipe has and can be
// read after the supervisor's death.
func New(orders Orders) (*Shim, error) {
	data, err := json.Marshal(orders)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("exec-shim", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	s := &Shim{orders: os.NewFile(uintptr(fd), "exec-shim")}
	if _, err = s.orders.Write(data); err == nil {
		_, err = s.orders.Seek(0, io.SeekStart)
	}
	if err == nil {
		s.reports, s.childReports, err = os.Pipe()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// FDs are the descriptors that the child gets behind 0 to 2.
func (s *Shim) FDs() []uintptr { return []uintptr{s.orders.Fd(), s.childReports.Fd()} }

// Close closes the descriptors.
func (s *Shim) Close() {
	for _, f := range []*os.File{s.orders, s.reports, s.childReports} {
		if f != nil {
			f.Close()
		}
	}
}

// Wait waits until the shim has become the program or has failed; then err is a
// *StepError. notes say what it did without.
func (s *Shim) Wait() (notes []string, err error) {
	s.childReports.Close()
	s.childReports = nil
	if err := s.reports.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, fmt.Errorf("cannot wait for the exec shim: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(s.reports, 1<<16))
	if err != nil && len(data) == 0 {
		return nil, fmt.Errorf("the exec shim does not answer: %w", err)
	}
	for reports := json.NewDecoder(bytes.NewReader(data)); ; {
		var r report
		switch err := reports.Decode(&r); {
		case err == io.EOF:
			return notes, nil
		case err != nil:
			return notes, fmt.Errorf("the exec shim wrote %.100q", data)
		case r.Note == "":
			return notes, &r.StepError
		}
		notes = append(notes, r.Note)
	}
}

// Run is the shim. It returns only when it failed, with the exit code.
//
// Credentials, capabilities and priorities belong to a thread on Linux. Everything
// is set on one thread by calls that change no other, and that thread executes
// the program: the kernel ends the others and goes on with what this one has.
func Run() int {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a limit of memory may be too small for a collection
	unix.CloseOnExec(ordersFD)
	unix.CloseOnExec(reportFD)
	orders := os.NewFile(ordersFD, "orders")
	data, err := io.ReadAll(orders)
	orders.Close()
	var o Orders
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	environ, reportTo := os.Environ(), reportFD
	if len(o.Sockets) > 0 && err == nil {
		reportTo, err = o.moveSockets()
		environ = o.withSockets(environ)
	}
	reports := json.NewEncoder(os.NewFile(uintptr(reportTo), "reports"))
	failed := failure("read the exec shim's orders for", err, "")
	if err == nil {
		failed = o.obey(func(note string) { _ = reports.Encode(report{Note: note}) })
	}
	if failed == nil {
		// syscall.Exec also gives back the soft limit of open files that the Go
		// runtime raised, unless the orders set it.
		failed = failure("execute", syscall.Exec(o.Path, o.Argv, environ), "")
	}
	_ = reports.Encode(failed) // the exit code says it too
	return 126
}
