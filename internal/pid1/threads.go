package pid1

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Go's runtime makes a thread when a system call blocks while there is other work,
// and ends the process when it cannot. A service can use up the container's pids at
// any time, so the init has every thread that it will ever need before a service can
// start. With one processor for Go a goroutine has a thread of its own only while it
// is in a system call. Beside os/signal's and the waiter, which always are, these can
// be the loop, the logger, the drainer and the two pollers; one thread runs the rest.
// The others are for those that leave a call and are not idle yet. The runtime keeps
// idle threads and uses them again.
const (
	spareThreads = 7
	// ownTasks are the threads that have to be made for that: with these the one that
	// makes threads for locked ones, and one that may be busy meanwhile.
	ownTasks = spareThreads + 2
	// signalThreads are os/signal's: one that waits, and one that asks for signals.
	signalThreads = 2
	// fewTasks is a limit at which even those may be too many.
	fewTasks = 128
	// SupervisorSpare are the spare threads of a supervisor.
	SupervisorSpare = 8
	// supervisorTasks are its process and all its threads.
	supervisorTasks = SupervisorSpare + 5
)

// SpareThreads makes n threads ahead of their need.
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

// tasks is what the init knows of the processes and threads that it can have.
type tasks struct{ made bool }

// make makes the init's threads, and early further ones, where there is room for them
// together with more others.
func (t *tasks) make(early, more int) error {
	need := more
	if !t.made {
		need += ownTasks + early
	}
	if n, err := room(need); n < need {
		return &lackError{need: need, have: n, err: err}
	}
	if !t.made {
		SpareThreads(spareThreads + early)
		t.made = true
	}
	return nil
}

// lackError says that processes and threads are lacking.
type lackError struct {
	need, have int
	err        error
}

func (e *lackError) Error() string {
	return fmt.Sprintf("%d more processes and threads are needed, and %d can be had: %v%s", e.need, e.have, e.err, TaskLimits())
}

// TaskLimits names the limit of processes and threads, if one can be seen from here.
func TaskLimits() string {
	if n, ok := taskLimit(); ok {
		return fmt.Sprintf(" (the limit that can be seen here is %d: pids.max of the container, or RLIMIT_NPROC)", n)
	}
	return ""
}

// fewTasksSeen says whether a limit can be seen at which not even those may be had.
func fewTasksSeen() bool {
	n, ok := taskLimit()
	return ok && n < fewTasks
}

// taskLimit is the lowest limit of processes and threads that can be seen from here.
// There may be others: of a pod, or those that the user's other processes use up.
func taskLimit() (lowest int, ok bool) {
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

// room says how many processes or threads can be made now, n at most: that many
// children are made, each of which ends at once and counts until it is waited for.
// They end without a signal, so nobody else waits for them.
func room(n int) (int, error) {
	pids := make([]int, n)
	got, errno := forkEnding(pids)
	for _, pid := range pids[:got] {
		waitFor(pid)
	}
	if errno != 0 {
		return got, errno
	}
	return got, nil
}

// forkEnding makes children that end at once. Signals wait meanwhile: the child has our
// memory, and Go's handler would take one that it gets for one of ours. It is not split
// and makes raw calls only, so that the goroutine stays on its thread: to lock it there
// would have the runtime make a thread, which is not known to be possible yet.
//
//go:nosplit
//go:norace
func forkEnding(pids []int) (n int, errno syscall.Errno) {
	all, before := ^uint64(0), uint64(0)
	setMask(&all, &before)
	for n < len(pids) {
		pid := int(cloneEnding())
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
