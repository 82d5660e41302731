package launch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/resize"
	"github.com/stoker-init/stoker/supervisor"
)

// resized is a Drift as a resize.Adjuster sees it.
type resized struct{ *Drift }

// resizePrefix begins the names of items of the fd store: a limit below the budget of a JVM.
const resizePrefix = "resize/"

// Cuts takes the limits below the budget of a JVM that the supervisor before knew.
func Cuts(items fdstore.Items) map[string]*resize.Cut {
	out := map[string]*resize.Cut{}
	for _, name := range items.Names(resizePrefix) {
		c := new(resize.Cut)
		if found, err := items.TakeJSON(name, c); found && err == nil {
			out[name[len(resizePrefix):]] = c
		}
	}
	return out
}

// Save keeps a limit below the budget of a JVM for the next supervisor.
func (r resized) Save(name string, c *resize.Cut) {
	l := r.launchers()[name]
	switch {
	case l == nil || l.shared.Store == nil:
	case c == nil:
		l.shared.Store.Delete(resizePrefix + name)
	default:
		_ = l.shared.Store.PutJSON(resizePrefix+name, c) // without it the next supervisor adjusts again
	}
}

// Running compares the limits with the budgets of the running JVMs.
func (r resized) Running() (cut []resize.Target, pids map[string]int) {
	pids = map[string]int{}
	for _, j := range r.JVMs() {
		isStarting := j.State == supervisor.Starting
		l := r.launchers()[j.Name]
		if l == nil || j.Pid == 0 || !isStarting && j.State != supervisor.Running {
			continue
		}
		pids[j.Name] = j.Pid
		if t, ok := l.cut(); ok {
			t.Name, t.Pid, t.Starting = j.Name, j.Pid, isStarting
			cut = append(cut, t)
		}
	}
	return cut, pids
}

// cut reports whether the limit, or memory.high, has fallen below what the running JVM may use.
func (l *Launcher) cut() (t resize.Target, ok bool) {
	f := l.shared.Report(l.Name)
	if f == nil || len(f.Result.Budget) == 0 {
		return t, false
	}
	env, _ := l.Environ() // an unreadable value is part of no limit
	now := &sources{cfg: l.JVM, shared: l.shared, serviceEnv: *env, own: l.ownLimits()}
	err := now.chooseFlavor()
	t = resize.Target{Budget: f.Result.Budget.Needed(), Adjust: l.JVM.Apply != jvm.ApplyReport}
	t.Limit, t.High = mayUse(now.limits)
	if before, _ := mayUse(f.limits); t.Limit >= before || t.Budget <= t.Limit {
		return t, false
	}
	t.Heap = t.Limit / 2
	now.limits.Memory, now.limits.Unlimited = t.Limit, false
	running := jvm.Fixed{Collector: f.Result.Collector}
	if s, sizeErr := jvm.Size(now.limits, now.policy, jvm.Target{JavaMajor: f.JVM.Major}, running); err == nil && sizeErr == nil {
		t.Heap = s.Heap
	}
	return t, true
}

// mayUse returns the memory that can be used without harm: the limit, or memory.high (then high is true) if that is lower.
func mayUse(l jvm.Limits) (limit int64, high bool) {
	limit = math.MaxInt64
	if !l.Unlimited && l.Memory > 0 {
		limit = l.Memory
	}
	if l.MemoryHigh > 0 && l.MemoryHigh < limit {
		return l.MemoryHigh, true
	}
	return limit, false
}

// ownLimits returns the configured limits of the service's own cgroup; nil: it has none of its own. A cgroup has those of the container
// at the start too, which may have changed since.
func (l *Launcher) ownLimits() *cgroup.Own {
	if f := l.shared.Report(l.Name); f != nil && f.argv != nil && f.cgroup == nil { // it could not be made
		return nil
	}
	if l.CgroupLimits == (cgroup.OwnLimits{}) {
		return nil
	}
	return &cgroup.Own{OwnLimits: l.CgroupLimits}
}

// Attach attaches to the JVM of a service that is RUNNING.
func (r resized) Attach(ctx context.Context, name string, pid int) (resize.JVM, error) {
	l := r.launchers()[name]
	s, _ := r.sup.Service(name)
	p, ok := r.sup.Process(name)
	if !ok || l == nil || p.Pid() != pid || s.State != supervisor.Running || r.sup.Stopping() {
		return nil, errors.New("the service is not RUNNING")
	}
	if err := hotspot.Identify(pid); errors.Is(err, hotspot.ErrNotJVM) {
		argv, _ := procfs.Cmdline(pid)
		return nil, fmt.Errorf("%w: process %d is %s; a script runs java with exec", err, pid, strings.Join(argv[:min(len(argv), 1)], ""))
	} else if err != nil {
		return nil, err
	}
	return l.shared.Attacher.Attach(ctx, p)
}

// Used returns the memory of a process in bytes, in whole MiB, and what is in use in the cgroup that limits it.
func (r resized) Used(name string, pid int) (own, all int64) {
	own, _ = procfs.Memory(pid) // it may have ended
	own &^= 1<<20 - 1
	l := r.launchers()[name]
	if l == nil {
		return own, own
	}
	limits, ownLimits := cgroup.Read("/"), l.ownLimits()
	container, _ := ReadLimits(nil)
	if limit, high := mayUse(container); high {
		limits.MemoryLimit, limits.Sources.MemoryLimit = limits.MemoryHigh, limits.Sources.MemoryHigh
	} else if ownLimits != nil && ownLimits.Memory > 0 && ownLimits.Memory < limit {
		if f := l.shared.Report(name); f != nil && f.cgroup != nil { // unknown of a JVM that an earlier supervisor started
			for _, dir := range f.cgroup.Dirs() {
				limits.MemoryLimit, limits.Sources.MemoryLimit = &ownLimits.Memory, dir+"/limit"
				if n, ok := cgroup.MemoryInUse("/", limits); ok {
					return own, n
				}
			}
		}
		return own, own
	}
	all, _ = cgroup.MemoryInUse("/", limits)
	return own, all
}
