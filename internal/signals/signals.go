// Package signals catches the signals that a container's first process can get.
package signals

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NotifyFirst catches the signals that a container is stopped and asked with. Until then
// Go's runtime ends the process on them, even as PID 1. Each costs a hand-over between two
// threads, some 40 us; NotifyRest catches the others when there is time.
func NotifyFirst(c chan<- os.Signal) {
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
}

// NotifyRest catches the other signals that a process can get. SIGCHLD stays out because
// its delivery alone costs about 20 us for each child that ends, and SIGURG because the
// runtime sends it to itself; the runtime ignores those from 32 on.
func NotifyRest(c chan<- os.Signal) {
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGABRT,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT,
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSTKFLT,
		syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGVTALRM, syscall.SIGPROF, syscall.SIGIO, syscall.SIGPWR, syscall.SIGSYS)
}

// ResetIgnored gives the signals for which the runtime has no handler yet the default
// disposition: a parent may have left them ignored, and every service would inherit that.
// SIGCHLD keeps the default for good: the kernel then does not deliver it at all, so a
// storm of orphans costs no handler calls and interrupts no system call.
func ResetIgnored() {
	// 32 to 34 belong to glibc, whose posix_spawn (make uses it) leaves some ignored.
	for _, sig := range []unix.Signal{unix.SIGCHLD, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT, 32, 33, 34} {
		var action [4]uint64 // struct kernel_sigaction: SIG_DFL, no flags, no mask
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}
