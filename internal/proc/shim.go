package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/pid1"
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
	Path       string   `json:"path"`
	Argv       []string `json:"argv"`
	Umask      *int     `json:"umask,omitempty"`
	Foreground bool     `json:"foreground,omitempty"`
}

// shimFailure is the shim's word that it failed.
type shimFailure struct {
	Step  string        `json:"step"`
	Errno syscall.Errno `json:"errno"`
}

// shimmed says whether the exec shim is needed.
func (s *Spec) shimmed() bool { return s.Umask != nil || s.Foreground }

// shim is our side of one.
type shim struct{ orders, errs, childErrs *os.File }

// newShim writes the orders into a memfd, which has no size limit as a pipe has
// and can be read after our death.
func newShim(spec *Spec, path string) (*shim, error) {
	data, err := json.Marshal(shimOrders{Path: path, Argv: spec.Argv, Umask: spec.Umask, Foreground: spec.Foreground})
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

// result waits until the shim has become the program or has failed.
func (s *shim) result(path string) error {
	s.childErrs.Close()
	s.childErrs = nil
	if err := s.errs.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return fmt.Errorf("cannot start %s: cannot wait for the exec shim: %w", path, err)
	}
	data, err := io.ReadAll(s.errs)
	if err != nil && len(data) == 0 {
		return fmt.Errorf("cannot start %s: the exec shim does not answer: %w", path, err)
	}
	var f shimFailure
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return fmt.Errorf("cannot start %s: the exec shim said %.100q", path, data)
	}
	return &StartError{Path: path, Step: f.Step, Err: f.Errno}
}

// RunShim is the shim. It returns only when it failed, with the exit code.
func RunShim() int {
	unix.CloseOnExec(shimIn)
	unix.CloseOnExec(shimErr)
	fail := func(step string, err error) int {
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			errno = syscall.EINVAL
		}
		data, _ := json.Marshal(shimFailure{step, errno})
		_, _ = os.NewFile(shimErr, "errors").Write(data) // our exit code says it too
		return 126
	}
	data, err := io.ReadAll(os.NewFile(shimIn, "orders"))
	var o shimOrders
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	if err != nil {
		return fail("read the exec shim's orders for", err)
	}
	if o.Umask != nil {
		unix.Umask(*o.Umask)
	}
	if o.Foreground {
		if err := pid1.TakeForeground(0, os.Getpid()); err != nil {
			return fail("give the terminal to", err)
		}
	}
	return fail("execute", syscall.Exec(o.Path, o.Argv, os.Environ()))
}
