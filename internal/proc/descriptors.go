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
// and its log, an incident, a watch, a client of the API that is no admin. It takes none
// to find out: another request would miss those. The kernel gives out the lowest, so it
// begins at the highest.
func DescriptorsFor(n int) error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	free, need := 0, n+reserved(limit.Cur)
	var some [256]unix.PollFd
	for end := min(limit.Cur, 1<<30); end > 0; {
		part := some[:min(uint64(len(some)), end)]
		end -= uint64(len(part))
		for k := range part {
			part[k] = unix.PollFd{Fd: int32(end) + int32(k)}
		}
		if _, err := unix.Poll(part, 0); err != nil {
			return nil
		}
		for _, fd := range part {
			if fd.Revents&unix.POLLNVAL != 0 { // not open
				free++
			}
		}
		if free >= need {
			return nil
		}
	}
	return fmt.Errorf("the last descriptors are kept for operators: %w", unix.EMFILE)
}
