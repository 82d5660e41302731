package headroom

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// How many descriptors are kept free for operators: minReserve answer one request.
const (
	minReserve = 6
	maxReserve = 16
)

// reserved is how many that is under a limit of open files. Under a small one the services
// need most of them.
func reserved(limit uint64) int { return int(min(max(limit/8, minReserve), maxReserve)) }

// DescriptorsFor returns an error when n more descriptors would leave fewer than are kept
// for operators. Whatever can do without them asks first: a service and its log, an
// incident, a watch, a client of the API that is no admin. It opens none to find out:
// a request at the same time would lack those. The kernel gives out the lowest, so the
// search begins at the highest.
func DescriptorsFor(n int) error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil //nolint:nilerr // an unknown limit cannot be kept
	}
	free, need := 0, n+reserved(limit.Cur)
	var some [32]unix.PollFd
	for end := min(limit.Cur, 1<<30); end > 0; {
		part := some[:min(uint64(len(some)), end)]
		end -= uint64(len(part))
		for k := range part {
			part[k] = unix.PollFd{Fd: int32(end) + int32(k)}
		}
		if _, err := unix.Poll(part, 0); err != nil {
			return nil //nolint:nilerr // what cannot be counted is not refused
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
