package resize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/jvm"
)

const (
	// adjustTime bounds the changes of one JVM, with the collection.
	adjustTime = 10 * time.Second
	// startingDelay is the time between two looks at a service that is STARTING.
	startingDelay = 2 * time.Second
	// restoreDelay is how long a limit has been high enough when the flags get their former values.
	restoreDelay = 10 * time.Second
)

// Target is a running JVM whose limit has fallen below what it may use.
type Target struct {
	Name   string
	Pid    int
	Limit  int64 // bytes
	Budget int64 // bytes that the JVM may use
	Heap   int64 // bytes that the rule would give to the heap under the limit
	Adjust bool  // the JVM may be changed
	// High means that Limit is memory.high: above it the kernel slows the JVM down.
	High bool
	// Starting means that the JVM is not RUNNING yet: it can be warned of, but not changed.
	Starting bool
}

// Services is what a Adjuster sees of the services.
type Services interface {
	// Running returns the STARTING and RUNNING JVMs whose limit has fallen below their budget, and the pids of all of these.
	Running() (cut []Target, pids map[string]int)
	// Attach attaches to the JVM of a service if its process is still pid.
	Attach(ctx context.Context, name string, pid int) (JVM, error)
	// Used returns the bytes that the process uses, in whole MiB, 0 if it has ended, and those in use in the cgroup of the limit.
	Used(name string, pid int) (own, all int64)
	// Save keeps what was done for the next supervisor; nil: nothing.
	Save(name string, c *Cut)
}

// Adjuster adjusts running JVMs to a lower memory limit. The goroutine of Run does all of it; others only read the result.
type Adjuster struct {
	services Services
	log      hclog.Logger
	cuts     sync.Map // service -> *Cut
}

// New returns an Adjuster with what an earlier supervisor has done.
func New(services Services, log hclog.Logger, earlier map[string]*Cut) *Adjuster {
	a := &Adjuster{services: services, log: log}
	for name, c := range earlier {
		a.cuts.Store(name, c)
	}
	return a
}

// Cut returns the cut of the process pid of a service, with what the JVM uses now; nil: there is none.
func (a *Adjuster) Cut(name string, pid int) *Cut {
	c := a.known(name, pid)
	if c == nil || c.Limit == 0 || !c.risen.IsZero() && len(c.Changed) == 0 {
		return nil
	}
	out := *c
	out.Used, out.InUse = a.services.Used(name, pid)
	return &out
}

// Settled reports whether a limit is below the budget of the process pid of a service, and what can be done about that is done.
func (a *Adjuster) Settled(name string, pid int) bool {
	c := a.known(name, pid)
	return c != nil && c.Limit > 0 && !c.busy && c.risen.IsZero()
}

// known returns what is known of the process pid of a service; nil: nothing.
func (a *Adjuster) known(name string, pid int) *Cut {
	found, _ := a.cuts.Load(name)
	if c, ok := found.(*Cut); ok && c.Pid == pid && pid != 0 {
		return c
	}
	return nil
}

// Run checks the JVMs at every signal from changed until ctx ends, and calls adjusted when it has done what can be done.
func (a *Adjuster) Run(ctx context.Context, changed <-chan struct{}, adjusted func()) {
	next := time.NewTimer(0) // the first check is immediate
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-next.C:
		}
		next.Stop()
		again, did := a.check(ctx)
		if again > 0 {
			next.Reset(again)
		}
		if did && ctx.Err() == nil {
			adjusted()
		}
	}
}

// check handles every JVM. A JVM that hangs delays the check by adjustTime, and no other JVM.
func (a *Adjuster) check(ctx context.Context) (again time.Duration, did bool) {
	cut, pids := a.services.Running()
	begin := time.Now()
	var all sync.WaitGroup
	a.cuts.Range(func(key, value any) bool {
		name, c := key.(string), value.(*Cut)
		switch {
		case pids[name] != c.Pid: // its process has ended
			a.store(name, nil)
		case c.Limit == 0, slices.ContainsFunc(cut, func(t Target) bool { return t.Name == name }):
		case c.risen.IsZero():
			next := *c
			next.risen, next.next, next.tries = begin, begin.Add(restoreDelay), 0
			a.cuts.Store(name, &next)
		case !c.next.IsZero() && !c.next.After(begin):
			did = true
			all.Go(func() { a.restore(ctx, name, c) }) // ends with its deadline
		}
		return true
	})
	for _, t := range cut { // after what was kept of former processes is removed
		c := a.known(t.Name, t.Pid)
		if c != nil && !c.risen.IsZero() { // the limit was high enough for a moment
			low := *c
			low.risen, low.next, low.tries, low.problem = time.Time{}, time.Time{}, 0, ""
			low.Unfinished = c.Unfinished || c.problem != ""
			a.cuts.Store(t.Name, &low)
			c = &low
		}
		if c == nil || c.Limit != t.Limit || c.High != t.High || c.Unfinished && t.Adjust && !t.Starting && !c.next.After(begin) {
			did = true
			all.Go(func() { a.adjust(ctx, t, c) }) // ends with its deadline
		}
		if t.Starting {
			again = startingDelay
		}
	}
	all.Wait()
	a.cuts.Range(func(_, value any) bool {
		if c := value.(*Cut); c.next.After(begin) { // an earlier one waits for a signal
			if wait := max(time.Until(c.next), time.Millisecond); again == 0 || wait < again {
				again = wait
			}
		}
		return true
	})
	return again, did
}

// store publishes and saves the cut of a service; nil: there is none.
func (a *Adjuster) store(name string, c *Cut) {
	if c == nil {
		a.cuts.Delete(name)
	} else {
		a.cuts.Store(name, c)
	}
	a.services.Save(name, c)
}

// adjust handles a limit that has become too low, or another one that is.
func (a *Adjuster) adjust(ctx context.Context, t Target, before *Cut) {
	next := Cut{Limit: t.Limit, Budget: t.Budget, High: t.High, Pid: t.Pid, Unfinished: true}
	lower, again := true, false
	if before != nil {
		next.Changed, next.Collected = before.Changed, before.Collected
		lower = before.Limit == 0 || t.Limit <= before.Limit
		if again = before.Limit == t.Limit && before.High == t.High; again {
			next.tries = before.tries
		}
	}
	next.Used, next.InUse = a.services.Used(t.Name, t.Pid)
	if !again {
		log := a.log.Info
		if next.urgent() {
			log = a.log.Warn
		}
		log(next.limit()+" is below what the JVM may use", "name", t.Name, "limit", jvm.SizeText(t.Limit), "uses", jvm.SizeText(next.Used),
			"in_use", wholeMiB(next.inUse()), "budget", jvm.SizeText(t.Budget))
	}
	if next.Done = t.refusal(next.Changed); next.Done != "" {
		a.store(t.Name, &next)
		return
	}
	next.Done = "the JVM is being changed to use less"
	if again {
		next.Done = before.Done
	}
	now := next
	now.busy = true
	a.cuts.Store(t.Name, &now) // shown at once
	ctx, cancel := context.WithTimeout(ctx, adjustTime)
	defer cancel()
	did, err := a.shrink(ctx, t, &next, lower)
	log := a.log.Warn
	switch own, _ := a.services.Used(t.Name, t.Pid); {
	case err == nil:
		log, next.Done, next.tries, next.Unfinished = a.log.Info, did, 0, !next.next.IsZero()
	case own == 0:
		a.log.Info("the JVM has ended while it was changed to use less", "name", t.Name)
		a.store(t.Name, nil)
		return
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		next.Done = fmt.Sprintf("the JVM has not answered within %s", adjustTime)
		next.retry()
	default:
		next.Done = "the JVM cannot be made to use less: " + err.Error()
		next.retry()
		next.Unfinished = next.Unfinished && !final(err)
	}
	if !next.Unfinished {
		next.next = time.Time{}
	}
	a.store(t.Name, &next)
	log("the running JVM and the lower memory limit", "name", t.Name, "result", next.Done)
}

// shrink has a JVM give memory back, says what was done, and sets what there is to restore. collects: it may collect its heap.
func (a *Adjuster) shrink(ctx context.Context, t Target, c *Cut, collects bool) (did string, err error) {
	at, err := a.services.Attach(ctx, t.Name, t.Pid)
	if err != nil {
		return "", err
	}
	flags, err := readFlags(ctx, at)
	if err != nil {
		return "", err
	}
	settings, err := plan(flags, t.Heap, c.Changed)
	if err != nil {
		return "", err
	}
	c.Changed = settings
	saved := *c
	a.services.Save(t.Name, &saved) // before the first change: the next supervisor can restore the flags
	whyNot, later := "", time.Time{}
	if collects {
		heap, _ := strconv.ParseInt(flags["MaxHeapSize"].Value, 10, 64)
		whyNot, later = c.collection(heap)
	}
	if err := apply(ctx, at, flags, settings); err != nil {
		return "", err
	}
	done := describe(settings, flags)
	switch {
	case whyNot != "":
		c.next, done = later, append(done, whyNot)
	case collects:
		c.Collected = time.Now()
		sent := *c
		sent.Unfinished, sent.Done = false, strings.Join(append(done, "the JVM collects its heap"), ", ")
		a.services.Save(t.Name, &sent) // the next supervisor collects no second time
		text, err := collect(ctx, at)
		if err != nil {
			text = "the collection has failed: " + err.Error()
			if own, _ := a.services.Used(t.Name, t.Pid); own == 0 {
				return "", err
			}
		}
		done = append(done, fmt.Sprintf("%s (it used %s)", text, jvm.SizeText(c.Used)))
	}
	return cmp.Or(strings.Join(done, ", "), "its flags are as they should be"), nil
}

// restore sets the flags of a JVM to what they were: its limit is high enough again.
func (a *Adjuster) restore(ctx context.Context, name string, c *Cut) {
	ctx, cancel := context.WithTimeout(ctx, adjustTime)
	defer cancel()
	result := "nothing in it had been changed"
	var err error
	if len(c.Changed) > 0 {
		var at JVM
		if at, err = a.services.Attach(ctx, name, c.Pid); err == nil {
			err = restore(ctx, at, c.Changed)
		}
		result = "its flags are as before"
	}
	if err == nil {
		a.services.Save(name, nil)
		a.cuts.Store(name, &Cut{Pid: c.Pid, Collected: c.Collected})
		a.log.Info("the memory limit is high enough for the JVM again; "+result, "name", name)
		return
	}
	next := *c
	next.problem = fmt.Sprintf("the memory limit is high enough again, but the JVM's flags cannot be restored: %v", err)
	next.retry()
	a.log.Warn("the flags of the JVM cannot be restored after the memory limit has risen", "name", name, "error", err)
	a.cuts.Store(name, &next)
}
