package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
)

// jobHost is the executor's Host.
type jobHost struct {
	executor.ManagerHost
	d        *daemon
	oomKills *cgroup.OOMCounter // nil: nothing counts
}

// startExecutor starts the executor if there is one. It takes the processes of jobs out of rec, and must run before supervisor.New,
// which ends unclaimed processes.
func (d *daemon) startExecutor(rec *proc.Recovered) {
	cfg := d.currentPlan().Config.Executor.Config
	if cfg.Slots == 0 && !executor.Had(rec.Items) {
		return
	}
	processes := map[string]executor.Process{}
	for id, p := range rec.TakeProcesses(executor.IDPrefix) {
		processes[id] = p
	}
	h := jobHost{executor.ManagerHost{M: d.m}, d, nil}
	if counter, err := cgroup.OpenOOMCounter("/"); err == nil {
		h.oomKills = counter
	}
	d.jobs = executor.New(executor.Options{Config: cfg, Host: h, Store: d.m.FDStore(), Log: d.log.Named("jobs"), Items: rec.Items,
		Processes: processes, Check: h.check})
}

// stopJobs ends the jobs and the console's sessions before the services are stopped.
func (d *daemon) stopJobs(ctx context.Context, within time.Duration) {
	defer d.stopConsole(ctx, within)()
	if d.jobs != nil {
		d.jobs.Stop(ctx, within)
		ctx, cancel := context.WithTimeout(ctx, reportTime)
		defer cancel()
		d.engines.end(ctx)
	}
}

// reportTime is how long the engines may report the ends of jobs when the container stops.
const reportTime = time.Second

// executorControl is the executor with the engines that bring its jobs.
type executorControl struct{ d *daemon }

func (c executorControl) ExecutorStatus() executor.Status {
	s := c.d.jobs.ExecutorStatus()
	s.Engines = c.d.engines.status()
	return s
}

func (c executorControl) ControlExecutor(verb executor.Verb, by string) error {
	return c.d.jobs.ControlExecutor(verb, by)
}

// Schedules returns the state of all schedules.
func (c executorControl) Schedules() []schedule.Status { return c.d.engines.schedules.Status() }

// check finds what of a Spec cannot be done in this container.
func (h jobHost) check(s *executor.Spec) (out []executor.FieldError) {
	if why := h.d.currentPlan().unknownService(s.Context); s.Context != "" && why != "" {
		out = append(out, executor.FieldError{Field: "context", Why: why})
	}
	if err := service.CheckUser(s.User); err != nil {
		out = append(out, executor.FieldError{Field: "user", Why: err.Error()})
	}
	if s.Memory == "" {
		return out
	}
	if room, limited := h.Room(); limited {
		if need, err := jvm.ParseMemory(s.Memory); err == nil && need > room {
			out = append(out, executor.FieldError{Field: "memory",
				Why: fmt.Sprintf("%s can never be free: the JVMs leave %d MiB (jvm.reserve sets memory aside)", s.Memory, max(room, 0)>>20)})
		}
	}
	return out
}

// Prepare returns how a job is started.
func (h jobHost) Prepare(job executor.Job, workspace string) (executor.Launch, error) {
	var jobContext *service.JobContext
	if name := job.Spec.Context; name != "" {
		if jobContext = h.d.jobContext(name); jobContext == nil {
			return executor.Launch{}, fmt.Errorf("there is no service %q any more", name)
		}
	}
	return service.PrepareJob(job, jobContext, h.d.cgroups, workspace)
}

// jobContext is a service whose environment something else gets; nil: there is none of that name.
func (d *daemon) jobContext(name string) *service.JobContext {
	l := d.currentPlan().launcher(name)
	if l == nil {
		return nil
	}
	out := &service.JobContext{Launcher: l}
	if report := d.shared.Report(name); report != nil {
		out.JavaHome = report.JVM.Home
	}
	return out
}

// Room is what the JVMs leave of the container's memory: what jvm.reserve sets aside, and all that a smaller flavor does not use.
func (h jobHost) Room() (int64, bool) {
	memory := cgroup.Read("/").MemoryLimit
	if memory == nil {
		return 0, false
	}
	room := *memory
	for name := range h.d.currentPlan().jvmLaunchers() {
		if report := h.d.shared.Report(name); report != nil {
			room -= report.Result.Budget.Own()
		}
	}
	return room, true
}

// OOMKills counts what the kernel's OOM killer has ended.
func (h jobHost) OOMKills(cgroups []string) (uint64, bool) {
	if len(cgroups) > 0 {
		count, _, ok := cgroup.OOMKills("/", cgroups...)
		return count, ok
	}
	if h.oomKills == nil {
		return 0, false
	}
	return h.oomKills.Read()
}

// Publish records an event of a job, and runs its hooks.
func (h jobHost) Publish(o lifecycle.Occurrence) { h.d.hooks.Tell(o) }
