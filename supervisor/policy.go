package supervisor

import (
	"slices"
	"time"
)

// wait is how long to wait before restart number n (from 1) in a row. random is
// in [0, 1).
func (b BackoffConfig) wait(n int, random float64) time.Duration {
	d := float64(*b.First)
	for range n - 1 {
		if d *= b.Factor; d >= float64(b.Max) {
			break
		}
	}
	d = min(d, float64(b.Max))
	return time.Duration(d + d**b.Jitter*random)
}

// startTimes counts starts within a time. Times are CLOCK_BOOTTIME, ns.
type startTimes []int64

func (h *startTimes) add(now int64, within time.Duration) {
	if len(*h) == maxHistory {
		*h = slices.Delete(*h, 0, 1)
	}
	*h = slices.DeleteFunc(*h, func(t int64) bool { return now-t >= int64(within) })
	*h = append(*h, now)
}

// spread is d +-20 %, so that ten thousand containers that failed together do
// not come back together.
func spread(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*random))
}

func (r Restart) wanted(success bool) bool {
	switch r.Policy {
	case Never:
		return false
	case OnFailure:
		return !success
	default:
		return true
	}
}
