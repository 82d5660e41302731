package daemon

import (
	"context"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/service"
)

// watchLimits begins to watch the limits of the container until ctx ends.
func (d *daemon) watchLimits(ctx context.Context) {
	if d.opts.Alone() {
		return // no JVM, no hooks
	}
	go func() { // ends with ctx
		if err := cgroup.Watch(ctx, "/", d.limitsChanged); err != nil {
			d.log.Info("the limits of the container cannot be watched; they are read regularly", "every", cgroup.PollTime, "error", err)
			cgroup.Poll(ctx, "/", d.limitsChanged)
		}
	}()
}

// limitsChanged publishes other limits of the container.
func (d *daemon) limitsChanged(before, now cgroup.Limits) {
	changes := now.Changes(before)
	d.log.Info("the limits of the container have changed", "changes", changes)
	if err := d.cgroups.Follow(d.currentPlan().ownLimits()); err != nil {
		d.log.Warn("a cgroup of a service keeps the former limits of the container; a restart of the service applies the new ones", "error", err)
	}
	d.hooks.limitsChanged(changes)
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
