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
func (m *Manager) withOOMScore(f func()) {
	own, child := m.oomScores()
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

// readOOMScores returns the adjustments of this process and of those it starts; nil: the same.
func (o *Options) readOOMScores() (own, child []byte) {
	data, err := os.ReadFile(adjustFile)
	if err != nil || o.OOMRaise == nil {
		return nil, nil
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	raised := min(n+o.OOMRaise(), mostAdjust)
	if err != nil || raised <= n {
		return nil, nil
	}
	return strconv.AppendInt(nil, int64(n), 10), strconv.AppendInt(nil, int64(raised), 10)
}
