package pid1

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// waiter tells the loop that a child has ended or was stopped, without reaping
// it: the loop alone does that, so that what it knows and what is gone never
// differ. (A blocking wait4 here would take the child away before the loop had
// read what the supervisor said of it.)
type waiter struct {
	ready chan struct{}
	again chan struct{}
}

// newWaiter starts the waiting goroutine, which begins with the first resume: it
// takes a thread. It ends with the process.
func newWaiter() *waiter {
	w := &waiter{ready: make(chan struct{}), again: make(chan struct{}, 1)}
	go func() {
		<-w.again
		for {
			err := waitid(unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, new(unix.Siginfo))
			if err == unix.EINTR {
				continue
			}
			if err == nil {
				w.ready <- struct{}{}
			}
			<-w.again // ECHILD: until a child is started
		}
	}()
	return w
}

// resume makes the waiter look again: children were reaped, or one was started.
func (w *waiter) resume() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// waitid is waitid(2) on any child. __WALL is not needed: CLONE_PARENT children
// are born with the exit signal of the supervisor, which is SIGCHLD.
func waitid(options int, info *unix.Siginfo) error {
	return unix.Waitid(unix.P_ALL, 0, info, options, nil)
}

// peekChild gives the pid of a child that has ended and is not yet reaped, or
// that was stopped by a signal and is not yet noted. Stops under a tracer are the
// tracer's: the kernel does not show them to us.
func peekChild() (pid int, stopped, ok bool) {
	var info unix.Siginfo
	for {
		err := waitid(unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|unix.WNOHANG, &info)
		if err == unix.EINTR {
			continue
		}
		pid = siginfoPid(&info)
		return pid, info.Code == cldStopped, err == nil && pid > 0
	}
}

// cldStopped is CLD_STOPPED, the si_code of a child that was stopped.
const cldStopped = 5

// noteStop takes the report of a stop away; the end of the child stays.
func noteStop(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOHANG, nil) == unix.EINTR {
	}
}

// siginfoPid reads si_pid, the first field of the union behind the three ints
// of siginfo_t, which is aligned to the size of a pointer.
func siginfoPid(info *unix.Siginfo) int {
	offset := 3 * unsafe.Sizeof(int32(0))
	if unsafe.Sizeof(uintptr(0)) == 8 {
		offset = 16
	}
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}

// Many exits at once are taken in steps of burstPause, so that a storm of
// orphans costs a few wake-ups and not thousands. Few exits are never delayed:
// a service that died must be started again within two milliseconds.
const (
	burstPause = 5 * time.Millisecond
	burstSize  = 16
)

// burst counts exits within a window.
type burst struct {
	since time.Time
	n     int
	pause bool
	until time.Time
}

// count adds n exits and says whether the waiter must pause.
func (b *burst) count(now time.Time, n int) bool {
	if now.Sub(b.since) > burstPause {
		b.since, b.n = now, 0
	}
	b.n += n
	if b.n < burstSize {
		return false
	}
	b.pause, b.until = true, now.Add(burstPause)
	return true
}

// WaitChild waits for one child of the caller. It is for a supervisor on a
// kernel that ignores CLONE_PARENT: there its children are not the init's.
func WaitChild(pid int) (initproto.Exit, error) {
	var status syscall.WaitStatus
	var use syscall.Rusage
	for {
		_, err := syscall.Wait4(pid, &status, 0, &use)
		if err == syscall.EINTR {
			continue
		}
		return initproto.Exit{Pid: pid, Status: uint32(status), At: initproto.BootNow(),
			CPU: use.Utime.Nano() + use.Stime.Nano(), RSS: use.Maxrss << 10}, err
	}
}

// waitFor waits for a child that is about to end. Raw: the runtime would think of
// another thread meanwhile.
func waitFor(pid int) {
	for {
		if _, _, err := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(pid), 0, unix.WALL, 0, 0, 0); err != unix.EINTR {
			return
		}
	}
}

// defaultSignals gives the signals for which the runtime has no handler of its
// own yet the default disposition: a parent may have left them ignored, and that
// would reach every service. SIGCHLD is one of them for good, although the
// runtime has a handler: by default the kernel does not deliver it at all, so a
// storm of orphans costs no handler calls and interrupts no system call.
func defaultSignals() {
	// 32 to 34 belong to glibc, whose posix_spawn (make uses it) leaves some ignored.
	for _, sig := range []unix.Signal{unix.SIGCHLD, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT, 32, 33, 34} {
		var action [4]uint64 // struct kernel_sigaction: SIG_DFL, no flags, no mask
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}
