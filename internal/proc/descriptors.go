package proc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxReserve is how many descriptors are kept free for what an operator asks for, where
// the limit allows that many.
const maxReserve = 16

// reserved is how many that is under a limit. Under a small one, the services need the
// most of it.
func reserved(limit uint64) int { return int(min(limit/16, maxReserve)) }

// DescriptorsLeft says whether the descriptors that are kept for operators are free.
// Who may be refused one asks before it takes any: services before they start, clients
// of the API that are no admins.
func DescriptorsLeft() bool {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return true
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range reserved(limit.Cur) {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err != unix.EMFILE
		}
		fds = append(fds, fd)
	}
	return true
}
