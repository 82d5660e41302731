// Package waitid waits for children. A child's end is seen before it is reaped, so that
// its process stat can still be read.
package waitid

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// Many exits at once are reaped in steps of burstPause, so that a storm of orphans costs a
// few wake-ups and not thousands. Few exits are never delayed: a service that died must be
// started again within two milliseconds.
const (
	burstPause = 5 * time.Millisecond
	burstSize  = 16
)

// Waiter reports that a child has ended or was stopped, without reaping it. (A blocking
// wait4 would take the child away before its receiver knows what the child was.)
type Waiter struct {
	Ready chan struct{}
	again chan struct{}

	since  time.Time // of the present window
	reaped int       // in it
	until  time.Time // end of a pause; zero: there is none
}

// Reaped makes the waiter wait again after n exits were reaped, or after a pause if there
// are many of them.
func (w *Waiter) Reaped(now time.Time, n int) {
	if now.Sub(w.since) > burstPause {
		w.since, w.reaped = now, 0
	}
	if w.reaped += n; w.reaped >= burstSize {
		w.until = now.Add(burstPause)
		return
	}
	w.Resume()
}

// PausedUntil is when the waiter waits again; zero: it does.
func (w *Waiter) PausedUntil() time.Time { return w.until }

// EndPause makes the waiter wait again if its pause is over.
func (w *Waiter) EndPause(now time.Time) {
	if !w.until.IsZero() && !now.Before(w.until) {
		w.until = time.Time{}
		w.Resume()
	}
}

// NewWaiter starts the waiting goroutine, which holds a thread from the first Resume on.
// It ends with the process.
func NewWaiter() *Waiter {
	w := &Waiter{Ready: make(chan struct{}), again: make(chan struct{}, 1)}
	go func() {
		<-w.again
		for {
			err := waitAny(unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, new(unix.Siginfo))
			if err == unix.EINTR {
				continue
			}
			if err == nil {
				w.Ready <- struct{}{}
			}
			<-w.again // ECHILD: until a child is started
		}
	}()
	return w
}

// Resume makes the waiter wait again: children were reaped, or one was started.
func (w *Waiter) Resume() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// waitAny is waitid(2) on any child. __WALL is not needed: a CLONE_PARENT child has the exit
// signal of the supervisor, which is SIGCHLD.
func waitAny(options int, info *unix.Siginfo) error {
	return unix.Waitid(unix.P_ALL, 0, info, options, nil)
}

// Peek returns a child that has ended and is not reaped, or that was stopped by a signal.
// The kernel does not report the stops of a traced child.
func Peek() (pid int, stopped, ok bool) {
	var info unix.Siginfo
	for {
		err := waitAny(unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|unix.WNOHANG, &info)
		if err == unix.EINTR {
			continue
		}
		pid = siginfoPid(&info)
		return pid, info.Code == cldStopped, err == nil && pid > 0
	}
}

// cldStopped is CLD_STOPPED, the si_code of a child that was stopped.
const cldStopped = 5

// TakeStop takes the report of a stop away; that of the child's end stays.
func TakeStop(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOHANG, nil) == unix.EINTR {
	}
}

// siginfoPid reads si_pid, the first field of the union behind the three ints of
// siginfo_t, which is aligned to the size of a pointer.
func siginfoPid(info *unix.Siginfo) int {
	offset := 3 * unsafe.Sizeof(int32(0))
	if unsafe.Sizeof(uintptr(0)) == 8 {
		offset = 16
	}
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}

// Reap waits for a child that has ended, or is about to. options may be WNOHANG.
func Reap(pid, options int) (initproto.Exit, error) {
	var status syscall.WaitStatus
	var use syscall.Rusage
	for {
		got, err := syscall.Wait4(pid, &status, options, &use)
		switch {
		case err == syscall.EINTR:
			continue
		case err == nil && got != pid:
			err = syscall.EAGAIN
		}
		return initproto.Exit{Pid: pid, Status: uint32(status), At: initproto.BootNow(),
			CPU: use.Utime.Nano() + use.Stime.Nano(), RSS: use.Maxrss << 10}, err
	}
}

// ReapRaw waits for a child that is about to end. The runtime does not know of the call:
// it would think of another thread meanwhile.
func ReapRaw(pid int) {
	for {
		if _, _, err := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(pid), 0, unix.WALL, 0, 0, 0); err != unix.EINTR {
			return
		}
	}
}

// Describe is a wait status as text.
func Describe(s syscall.WaitStatus) string {
	switch {
	case s.Signaled() && s.CoreDump():
		return fmt.Sprintf("killed by signal %d (%s), core dumped", s.Signal(), s.Signal())
	case s.Signaled():
		return fmt.Sprintf("killed by signal %d (%s)", s.Signal(), s.Signal())
	default:
		return fmt.Sprintf("exit code %d", s.ExitStatus())
	}
}

// ShellCode is the exit code by which a shell reports a wait status.
func ShellCode(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
