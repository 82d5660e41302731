//go:build container

package tests

import (
	"testing"
	"time"
)

// A process that is held by its tracer ends by KILL; it is a zombie then, which
// nobody but the tracer can wait for. That is gone enough: a forgotten debugger
// must hold up neither the stop nor the next start.
func TestStopOfWhatIsHeld(t *testing.T) {
	t.Parallel()
	stopOfWhatDoesNotRun(t, "exec sleep 98430", func(t *testing.T, b *box, pid int) {
		newTracer(t, pid, false)
		await(t, 5*time.Second, "the process to be held", func() bool { p, _ := look(pid); return p.state == 't' })
	}, 3*time.Second) // a second until KILL, and another one until a zombie counts as held
}
