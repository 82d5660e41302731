package proc

import (
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
)

// tick is the unit of a process's start time, which the kernel rounds down.
const tick = 10 * time.Millisecond

// StartTime converts the start of a process in clock ticks since boot to the time of day.
func StartTime(ticks uint64) time.Time {
	return time.Now().Add(time.Duration(int64(ticks)*int64(tick) - initproto.BootNow()))
}

// WrittenSince reports whether a file with this time was written after start. The
// kernel stamps files by a clock that is up to a tick late, and some file systems
// keep whole seconds only.
func WrittenSince(file, start time.Time) bool {
	if file.Nanosecond() == 0 {
		start = start.Truncate(time.Second)
	}
	return !file.Before(start.Add(-tick))
}
