package daemon

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/jvm/training"
	"github.com/stoker-init/stoker/supervisor"
)

// configureTraining prepares the configuration and the hooks for stoker jvm archive.
func (d *daemon) configureTraining(cfg *config.Config) error {
	// Others would register the service somewhere, or end the registration of the one that runs beside it.
	d.hooks.only = []lifecycle.Event{lifecycle.PreStart}
	beside := d.m.Init().Pid != 1 && d.runsServices(1)
	return d.opts.Archive.Configure(cfg, beside)
}

var errTrainingStopped = errors.New("cannot make the archive: a stop was asked for")

// runTraining is runSupervisor for stoker jvm archive: it has no API, console, jobs or network.
func (d *daemon) runTraining(rec *proc.Recovered) (code int, grace time.Duration) {
	if rec.Starts > 1 { // what the one before has begun cannot be continued
		return d.program.Report(errors.New("cannot make the archive: the supervisor has died\nhint: run the command again")), 0
	}
	d.hooks.start(d.m, rec, d)
	d.sockets = newSockets(d.m.Listeners, d.log)
	d.m.KillWhenGone()
	end := make(chan struct{})
	d.sup = supervisor.New(d.m, rec, d.currentPlan().supervisorSet(), supervisor.Options{Log: d.log, OOM: launch.OOMCount,
		Listener: d.hooks, Entered: d.entered, End: end})
	o, plan := d.opts.Archive, d.currentPlan()
	trainer := &training.Trainer{Options: *o, Supervisor: d.sup, Shared: d.shared, User: plan.launcher(o.Service).User, Out: os.Stdout}
	trainer.Dir = cmp.Or(o.Dir, plan.Config.JVM.ArchiveDir, d.shared.ArchiveDir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var failed error
	done := make(chan struct{})
	go func() { // ends with the archive, or with ctx
		failed = trainer.Make(ctx)
		if _, stops := d.sup.StopDeadline(); stops && failed != nil {
			failed = errTrainingStopped
		}
		close(done)
		close(end)
	}()
	d.sup.Run(ctx, rec)
	select {
	case <-done:
	default: // a signal, or the end of the init
		cancel()
		<-done
		failed = errTrainingStopped
	}
	select {
	case <-d.m.Gone():
		failed = errors.New("cannot make the archive: its init was killed")
	default:
	}
	d.private.Close()
	if failed != nil {
		return d.program.Report(failed), 0
	}
	return 0, 0
}
