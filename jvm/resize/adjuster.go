package resize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

const (
	// adjustTime bounds the changes of one JVM, with the collection.
	adjustTime = 10 * time.Second
	// recheckDelay is the time until JVMs that are still starting are checked.
	recheckDelay = 10 * time.Second
	// uncommitTime is how long G1 is given to return memory after a collection, which it does concurrently.
	uncommitTime = 500 * time.Millisecond
	// retryDelay is the time until a change that has failed is tried again.
	retryDelay = time.Minute
)

// Target is a running JVM whose limit has fallen below what it may use.
type Target struct {
	Name   string
	Pid    int
	Limit  int64 // bytes
	Budget int64 // bytes that the JVM may use
	Heap   int64 // bytes that the rule would give to the heap under the limit
	Adjust bool  // the JVM may be changed
}

// Services is what a Adjuster sees of the services.
type Services interface {
	// Running returns the RUNNING JVMs whose limit has fallen below their budget, and the pids of all RUNNING ones. starting: there are
	// others, which will be RUNNING.
	Running() (cut []Target, pids map[string]int, starting bool)
	// Attach attaches to the JVM of a service if its process is still pid. Used returns the bytes that it uses, in whole MiB.
	Attach(ctx context.Context, name string, pid int) (JVM, error)
	Used(pid int) int64
	// Save keeps what was done for the next supervisor; nil: nothing.
	Save(name string, c *Cut)
}

// Cut is a memory limit below the budget of a running JVM, and what was done about it.
type Cut struct {
	Limit  int64 `json:"limit_bytes"`
	Budget int64 `json:"budget_bytes"`
	// Done says what was changed in the JVM, or why nothing was.
	Done   string    `json:"done"`
	Before []Setting `json:"changed_flags,omitempty"` // with the values to restore
	Pid    int       `json:"pid"`
	failed bool      // to be tried again
	busy   bool      // the JVM is being changed
	// problem replaces the text where the limit is high enough again.
	problem string
}

// Settled reports whether what can be done is done; c may be nil.
func (c *Cut) Settled() bool { return c != nil && !c.busy }

// String describes the cut for a person.
func (c *Cut) String() string {
	if c.problem != "" {
		return c.problem
	}
	text := fmt.Sprintf("the memory limit is %s now, and the JVM may use %s: the kernel may kill it", jvm.SizeText(c.Limit),
		jvm.SizeText(c.Budget))
	if c.Done != "" {
		text += "; " + c.Done
	}
	return text
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

// Cut returns the cut of the process pid of a service; nil: there is none.
func (a *Adjuster) Cut(name string, pid int) *Cut {
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
	cut, pids, starting := a.services.Running()
	if starting {
		again = recheckDelay
	}
	var all sync.WaitGroup
	a.cuts.Range(func(key, value any) bool {
		name, c := key.(string), value.(*Cut)
		switch {
		case pids[name] != c.Pid: // its process has ended
			a.store(name, nil)
		case !slices.ContainsFunc(cut, func(t Target) bool { return t.Name == name }):
			did = true
			all.Go(func() { a.restore(ctx, name, c) }) // ends with its deadline
		}
		return true
	})
	for _, t := range cut { // after what was kept of former processes is removed
		if c := a.Cut(t.Name, t.Pid); c == nil || c.Limit != t.Limit || c.failed && t.Adjust {
			did = true
			all.Go(func() { a.adjust(ctx, t, c) }) // ends with its deadline
		}
	}
	all.Wait()
	a.cuts.Range(func(_, value any) bool {
		if value.(*Cut).failed {
			again = retryDelay
			if starting {
				again = recheckDelay
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
	next := Cut{Limit: t.Limit, Budget: t.Budget, Pid: t.Pid}
	collect, retry := true, false
	if before != nil {
		next.Before = before.Before
		collect, retry = before.failed || t.Limit < before.Limit, before.failed && before.Limit == t.Limit
	}
	if !retry {
		a.log.Warn("the memory limit is below what the JVM may use: the kernel may kill it", "name", t.Name, "limit", jvm.SizeText(t.Limit),
			"budget", jvm.SizeText(t.Budget))
	}
	if !t.Adjust {
		next.Done = "nothing in the JVM was changed (jvm.apply: report)"
		a.store(t.Name, &next)
		return
	}
	now := next
	now.busy, now.Done = true, "the JVM is being changed to use less"
	if retry {
		now.Done = before.Done
	}
	a.cuts.Store(t.Name, &now) // the warning is shown at once
	used := a.services.Used(t.Pid)
	ctx, cancel := context.WithTimeout(ctx, adjustTime)
	defer cancel()
	var changed []Setting
	did := ""
	at, err := a.services.Attach(ctx, t.Name, t.Pid)
	if err == nil {
		changed, did, err = shrink(ctx, at, t.Heap, collect)
		for _, s := range changed {
			if !slices.ContainsFunc(next.Before, func(b Setting) bool { return b.Name == s.Name }) { // the first value is the one to restore
				next.Before = append(slices.Clip(next.Before), s)
			}
		}
	}
	log := a.log.Warn
	switch {
	case err == nil:
		select {
		case <-time.After(uncommitTime):
		case <-ctx.Done():
		}
		log = a.log.Info
		next.Done = fmt.Sprintf("%s: it uses %s (it used %s)", did, jvm.SizeText(a.services.Used(t.Pid)), jvm.SizeText(used))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		next.Done, next.failed = fmt.Sprintf("the JVM has not answered within %s", adjustTime), true
	default:
		next.Done = "the JVM cannot be made to use less: " + err.Error()
		next.failed = !errors.Is(err, errFixedHeap) && !errors.Is(err, hotspot.ErrNoAttach)
	}
	a.store(t.Name, &next)
	if next.Done != now.Done {
		log("the running JVM and the lower memory limit", "name", t.Name, "result", next.Done)
	}
}

// restore sets the flags of a JVM to what they were: its limit is high enough again.
func (a *Adjuster) restore(ctx context.Context, name string, c *Cut) {
	ctx, cancel := context.WithTimeout(ctx, adjustTime)
	defer cancel()
	var err error
	if len(c.Before) > 0 {
		var at JVM
		if at, err = a.services.Attach(ctx, name, c.Pid); err == nil {
			err = restore(ctx, at, c.Before)
		}
	}
	if err == nil {
		a.store(name, nil)
		a.log.Info("the memory limit is high enough for the JVM again; its flags are as before", "name", name)
		return
	}
	next := *c
	next.failed, next.problem = true, fmt.Sprintf("the memory limit is high enough again, but the JVM's flags cannot be restored: %v", err)
	if c.problem == "" {
		a.log.Warn("the flags of the JVM cannot be restored after the memory limit has risen", "name", name, "error", err)
	}
	a.cuts.Store(name, &next)
}
