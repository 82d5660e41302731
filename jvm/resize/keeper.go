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
	// recheckDelay is the time until JVMs that are still starting are looked at.
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

// World is what a Keeper sees of the services.
type World interface {
	// Running returns the RUNNING JVMs whose limit has fallen below their budget, and the pids of all RUNNING ones. starting: there are
	// others, which will be RUNNING.
	Running() (cut []Target, pids map[string]int, starting bool)
	// Attach attaches to the JVM of a service if its process is still pid. Used returns the bytes that it uses.
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

// Keeper adjusts running JVMs to a lower memory limit. The goroutine of Run does all of it; others only read the result.
type Keeper struct {
	world World
	log   hclog.Logger
	cuts  sync.Map // service -> *Cut
}

// New returns a Keeper with what an earlier supervisor has done.
func New(world World, log hclog.Logger, earlier map[string]*Cut) *Keeper {
	k := &Keeper{world: world, log: log}
	for name, c := range earlier {
		k.cuts.Store(name, c)
	}
	return k
}

// Cut returns the cut of the process pid of a service; nil: there is none.
func (k *Keeper) Cut(name string, pid int) *Cut {
	found, _ := k.cuts.Load(name)
	if c, ok := found.(*Cut); ok && c.Pid == pid && pid != 0 {
		return c
	}
	return nil
}

// Run looks at the JVMs at every signal from changed until ctx ends, and calls adjusted when it has done what can be done.
func (k *Keeper) Run(ctx context.Context, changed <-chan struct{}, adjusted func()) {
	look := time.NewTimer(0) // the first look is immediate
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-look.C:
		}
		look.Stop()
		again, did := k.look(ctx)
		if again > 0 {
			look.Reset(again)
		}
		if did && ctx.Err() == nil {
			adjusted()
		}
	}
}

// look handles every JVM. A JVM that hangs delays the look by adjustTime, and no other JVM.
func (k *Keeper) look(ctx context.Context) (again time.Duration, did bool) {
	cut, pids, starting := k.world.Running()
	if starting {
		again = recheckDelay
	}
	now := map[string]bool{}
	var all sync.WaitGroup
	for _, t := range cut {
		now[t.Name] = true
	}
	k.cuts.Range(func(key, value any) bool {
		name, c := key.(string), value.(*Cut)
		switch {
		case pids[name] != c.Pid: // its process has ended
			k.keep(name, nil)
		case !now[name]:
			did = true
			all.Go(func() { k.takeBack(ctx, name, c) }) // ends with its deadline
		}
		return true
	})
	for _, t := range cut { // after what was kept of former processes is removed
		if c := k.Cut(t.Name, t.Pid); c == nil || c.Limit != t.Limit || c.failed && t.Adjust {
			did = true
			all.Go(func() { k.adjust(ctx, t, c) }) // ends with its deadline
		}
	}
	all.Wait()
	k.cuts.Range(func(_, value any) bool {
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

// keep publishes and saves the cut of a service; nil: there is none.
func (k *Keeper) keep(name string, c *Cut) {
	if c == nil {
		k.cuts.Delete(name)
	} else {
		k.cuts.Store(name, c)
	}
	k.world.Save(name, c)
}

// adjust handles a limit that has become too low, or another one that is.
func (k *Keeper) adjust(ctx context.Context, t Target, before *Cut) {
	c := &Cut{Limit: t.Limit, Budget: t.Budget, Pid: t.Pid}
	lower := before == nil || before.failed || t.Limit < before.Limit
	if before != nil {
		c.Before = before.Before
	}
	if before != nil && before.failed && before.Limit == t.Limit {
		c.Done = before.Done
	} else {
		k.log.Warn("the memory limit is below what the JVM may use: the kernel may kill it", "name", t.Name, "limit", jvm.SizeText(t.Limit),
			"budget", jvm.SizeText(t.Budget))
		c.Done = "the JVM is being changed to use less"
	}
	if !t.Adjust {
		c.Done = "nothing in the JVM was changed (jvm.apply: report)"
		k.keep(t.Name, c)
		return
	}
	next := *c
	c.busy = true
	k.cuts.Store(t.Name, c) // the warning is shown at once
	used := k.world.Used(t.Pid)
	ctx, cancel := context.WithTimeout(ctx, adjustTime)
	defer cancel()
	var changed []Setting
	did := ""
	at, err := k.world.Attach(ctx, t.Name, t.Pid)
	if err == nil {
		changed, did, err = shrink(ctx, at, t.Heap, lower)
		next.Before = firstValues(next.Before, changed)
	}
	log := k.log.Warn
	switch {
	case err == nil:
		select {
		case <-time.After(uncommitTime):
		case <-ctx.Done():
		}
		log = k.log.Info
		next.Done = fmt.Sprintf("%s: it uses %s (it used %s)", did, jvm.SizeText(wholeMiB(k.world.Used(t.Pid))), jvm.SizeText(wholeMiB(used)))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		next.Done, next.failed = fmt.Sprintf("the JVM has not answered within %s", adjustTime), true
	default:
		next.Done = "the JVM cannot be made to use less: " + err.Error()
		next.failed = !errors.Is(err, errFixedHeap) && !errors.Is(err, hotspot.ErrNoAttach)
	}
	k.keep(t.Name, &next)
	if next.Done != c.Done {
		log("the running JVM and the lower memory limit", "name", t.Name, "result", next.Done)
	}
}

// firstValues adds settings to earlier ones, of which the values are older.
func firstValues(before, more []Setting) []Setting {
	out := slices.Clone(before)
	for _, s := range more {
		if !slices.ContainsFunc(before, func(b Setting) bool { return b.Name == s.Name }) {
			out = append(out, s)
		}
	}
	return out
}

// takeBack restores the flags of a JVM whose limit is high enough again.
func (k *Keeper) takeBack(ctx context.Context, name string, c *Cut) {
	ctx, cancel := context.WithTimeout(ctx, adjustTime)
	defer cancel()
	var err error
	if len(c.Before) > 0 {
		var at JVM
		if at, err = k.world.Attach(ctx, name, c.Pid); err == nil {
			err = restore(ctx, at, c.Before)
		}
	}
	if err == nil {
		k.keep(name, nil)
		k.log.Info("the memory limit is high enough for the JVM again; its flags are as before", "name", name)
		return
	}
	next := *c
	next.failed, next.problem = true, fmt.Sprintf("the memory limit is high enough again, but the JVM's flags cannot be restored: %v", err)
	if c.problem == "" {
		k.log.Warn("the flags of the JVM cannot be restored after the memory limit has risen", "name", name, "error", err)
	}
	k.cuts.Store(name, &next)
}

func wholeMiB(n int64) int64 { return n - n%(1<<20) }
