package proc

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// reserved are the descriptors that the start of a service leaves: the API, which
// says what is wrong, and the supervisor's own files need some. startFds are those
// that one start needs at most.
const (
	reserved = 16
	startFds = 12
)

// ErrReserved says that the descriptors that are left are not for services.
var ErrReserved = errors.New("too few descriptors are left")

// spared refuses a start that would take the last descriptors. lowest is the lowest
// that was free; those behind it are hardly used.
func spared(lowest int) error {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || uint64(lowest+startFds+reserved) <= limit.Cur {
		return nil
	}
	return fmt.Errorf("%w: the last %d of %d are kept for the API; raise the limit (docker run --ulimit nofile=N)", ErrReserved, reserved+startFds, limit.Cur)
}
