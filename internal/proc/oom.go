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

// oomScores are the OOM score adjustments of this process and of those it starts.
type oomScores struct {
	known      bool
	own, child []byte // child nil: the same
}

// withOOMScore calls f, which makes a child, while the supervisor has the OOM score
// adjustment of the child: the kernel then kills the child before the supervisor. Raised
// later, it would miss children that the child has by then. Every process may raise its
// own and go back.
func (m *Manager) withOOMScore(f func()) {
	o := &m.oom
	if !o.known {
		o.known = true
		m.readOOMScores()
	}
	if o.child == nil || os.WriteFile(adjustFile, o.child, 0) != nil {
		f()
		return
	}
	f()
	if err := os.WriteFile(adjustFile, o.own, 0); err != nil {
		o.child = nil
		m.warn(fmt.Sprintf("the supervisor is as likely a victim of the kernel's OOM killer as the services: %v", err))
	}
}

// readOOMScores reads the adjustment of the supervisor, and adds that of Options.
func (m *Manager) readOOMScores() {
	data, err := os.ReadFile(adjustFile)
	if err != nil || m.opts.OOMRaise == nil {
		return
	}
	own, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if child := min(own+m.opts.OOMRaise(), mostAdjust); err == nil && child > own {
		m.oom.own, m.oom.child = strconv.AppendInt(nil, int64(own), 10), strconv.AppendInt(nil, int64(child), 10)
	}
}
