package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// mostAdjust is the highest OOM score adjustment: the first to be killed.
const mostAdjust = 1000

// adjustFile holds the adjustment of the supervisor. A child inherits it.
const adjustFile = "/proc/self/oom_score_adj"

// withOOMScore calls f, which makes a child, while the supervisor has the OOM score
// adjustment of the child: the kernel then kills the child before the supervisor. Raised
// later, it would miss children that the child has by then. Every process may raise its
// own and go back.
//
// raise is added to the adjustment of the child.
func (m *Manager) withOOMScore(raise int, f func()) {
	own, child := m.oomScores()
	if raise > 0 && own != nil {
		base := child
		if base == nil {
			base = own
		}
		n, _ := strconv.Atoi(string(base)) // it was made of a number
		child = strconv.AppendInt(nil, int64(min(n+raise, mostAdjust)), 10)
	}
	if child == nil || os.WriteFile(adjustFile, child, 0) != nil {
		f()
		return
	}
	f()
	if err := os.WriteFile(adjustFile, own, 0); err != nil {
		m.oomScores = func() (own, child []byte) { return nil, nil }
		m.warn(fmt.Sprintf("the supervisor is as likely a victim of the kernel's OOM killer as the services: %v", err))
	}
}

// readOOMScores returns the adjustments of this process and of those it starts; nil: unknown, or the same.
func (o *Options) readOOMScores() (own, child []byte) {
	data, err := os.ReadFile(adjustFile)
	n, numberErr := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil || numberErr != nil {
		return nil, nil
	}
	own = strconv.AppendInt(nil, int64(n), 10)
	if o.OOMRaise == nil {
		return own, nil
	}
	if raised := min(n+o.OOMRaise(), mostAdjust); raised > n {
		child = strconv.AppendInt(nil, int64(raised), 10)
	}
	return own, child
}
