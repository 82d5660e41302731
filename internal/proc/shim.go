package proc

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

// ShimCommand is the hidden command by which stoker runs as the exec shim: a
// process that sets what Go cannot set between clone and exec, and then
// becomes the program.
const ShimCommand = "exec-shim"

// Descriptors of the shim beside 0 to 2.
const (
	shimIn  = 3 // its orders
	shimErr = 4 // its error; closed by a successful exec
)

// shimOrders is what the shim does before it executes Path.
type shimOrders struct {
	Path            string          `json:"path"`
	Argv            []string        `json:"argv"`
	Dir             string          `json:"dir,omitempty"`
	Umask           *int            `json:"umask,omitempty"`
	Foreground      bool            `json:"foreground,omitempty"`
	Rlimits         []Rlimit        `json:"rlimits,omitempty"`
	Nice            *int            `json:"nice,omitempty"`
	IOPriority      *int            `json:"io_priority,omitempty"`
	OOMScoreAdj     *int            `json:"oom_score_adj,omitempty"`
	Drop            Capabilities    `json:"drop,omitempty"`
	NoNewPrivileges bool            `json:"no_new_privileges,omitempty"`
	Cgroups         []string        `json:"cgroups,omitempty"`
	Become          *shimCredential `json:"become,omitempty"`
}

// shimCredential is whom the shim becomes.
type shimCredential struct {
	Name   string   `json:"name"`
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups"`
	Keep   bool     `json:"keep_groups,omitempty"` // Groups are not set
}

// shimReport is the shim's word that it failed, or a note of one that did not.
type shimReport struct {
	Step  string        `json:"step,omitempty"`
	Thing string        `json:"thing,omitempty"` // empty: the program
	Errno syscall.Errno `json:"errno,omitempty"`
	Why   string        `json:"why,omitempty"`
	Note  string        `json:"note,omitempty"`
}

// shimmed says whether the exec shim is needed.
func (s *Spec) shimmed() bool {
	return s.Umask != nil || s.Foreground || len(s.Rlimits) > 0 || s.Nice != nil || s.IOPriority != nil ||
		s.OOMScoreAdj != nil || s.Drop != 0 || s.NoNewPrivileges || len(s.Cgroups) > 0
}

// orders are what the shim is to do for s.
func (s *Spec) orders(path string) shimOrders {
	o := shimOrders{Path: path, Argv: s.Argv, Dir: s.Dir, Umask: s.Umask, Foreground: s.Foreground, Rlimits: s.Rlimits,
		Nice: s.Nice, IOPriority: s.IOPriority, OOMScoreAdj: s.OOMScoreAdj, Drop: s.Drop,
		NoNewPrivileges: s.NoNewPrivileges, Cgroups: s.Cgroups}
	if c := s.credential(); c != nil {
		o.Become = &shimCredential{Name: s.User.Name, UID: c.Uid, GID: c.Gid, Groups: c.Groups, Keep: c.NoSetGroups}
	}
	return o
}

// shim is our side of one.
type shim struct{ orders, errs, childErrs *os.File }

// newShim writes the orders into a memfd, which has no size limit as a pipe has
// and can be read after our death.
func newShim(spec *Spec, path string) (*shim, error) {
	data, err := json.Marshal(spec.orders(path))
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("exec-shim", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: cannot make a memfd: %w", spec.ID, err)
	}
	s := &shim{orders: os.NewFile(uintptr(fd), "exec-shim")}
	if _, err = s.orders.Write(data); err == nil {
		_, err = s.orders.Seek(0, io.SeekStart)
	}
	if err == nil {
		s.errs, s.childErrs, err = os.Pipe()
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("cannot start %q: %w", spec.ID, err)
	}
	return s, nil
}

func (s *shim) childFds() []uintptr { return []uintptr{s.orders.Fd(), s.childErrs.Fd()} }

func (s *shim) close() {
	for _, f := range []*os.File{s.orders, s.errs, s.childErrs} {
		if f != nil {
			f.Close()
		}
	}
}

// result waits until the shim has become the program or has failed. notes are
// what it did without.
func (s *shim) result(path string) (notes []string, err error) {
	s.childErrs.Close()
	s.childErrs = nil
	if err := s.errs.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, fmt.Errorf("cannot start %s: cannot wait for the exec shim: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(s.errs, 1<<16))
	if err != nil && len(data) == 0 {
		return nil, fmt.Errorf("cannot start %s: the exec shim does not answer: %w", path, err)
	}
	for words := json.NewDecoder(bytes.NewReader(data)); ; {
		var r shimReport
		switch err := words.Decode(&r); {
		case err == io.EOF:
			return notes, nil
		case err != nil:
			return notes, fmt.Errorf("cannot start %s: the exec shim said %.100q", path, data)
		case r.Note != "":
			notes = append(notes, r.Note)
			continue
		}
		if r.Thing == "" {
			r.Thing = path
		}
		return notes, &StartError{Path: r.Thing, Step: r.Step, Why: r.Why, Err: r.Errno}
	}
}

// RunShim is the shim. It returns only when it failed, with the exit code.
//
// Credentials, capabilities and priorities belong to a thread on Linux. Everything
// is set on one thread by calls that touch no other, and that thread executes
// the program: the kernel ends the others and goes on with what this one has.
func RunShim() int {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a limit of memory may be too small for a collection
	unix.CloseOnExec(shimIn)
	unix.CloseOnExec(shimErr)
	report := json.NewEncoder(os.NewFile(shimErr, "errors"))
	data, err := io.ReadAll(os.NewFile(shimIn, "orders"))
	var o shimOrders
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	environ := os.Environ()
	failed := failure("read the exec shim's orders for", err)
	if err == nil {
		failed = o.obey(func(note string) { _ = report.Encode(shimReport{Note: note}) })
	}
	if failed == nil {
		// syscall.Exec also gives back the soft limit of open files that the Go
		// runtime raised, unless we have set it.
		failed = failure("execute", syscall.Exec(o.Path, o.Argv, environ))
	}
	_ = report.Encode(failed) // our exit code says it too
	return 126
}
