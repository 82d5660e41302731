package daemon

import (
	"context"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/natsjob"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
)

// engine brings jobs from elsewhere into the executor.
type engine interface {
	// Run works until ctx ends. The jobs have ended by then if the container stops, and it may report them for a moment.
	Run(ctx context.Context)
	// Status is the state in one line.
	Status() string
}

// runningEngine is an engine that works.
type runningEngine struct {
	engine
	config any // it was made for
	stop   context.CancelFunc
	done   chan struct{} // closed at its end
}

// engines are what submits jobs beside the API: the schedules, and the engines that are configured.
type engines struct {
	ctx       context.Context //nolint:containedctx // of those that a reload starts
	jobs      *executor.Executor
	log       hclog.Logger
	schedules *schedule.Scheduler

	mu      sync.Mutex
	running map[string]*runningEngine
}

// startEngines starts what the configuration names; nil: there is no executor.
func (d *daemon) startEngines(ctx context.Context) *engines {
	if d.jobs == nil {
		return nil
	}
	life, since := d.jobs.Life()
	cfg := d.currentPlan().Config.Executor
	e := &engines{ctx: ctx, jobs: d.jobs, log: d.log.Named("jobs"), running: map[string]*runningEngine{}}
	e.schedules = schedule.New(cfg.Schedules, d.jobs, schedule.Options{Boot: life, Booted: since, Log: e.log})
	go e.schedules.Run(ctx) // ends with ctx
	e.configure(cfg, d.currentPlan().Config.Labels)
	if d.mesos != nil {
		e.set("mesos", cfg.Mesos, func() engine { return d.newMesos(cfg.Mesos) })
	}
	return e
}

// configure applies another configuration.
func (e *engines) configure(cfg config.Executor, labels map[string]string) {
	e.schedules.Configure(cfg.Schedules)
	var start func() engine
	if cfg.NATS.URL != "" {
		start = func() engine {
			host, _ := os.Hostname() // it only names the container to others
			return natsjob.New(natsjob.Options{Config: cfg.NATS, Executor: e.jobs, Log: e.log, Host: host, Labels: labels, Memory: memoryInUse})
		}
	}
	e.set(natsjob.Engine, [2]any{cfg.NATS, labels}, start)
}

// memoryInUse returns the memory that the container uses and its limit, in bytes; limit 0: it is unknown, or there is none.
func memoryInUse() (used, limit int64) {
	l := cgroup.Read("/")
	if used, ok := cgroup.MemoryInUse("/", l); ok {
		return used, *l.MemoryLimit
	}
	return 0, 0
}

// set starts an engine, or starts it again if its configuration has changed. Without start it is not configured.
func (e *engines) set(name string, cfg any, start func() engine) {
	e.mu.Lock()
	old := e.running[name]
	e.mu.Unlock()
	if old != nil {
		if start != nil && reflect.DeepEqual(old.config, cfg) {
			return
		}
		old.stop()
		<-old.done
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, name)
	if start == nil {
		return
	}
	ctx, stop := context.WithCancel(e.ctx)
	r := &runningEngine{engine: start(), config: cfg, stop: stop, done: make(chan struct{})}
	e.running[name] = r
	go func() { // ends with ctx
		defer close(r.done)
		r.Run(ctx)
	}()
}

// end stops all engines once the jobs have ended, and waits until they have reported that, but not longer than ctx.
func (e *engines) end(ctx context.Context) {
	if e == nil {
		return
	}
	e.mu.Lock()
	running := slices.Collect(maps.Values(e.running))
	e.mu.Unlock()
	for _, r := range running {
		r.stop()
	}
	for _, r := range running {
		select {
		case <-r.done:
		case <-ctx.Done():
		}
	}
}

// status has one line for each engine.
func (e *engines) status() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]string{}
	for name, r := range e.running {
		out[name] = r.Status()
	}
	return out
}
