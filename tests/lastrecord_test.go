//go:build container

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Stdout and stderr of the container are the same pipe, as with 2>&1 or a
// terminal. What a service writes right before its end is there before stoker
// tells the end, if somebody reads, and no line is cut by another.
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
