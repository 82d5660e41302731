//go:build container

package tests

import (
	"testing"
	"time"
)

// A traced process that is killed becomes a zombie that only its tracer can reap. stoker treats it
// as ended: a forgotten debugger delays neither the stop nor the next start.
func TestStopOfWhatIsHeld(t *testing.T) {
	t.Parallel()
	stopOfWhatDoesNotRun(t, "exec sleep 98430", func(t *testing.T, b *box, pid int) {
		newTracer(t, pid, false)
		await(t, 15*time.Second, "the process to be held", func() bool { p, _ := look(pid); return p.state == 't' })
	}, 3*time.Second) // a second until KILL, another until the zombie is recognized as traced
}
