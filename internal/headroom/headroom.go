// Package headroom finds out whether there is room for processes, threads and
// descriptors before they are needed, and makes threads ahead of their need.
//
// Go's runtime makes a thread when a system call blocks while there is other work, and
// ends the process when it cannot. A service can use up the container's pids at any
// time, so what must survive that has all its threads before a service starts.
package headroom

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/waitid"
	"golang.org/x/sys/unix"
)

const (
	// SupervisorThreads are the spare threads of a supervisor. On a busy machine, where system calls last long, 8 were too few.
	SupervisorThreads = 9
	// SupervisorTasks are its process and all its threads.
	SupervisorTasks = SupervisorThreads + 6
)

// SpareThreads makes n threads, which the runtime keeps and uses again.
func SpareThreads(n int) {
	var up, down sync.WaitGroup
	release := make(chan struct{})
	up.Add(n)
	for range n {
		down.Go(func() { // ends with SpareThreads
			runtime.LockOSThread() // each needs a thread of its own
			defer runtime.UnlockOSThread()
			up.Done()
			<-release
		})
	}
	up.Wait()
	close(release)
	down.Wait() // until then none is spare
}

// Tasks reports an error if n more processes and threads cannot be made now.
func Tasks(n int) error {
	if have, err := countTasks(n); err != nil {
		return fmt.Errorf("%d more processes and threads are needed, and %d can be had: %w", n, have, err)
	}
	return nil
}

// Short reports whether err means that processes, threads or memory are used up, which
// may pass.
func Short(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) }

// ShortOfFiles reports whether err means that descriptors are used up.
func ShortOfFiles(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// Files reports an error if n more descriptors cannot be had now.
func Files(n int) error {
	fds := make([]int, 0, n)
	defer func() { initproto.CloseAll(fds) }()
	for range n {
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 0)
		if ShortOfFiles(err) {
			return fmt.Errorf("%d more descriptors are needed, and %d can be had: %w", n, len(fds), err)
		}
		if err != nil {
			return nil // there is no stdout to duplicate
		}
		fds = append(fds, fd)
	}
	return nil
}

// TaskLimitText names the visible limit of processes and threads for an error text; it is
// empty if there is none.
func TaskLimitText() string {
	if n, ok := TaskLimit(); ok {
		return fmt.Sprintf(" (the limit that can be seen here is %d: pids.max of the container, or RLIMIT_NPROC)", n)
	}
	return ""
}

// TaskLimit is the lowest visible limit of processes and threads. There may be others: of
// a pod, or what the user's other processes use up.
func TaskLimit() (lowest int, ok bool) {
	for _, path := range []string{"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"} {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var text [32]byte
		n, _ := unix.Read(fd, text[:])
		unix.Close(fd)
		if limit, err := strconv.Atoi(strings.TrimSpace(string(text[:max(n, 0)]))); err == nil {
			lowest, ok = limit, true
		}
	}
	var limit unix.Rlimit
	if os.Getuid() != 0 && unix.Getrlimit(unix.RLIMIT_NPROC, &limit) == nil && limit.Cur < 1<<20 && (!ok || int(limit.Cur) < lowest) {
		lowest, ok = int(limit.Cur), true
	}
	return lowest, ok
}

// countTasks counts how many processes or threads can be made now, n at most: that many
// children are made, each of which ends at once and counts against every limit until it
// is waited for. They end without a signal, so no other waiter sees them.
func countTasks(n int) (int, error) {
	pids := make([]int, n)
	got, errno := cloneExiting(pids)
	for _, pid := range pids[:got] {
		waitid.ReapRaw(pid)
	}
	if errno != 0 {
		return got, errno
	}
	return got, nil
}

// cloneExiting makes children that end at once. Signals wait meanwhile: the child has our
// memory, and Go's handler would take one that it gets for one of ours. It is not split
// and makes raw calls only, so that the goroutine stays on its thread: to lock it there
// would have the runtime make a thread, which is not known to be possible yet.
//
//go:nosplit
//go:norace
func cloneExiting(pids []int) (n int, errno syscall.Errno) {
	all, before := ^uint64(0), uint64(0)
	setMask(&all, &before)
	for n < len(pids) {
		pid := int(cloneExit())
		if pid < 0 {
			errno = syscall.Errno(-pid)
			break
		}
		pids[n] = pid
		n++
	}
	setMask(&before, nil)
	return n, errno
}

// setMask is sigprocmask(2) for this thread; it cannot fail with valid pointers.
//
//go:nosplit
//go:norace
func setMask(mask, before *uint64) {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(mask)),
		uintptr(unsafe.Pointer(before)), 8, 0, 0)
}
