package natsjob

import (
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leastAckWait is the shortest time after which a consumer may give a message to another container: a short pause of the network must
// not start a job twice.
const leastAckWait = time.Second

// terms are what follows from the settings of a consumer.
type terms struct {
	progress time.Duration // between two signs that a job is in progress
	pull     time.Duration // the longest time of a pull
	group    string        // of priorities; empty: the consumer has none
	ranked   bool          // pulls have priorities
}

// termsOf checks the settings of a consumer. The error names the wrong one.
func termsOf(c *jetstream.ConsumerConfig, slots int) (t terms, err error) {
	wait := c.AckWait
	for _, pause := range c.BackOff { // they replace AckWait
		wait = min(wait, pause)
	}
	switch {
	case c.DeliverSubject != "":
		return t, fmt.Errorf("deliver_subject is %q: it is a push consumer, and a pull consumer is needed", c.DeliverSubject)
	case c.AckPolicy != jetstream.AckExplicitPolicy:
		return t, fmt.Errorf("ack_policy is %s: it must be explicit", c.AckPolicy)
	case c.MaxDeliver > 0:
		return t, fmt.Errorf("max_deliver is %d: it must be -1, else a message is lost after so many restarts", c.MaxDeliver)
	case c.MaxAckPending > 0 && c.MaxAckPending < slots:
		return t, fmt.Errorf("max_ack_pending is %d: it must be -1, or the number of slots of all containers (here are %d)", c.MaxAckPending,
			slots)
	case c.HeadersOnly:
		return t, fmt.Errorf("headers_only is true: the spec is in the body")
	case c.PriorityPolicy == jetstream.PriorityPolicyPinned:
		return t, fmt.Errorf("priority_policy is pinned_client: it gives all messages to one container")
	case wait < leastAckWait && wait == c.AckWait:
		return t, fmt.Errorf("ack_wait is %v: it must be at least %v", wait, leastAckWait)
	case wait < leastAckWait:
		return t, fmt.Errorf("backoff has %v: it must be at least %v", wait, leastAckWait)
	}
	t = terms{progress: wait / 3, pull: pullTime}
	if c.MaxRequestExpires > 0 {
		t.pull = min(t.pull, c.MaxRequestExpires)
	}
	if len(c.PriorityGroups) > 0 {
		t.group, t.ranked = c.PriorityGroups[0], c.PriorityPolicy == jetstream.PriorityPolicyPrioritized
	}
	return t, nil
}

// shortAckWait is about twice the time in which a cluster elects a leader.
const shortAckWait = 20 * time.Second

// note says what could be better, for the end of a line.
func (t *terms) note(server string) (out string) {
	switch {
	case t.ranked:
	case olderThan212(server):
		out = "; no priorities: NATS " + server + " has none, 2.12 has"
	default:
		out = "; no priorities: priority_policy of the consumer is not prioritized"
	}
	if wait := 3 * t.progress; wait < shortAckWait {
		out += fmt.Sprintf("; ack_wait or backoff of %v: a shorter failure of a cluster may start a job in two containers", wait)
	}
	return out
}

func olderThan212(version string) bool {
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return err == nil && (major < 2 || major == 2 && minor < 12)
}

// lowest is the priority of a container without room; 0 is that of an empty one.
const lowest = 9

// priority ranks a container by its free slots and its memory: the emptiest one of all has the lowest number.
func priority(free, slots int, used, limit int64) uint8 {
	full := 1 - float64(free)/float64(max(slots, 1))
	if limit > 0 {
		full = (full + min(float64(used)/float64(limit), 1)) / 2
	}
	return uint8(math.Round(max(full, 0) * lowest))
}
