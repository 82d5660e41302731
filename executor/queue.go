package executor

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// waiting describes one waiting job to the queue.
type waiting struct {
	id        ID
	priority  int
	class     string
	serial    string
	memory    int64     // 0: it declares none
	notBefore time.Time // zero: at once
	startBy   time.Time // zero: no start deadline
}

// capacity is what the queue may use.
type capacity struct {
	slots   int
	room    int64          // memory that no service needs, in bytes
	limited bool           // room is known
	classes map[string]int // slots of the classes that have a limit
}

// verdict is what the queue says of one waiting job.
type verdict struct {
	start   bool
	skip    bool   // its start deadline has passed
	waiting string // why it waits
}

// decide orders the waiting jobs and says which of them start now: higher priority first, then the one that was accepted first.
// A job that does not fit in memory holds back the later ones that declare memory, so that small ones cannot starve it. next is
// the time at which the answer may change by itself; zero: never.
func decide(now time.Time, jobs []waiting, running map[ID]waiting, c capacity) (verdicts map[ID]verdict, next time.Time) {
	jobs = slices.Clone(jobs)
	slices.SortFunc(jobs, func(a, b waiting) int { return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.id, b.id)) })
	classes, serials := map[string]int{}, map[string]ID{}
	begin := func(w waiting) {
		c.slots--
		c.room -= w.memory
		classes[w.class]++
		if w.serial != "" {
			serials[w.serial] = w.id
		}
	}
	for _, w := range running {
		begin(w)
	}
	later := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	verdicts = make(map[ID]verdict, len(jobs))
	held := ID(0) // waits for memory
	for place, w := range jobs {
		v := verdict{}
		limit, hasLimit := c.classes[w.class]
		other, busy := serials[w.serial]
		if w.serial == "" {
			busy = false
		}
		switch {
		case !w.startBy.IsZero() && !now.Before(w.startBy):
			v.skip = true
		case now.Before(w.notBefore):
			v.waiting = "not before " + w.notBefore.Format(time.RFC3339)
			later(w.notBefore)
		case busy:
			v.waiting = fmt.Sprintf("job %s with the serial key %q comes first", other, w.serial)
		case c.slots <= 0 && place >= places:
			v.waiting = farBack
		case c.slots <= 0:
			v.waiting = fmt.Sprintf("place %d in the queue", place+1)
		case hasLimit && classes[w.class] >= limit:
			v.waiting = fmt.Sprintf("%d jobs of the class %s run, which is its limit", classes[w.class], w.class)
		case c.limited && w.memory > 0 && held != 0:
			v.waiting = fmt.Sprintf("job %s waits for memory and comes first", held)
		case c.limited && w.memory > max(c.room, 0):
			v.waiting = fmt.Sprintf("needs %s of memory, and %s are free beside the services and the running jobs", formatSize(w.memory),
				formatSize(max(c.room, 0)))
			held = w.id
			later(now.Add(memoryCheck))
		default:
			v.start = true
			begin(w)
		}
		if !v.start && !v.skip && !w.startBy.IsZero() {
			later(w.startBy)
		}
		verdicts[w.id] = v
	}
	return verdicts, next
}

// Further back in the queue than places the exact place is not told: with each start it would change for thousands of jobs.
const (
	places  = 100
	farBack = "behind place 100 in the queue"
)

// memoryCheck is how often the free memory is read while a job waits for it.
const memoryCheck = 2 * time.Second

// formatSize writes a number of bytes for people.
func formatSize(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
