package proc

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// How many descriptors are kept free for what operators ask for: minReserve answer one
// request.
const (
	minReserve = 6
	maxReserve = 16
)

// What is held in descriptors: of a process the pidfd and the ends of two pipes; of a log
// what it holds, its index, and what renders it.
const (
	processFiles = 4
	logFiles     = 5
)

// reserved is how many that is under a limit. Under a small one the services need most
// of it.
func reserved(limit uint64) int { return int(min(max(limit/8, minReserve), maxReserve)) }

// DescriptorsFor refuses to have n descriptors taken where that would leave fewer than
// are kept for operators. Whatever can do without asks before it takes them: a service
// and its log, an incident, a client of the API that is no admin.
func DescriptorsFor(n int) error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range n + reserved(limit.Cur) {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			return fmt.Errorf("the last descriptors are kept for operators: %w", err)
		}
		if err != nil {
			return nil
		}
		fds = append(fds, fd)
	}
	return nil
}
