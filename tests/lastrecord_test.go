//go:build container

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Stdout and stderr of the container are the same pipe, as with 2>&1 or a terminal. If the pipe is
// read, the last lines of a service come before stoker logs its end, and no line is cut.
func TestLastLinesBeforeTheRecord(t *testing.T) {
	t.Parallel()
	b := newLastTalker(t, true)
	for round := range 20 {
		b.timed("start", "talker")
		const record = "service ended: name=talker"
		await(t, 10*time.Second, "the record of the end", func() bool { return b.stdout.count(record) == round+1 })
		checkLines(t, fmt.Sprintf("round %d, on stdout before the record of the end", round), strings.Split(b.stdout.String(), record)[round])
	}
}
