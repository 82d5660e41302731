package daemon

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/tools"
	"github.com/stoker-init/stoker/supervisor"
)

func apiBackend(d *daemon) api.Backend {
	b := api.Backend{Supervisor: d.sup, ServiceManager: d, Reloader: d, Evidence: d.sup, Hooks: d.hooks.Runner, PluginManager: d,
		JVMTools: tools.New(d.sup, d.shared.Attacher, d.log, stateFolder(os.Geteuid(), os.Getenv)),
		Upgrader: &upgrades{m: d.m, version: d.program.Version, log: d.log, audit: d.audit}}
	if d.jobs != nil {
		b.JobManager, b.JobFiles, b.ExecutorControl, b.JobMetrics = d.jobs, d.jobs, executorControl{d}, d.jobs
	}
	return b
}

func (d *daemon) Network() *api.NetworkStatus { return d.network.Snapshot() }

func (d *daemon) Limits() any { return cgroup.Read("/") }

func (d *daemon) JVM(name string) (data any, text func(width int) string, ok bool) {
	latest := d.shared.Report(name)
	if latest == nil {
		return nil, nil, false
	}
	report := *latest
	if s, ok := d.sup.Service(name); ok {
		report.Pending, report.Cut = d.jvms.Pending(name, s.Pid), d.jvms.Cut(name, s.Pid)
	}
	return &report, report.Text, true
}

func (d *daemon) Services() []supervisor.Snapshot {
	all := d.sup.Services()
	for k := range all {
		all[k] = d.withPending(all[k])
	}
	return all
}

func (d *daemon) Service(name string) (supervisor.Snapshot, bool) {
	snap, ok := d.sup.Service(name)
	return d.withPending(snap), ok
}

// withPending adds the pending restart and the failures of hooks.
func (d *daemon) withPending(snap supervisor.Snapshot) supervisor.Snapshot {
	snap = d.jvms.AddTo(snap)
	snap.Listen = d.sockets.status(snap.Name)
	snap.Notes = slices.Concat(snap.Notes, d.hooks.Failures(snap.Name))
	return snap
}

func (d *daemon) Signal(service string, sig syscall.Signal, group bool, by string) error {
	p, ok := d.sup.Process(service)
	if !ok {
		return proc.ErrGone
	}
	d.log.Info("signal sent", "name", service, "signal", proc.SignalName(sig), "pid", p.Pid(), "group", group, "asked_by", by)
	if group {
		return p.SignalGroup(sig)
	}
	return p.Signal(sig)
}

func (d *daemon) RunHooks(ctx context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error) {
	o := lifecycle.Occurrence{Event: event, Service: service, Attempt: 1, Reason: "run by hand by " + by, At: time.Now()}
	if event.OfService() {
		if o.Service == "" {
			all := d.sup.Services()
			if len(all) != 1 {
				return nil, api.Refuse(http.StatusNotFound, "no-such-service", "stoker status lists them",
					"%s is an event of a service, and there are %d: name one with --service", event, len(all))
			}
			o.Service = all[0].Name
		}
		s, ok := d.sup.Service(o.Service)
		if !ok {
			return nil, api.NoService(o.Service, "stoker status lists them")
		}
		o.Pid, o.Port = s.Pid, d.hooks.Port(o.Service)
	}
	d.log.Info("hooks run on request", "event", event, "hook", name, "name", o.Service, "asked_by", by)
	return d.hooks.RunManually(ctx, o, name)
}

// confinedOwner returns the session or the service that a process belongs to, unless api.admins lists the service. The command of run
// is unconfined, since it is the whole container.
func (d *daemon) confinedOwner(pid int) (access.Owner, error) {
	cfg := d.currentPlan().Config
	alone := d.opts.Alone()
	if alone && !cfg.Console.Enabled {
		return access.Owner{}, nil
	}
	id, err := d.m.Origin(pid)
	switch name, ok := supervisor.ServiceOf(id); {
	case strings.HasPrefix(id, console.IDPrefix):
		return access.Owner{Session: true}, nil
	case alone:
		return access.Owner{}, nil
	case err != nil:
		return access.Owner{}, err
	case ok && (len(d.opts.Command) == 0 || name != commandName(d.opts.Command)) && !slices.Contains(cfg.API.Admins, name):
		return access.Owner{Service: name}, nil
	}
	return access.Owner{}, nil
}
