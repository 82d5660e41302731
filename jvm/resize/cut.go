package resize

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

const (
	// What has failed before the collection is tried again after firstRetry, then after nextRetry each, maxTries times.
	firstRetry = 10 * time.Second
	nextRetry  = time.Minute
	maxTries   = 10
	// collectPause is the least time between two collections of a JVM.
	collectPause = time.Minute
	// minRoom is the memory that a collection needs, in bytes, at least: mark stacks, and free parts of the heap.
	minRoom = 64 << 20
)

// Cut is a memory limit below the budget of a running JVM, and what was done about it.
type Cut struct {
	Limit  int64 `json:"limit_bytes"` // 0: it is high enough again, and the flags are as before
	Budget int64 `json:"budget_bytes"`
	High   bool  `json:"memory_high,omitempty"` // the limit is memory.high
	// Used are the bytes that the JVM uses, InUse those in use in the cgroup of the limit.
	Used  int64 `json:"used_bytes"`
	InUse int64 `json:"cgroup_used_bytes"`
	// Done says what was changed in the JVM, or why nothing was.
	Done    string    `json:"done"`
	Changed []Setting `json:"changed_flags,omitempty"`
	Pid     int       `json:"pid"`
	// Unfinished means that there is more to be done, as soon as it may be.
	Unfinished bool      `json:"unfinished,omitempty"`
	Collected  time.Time `json:"collected,omitzero"` // the latest collection on request
	busy       bool      // the JVM is being changed
	tries      int       // that have failed
	next       time.Time // of the next try; zero: at once where something is unfinished
	risen      time.Time // when the limit was found to be high enough again; zero: it is not
	problem    string    // why the flags cannot be restored
}

// inUse returns the bytes in use under the limit.
func (c *Cut) inUse() int64 { return max(c.Used, c.InUse) }

// limit returns the name of the limit.
func (c *Cut) limit() string {
	if c.High {
		return "memory.high"
	}
	return "the memory limit"
}

// urgent reports whether the JVM has nearly reached the limit.
func (c *Cut) urgent() bool { return c.inUse() > c.Limit/10*8 }

// String describes the cut for a person.
func (c *Cut) String() string {
	switch {
	case c.problem != "":
		return c.problem
	case !c.risen.IsZero():
		return fmt.Sprintf("the memory limit is high enough again; the flags of the JVM get their former values after %s", restoreDelay)
	}
	text := fmt.Sprintf("%s is %s now: the JVM uses %s and may grow to %s", c.limit(), jvm.SizeText(c.Limit), jvm.SizeText(c.Used),
		jvm.SizeText(c.Budget))
	switch {
	case c.urgent() && c.High:
		text += ": the kernel slows it down"
	case c.urgent():
		text += ": the kernel may kill it"
	}
	if c.Done != "" {
		text += "; " + c.Done
	}
	return text
}

// wholeMiB returns the text of a size without the part below 1 MiB.
func wholeMiB(n int64) string { return jvm.SizeText(n &^ (1<<20 - 1)) }

// collection decides whether a collection is asked for, and says why not. heap is the largest size of the heap in bytes. later: it is
// asked for then, if it is still needed.
func (c *Cut) collection(heap int64) (whyNot string, later time.Time) {
	room := max(minRoom, min(heap, c.inUse())/20)
	switch free := c.Limit - c.inUse(); {
	case c.inUse() <= c.Limit/10*7:
		return "no collection was asked for, as at most 70 % of the limit are in use", later
	case free < room:
		return fmt.Sprintf("there is no room for a collection (%s of the limit are free, it may need %s): restart the service, "+
			"or raise the limit", wholeMiB(max(free, 0)), wholeMiB(room)), later
	case time.Since(c.Collected) < collectPause:
		return fmt.Sprintf("the JVM has collected its heap less than %s ago, and does so again if needed", collectPause),
			c.Collected.Add(collectPause)
	}
	return "", later
}

// refusal returns why a JVM is not changed now; empty: it is. changed are the flags changed before.
func (t Target) refusal(changed []Setting) string {
	switch {
	case t.Adjust && t.Starting:
		return "the JVM is made to use less when the service is RUNNING"
	case t.Adjust:
		return ""
	case len(changed) > 0:
		return "nothing more in the JVM was changed (jvm.apply: report); " + strings.Join(describe(changed, nil), ", ") + ", as before"
	}
	return "nothing in the JVM was changed (jvm.apply: report)"
}

// final reports whether another try gives the same error.
func final(err error) bool {
	return slices.ContainsFunc([]error{errFixedHeap, hotspot.ErrNoAttach, hotspot.ErrNotJVM, hotspot.ErrOpenJ9, hotspot.ErrNoTmp},
		func(target error) bool { return errors.Is(err, target) })
}

// retry sets the time of the next try.
func (c *Cut) retry() {
	delay := nextRetry
	if c.tries == 0 {
		delay = firstRetry
	}
	c.next = time.Now().Add(delay)
	if c.tries++; c.tries > maxTries {
		c.next, c.Unfinished = time.Time{}, false
	}
}
