package daemon

import (
	"syscall"

	"github.com/stoker-init/stoker/executor/mesos"
	"github.com/stoker-init/stoker/internal/config"
)

// takeMesos takes what a Mesos agent has put into the environment, if stoker is to be its executor. It comes before all that passes
// the environment on.
func (d *daemon) takeMesos(cfg config.Executor) {
	if cfg.Mesos.OnAgentLost != "" {
		d.mesos = new(mesos.TakeEnvironment())
	}
}

// newMesos returns the executor of the agent.
func (d *daemon) newMesos(cfg mesos.Config) engine {
	return mesos.New(mesos.Options{Config: cfg, Environment: *d.mesos, Executor: d.jobs, State: d.jobs.ExecutorStatus, Exit: d.exit,
		Log: d.log.Named("mesos")})
}

// exit asks for the end of the container, as the signal TERM to it does.
func (d *daemon) exit(why string) {
	if d.sup.Stopping() {
		return // a second signal would hurry
	}
	d.log.Info("the container is asked to end", "why", why)
	if err := syscall.Kill(d.m.Init().Pid, syscall.SIGTERM); err != nil {
		d.log.Error("cannot ask for the end of the container", "error", err)
	}
}
