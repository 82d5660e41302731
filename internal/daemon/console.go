package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
)

// consoleHost is the container in which the console's sessions run.
type consoleHost struct{ d *daemon }

// startConsole makes the console, which may be off. It takes the processes of sessions out of rec, and must run before supervisor.New,
// which ends unclaimed processes.
func (d *daemon) startConsole(rec *proc.Recovered) {
	processes := map[string]console.Process{}
	rec.Processes = slices.DeleteFunc(rec.Processes, func(p *proc.Process) bool {
		ours := strings.HasPrefix(p.ID(), console.IDPrefix)
		if ours {
			processes[p.ID()] = p
		}
		return ours
	})
	d.console = console.New(console.Options{Config: d.currentPlan().Config.Console, Host: consoleHost{d}, Store: d.m.FDStore(),
		Log: d.log.Named("console"), Items: rec.Items, Processes: processes, Checker: d.gate})
}

// stopConsole begins to end the sessions, and returns a function that waits for that.
func (d *daemon) stopConsole(ctx context.Context, within time.Duration) (wait func()) {
	ended := make(chan struct{})
	go func() { // ends with the sessions, or its time
		defer close(ended)
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		d.console.Stop(ctx)
	}()
	return func() { <-ended }
}

// Prepare returns how a session is started.
func (h consoleHost) Prepare(s console.Spec) (console.Launch, error) {
	plan := h.d.currentPlan()
	c := service.ConsoleContext{User: plan.Config.Console.User, Main: plan.launcher(plan.main)}
	if s.Context != "" {
		if why := plan.unknownService(s.Context); why != "" {
			return console.Launch{}, &console.SpecError{Field: "context", Why: why}
		}
		c.Service = h.d.jobContext(s.Context)
	} else if s.Container != "" {
		c.Service = h.d.jobContext(s.Container)
	}
	return service.PrepareConsole(s, c)
}

// Start starts the process of a session.
func (h consoleHost) Start(ctx context.Context, spec proc.Spec) (console.Process, error) {
	p, err := h.d.m.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// OOMKills counts the processes that the kernel's OOM killer has ended.
func (h consoleHost) OOMKills() (uint64, bool) {
	count, _, ok := cgroup.OOMKills("/")
	return count, ok
}
