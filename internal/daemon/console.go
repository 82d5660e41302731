package daemon

import (
	"cmp"
	"context"
	"time"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/audit"
	"github.com/stoker-init/stoker/internal/console/recording"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
)

// consoleHost is the container in which the console's sessions run.
type consoleHost struct{ d *daemon }

// startConsole makes the console, which may be off. It takes the processes of sessions out of rec, and must run before supervisor.New,
// which ends unclaimed processes.
func (d *daemon) startConsole(rec *proc.Recovered) {
	processes := map[string]console.Process{}
	for id, p := range rec.TakeProcesses(console.IDPrefix) {
		processes[id] = p
	}
	cfg, log := d.currentPlan().Config.Console, d.log.Named("console")
	d.audit, d.recordings = audit.New(cfg.Audit, log), recording.New(recordingOptions(cfg.Recording), log)
	d.console = console.New(console.Options{Config: cfg, Host: consoleHost{d}, Store: d.m.FDStore(), Checker: d.gate, Auditor: d.audit,
		Recorder: d.recordings, Log: log, Items: rec.Items, Processes: processes})
}

// configureConsole applies another configuration to the console and to the listener that it is reached by.
func (d *daemon) configureConsole() {
	d.api.configureTCP()
	cfg := d.currentPlan().Config.Console
	d.audit.Configure(cfg.Audit)
	d.recordings.Configure(recordingOptions(cfg.Recording))
	d.console.Configure(cfg)
}

func recordingOptions(c console.RecordingConfig) recording.Options {
	o := recording.Options{Folder: c.Folder, Input: c.Input, Required: c.Mode == console.RecordingRequired}
	o.FileSize, _ = jvm.ParseMemory(c.FileSize) // checked with the configuration
	o.TotalSize, _ = jvm.ParseMemory(c.TotalSize)
	return o
}

// stopConsole begins to end the sessions, and returns a function that waits for that.
func (d *daemon) stopConsole(ctx context.Context, within time.Duration) (wait func()) {
	ended := make(chan struct{})
	go func() { // ends with the sessions, or its time
		defer close(ended)
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		d.console.Stop(ctx)
		d.audit.Flush()
	}()
	return func() { <-ended }
}

// Prepare returns how a session is started.
func (h consoleHost) Prepare(s console.Spec) (console.Launch, error) {
	plan := h.d.currentPlan()
	if why := plan.unknownService(s.Context); s.Context != "" && why != "" {
		return console.Launch{}, &console.SpecError{Field: "context", Why: why}
	}
	return service.PrepareConsole(s, service.ConsoleContext{User: plan.Config.Console.User, Main: plan.launcher(plan.main),
		Service: h.d.jobContext(cmp.Or(s.Context, s.Container))})
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
