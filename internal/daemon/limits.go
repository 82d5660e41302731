package daemon

import (
	"context"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/service"
)

// limitsItem is the item of the fd store with the limits of the container that are known.
const limitsItem = "limits"

// knownLimits returns the limits that the supervisor before has seen last; without one those of now.
func knownLimits(items fdstore.Items) (l cgroup.Limits) {
	if found, err := items.TakeJSON(limitsItem, &l); !found || err != nil {
		l = cgroup.Read("/")
	}
	return l
}

// watchLimits begins to watch the limits of the container until ctx ends. before are those that are known.
func (d *daemon) watchLimits(ctx context.Context, before cgroup.Limits) {
	if d.opts.Alone() {
		return // no JVM, no hooks
	}
	d.saveLimits(before)
	go func() { // ends with ctx
		last, err := cgroup.Watch(ctx, "/", before, d.limitsChanged)
		if err != nil {
			d.log.Warn("the limits of the container cannot be watched; they are read regularly", "every", cgroup.PollTime, "error", err)
			cgroup.Poll(ctx, "/", last, d.limitsChanged)
		}
	}()
}

func (d *daemon) saveLimits(l cgroup.Limits) {
	_ = d.m.FDStore().PutJSON(limitsItem, l) // without it the next supervisor misses a change between
}

// limitsChanged publishes other limits of the container.
func (d *daemon) limitsChanged(before, now cgroup.Limits) {
	changes := now.Changes(before)
	done, err := d.cgroups.Follow(d.currentPlan().ownLimits(), before)
	d.saveLimits(now)
	d.log.Info("the limits of the container have changed", "changes", changes)
	if err != nil {
		d.log.Warn("a cgroup of a service keeps the former limits of the container; a restart of the service applies the new ones", "error", err)
	}
	if len(done.Wrote) > 0 {
		d.log.Info("cgroups of services follow the limits of the container", "files", done.Wrote)
	}
	if len(done.Left) > 0 {
		d.log.Info("cgroups of services keep limits that stoker has not written", "files", done.Left)
	}
	d.hooks.containerEvent(lifecycle.LimitsChanged, changes)
	d.jvms.LimitsChanged()
}

// ownLimits returns the limits that the services have of their own.
func (p *plan) ownLimits() map[string]cgroup.OwnLimits {
	out := map[string]cgroup.OwnLimits{}
	for _, d := range p.definitions {
		if l, ok := d.Launcher.(interface{ Base() *service.Launcher }); ok {
			out[d.Name] = l.Base().CgroupLimits
		}
	}
	return out
}
