// Package supervisor keeps services running: one goroutine and one state machine for each service, and a Supervisor
// that owns the set, its order and its end. It starts nothing itself (internal/proc does) and knows neither Tomcat nor
// hooks: it calls the small interfaces that it defines.
package supervisor

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Definition is one service of the set.
type Definition struct {
	Name     string
	Kind     string
	Config   Config // with its defaults filled in
	Launcher Launcher
	Log      logs.Options // of its output
	// ConfigHash identifies what a process of the service is started with: where it
	// changes, a running process is restarted.
	ConfigHash string
}

// Options are how the set as a whole behaves.
type Options struct {
	// Command says that the main service is the command of `run -- CMD`: signals
	// are passed on to it, and its code is always the container's.
	Command bool
	Log     hclog.Logger
	// LogAfter has f waited for before what is logged from now on is written; nil:
	// the order of our log and of the services' output does not matter.
	LogAfter func(f func())
	// Reload is called for SIGHUP, in a goroutine of its own; nil: there is nothing to read again.
	Reload func()
	// Listener gets the events of the container and the services; nil: there is none.
	Listener Listener
	// Entered is called in the service's goroutine when a service enters a state, also the one that it is in, before others can see that.
	// rests says that the service stays in it until a start is asked for (Snapshot.Settled); nil: not wanted.
	Entered func(service string, st State, rests bool)
	// Network configures the container's network before the first hooks, and calls waits with what it is doing. If this
	// supervisor ends before the hooks have, the next one calls it again. An error ends the container, with the code of an
	// *exit.Error; nil: there is nothing to configure.
	Network func(ctx context.Context, waits func(what string)) error
	// OOM reads the counter of OOM kills of these cgroups, of none: of the container's; nil: they are unknown.
	OOM func(cgroups []string) incident.OOMCount
	// Stops is called when the container begins to stop, also by a supervisor that takes over meanwhile.
	Stops func(why string, budget time.Duration)
	// StopJobs ends the jobs before the services are stopped, within a time; nil: there are none.
	StopJobs func(ctx context.Context, within time.Duration)
}

// Supervisor owns the services, their order and their end.
type Supervisor struct {
	m            *proc.Manager
	opts         Options
	log          hclog.Logger
	ctx          context.Context // of Run; set when begun is closed
	running      chan struct{}
	set          atomic.Pointer[activeSet]
	applyMu      sync.Mutex // one change of the set at a time
	endedForGood chan struct{}
	wake         chan struct{}

	stopsMu sync.RWMutex   // also read while a start is asked for on behalf of another
	stops   map[string]int // stops under way, by name: what it requires is not started for it

	incidents *incident.Recorder

	opening     atomic.Pointer[string] // what services wait for at first; nil: nothing any more
	startCounts map[string]uint64      // starts of removed services, which are numbered on; guarded by applyMu
	resumed     bool                   // an earlier supervisor had begun with the services
	stop        *stopState             // of the container; nil: it does not stop
	stopping    atomic.Int64           // CLOCK_BOOTTIME of the end of the budget; 0: not stopping
	uncaptured  sync.Map               // names of services whose output cannot be kept, which was logged
	oomMu       sync.Mutex             // guards oom and oomAt
	oom         incident.OOMCount      // of the container, read at oomAt
	oomAt       time.Time
	planDue     atomic.Bool
	planMu      sync.Mutex // guards plan
	plan        string     // as last put
}

// Times of the set.
const (
	awaitPoll  = 20 * time.Millisecond  // between two checks of AwaitStart
	demandTime = time.Second            // limit of a service to accept a demand of the reconciliation
	oomAge     = 100 * time.Millisecond // of an OOM counter at a start: a reading takes 0.5 ms, and many start together
	planDelay  = 2 * time.Millisecond   // gathers changes of the stop plan: many services may start together
	outputTime = 200 * time.Millisecond // limit of the wait of our log for a service's output
	reserve    = 700 * time.Millisecond // of a stop's budget, for the remaining output and the init's end
	leastShare = time.Second            // of a stop's budget, for each rank of services that stop later
	leastLast  = 100 * time.Millisecond // for the exit hooks when the budget is used up
)

// Names of items in the fd store.
const (
	servicePrefix = "service/"
	stopItem      = "stopping"
	openItem      = "opening"
	countsItem    = "start-counts"
)

// New makes the set and resumes the services of rec. Those that are not defined any more are stopped. Run goes on
// with it.
func New(m *proc.Manager, rec *proc.Recovered, want ServiceSet, opts Options) *Supervisor {
	s := &Supervisor{m: m, opts: opts, log: opts.Log, endedForGood: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), running: make(chan struct{}), startCounts: map[string]uint64{}}
	store := incident.Restore(m.FDStore(), rec.Items, func(text string) { opts.Log.Warn(text) })
	s.incidents = incident.NewRecorder(store, s, opts.Log)
	s.set.Store(newActiveSet(ServiceSet{Main: want.Main, StopTimeout: want.StopTimeout}, nil)) // for the environment of the new services
	s.restore(rec.Items, countsItem, &s.startCounts)
	s.restore(rec.Items, stopItem, &s.stop)
	states := map[string][]byte{}
	for _, item := range rec.Names(servicePrefix) {
		var state json.RawMessage
		s.restore(rec.Items, item, &state)
		states[strings.TrimPrefix(item, servicePrefix)] = state
	}
	s.resumed = len(states) > 0
	latest := map[string]Process{}
	for _, p := range rec.Processes {
		latest[p.ID()] = p
	}
	services := map[string]*Service{}
	for _, d := range slices.Concat(want.Definitions, leftOver(want, states)) {
		svc := newService(d, s.environment(), opts.Log)
		services[d.Name] = svc
		state, ok := states[d.Name]
		if !ok {
			svc.saved.Gen = s.startCounts[d.Name]
			continue
		}
		if err := svc.resume(state, latest); err != nil {
			s.log.Error("cannot read the saved state of a service; it starts from STOPPED", "name", d.Name, "error", err)
		}
	}
	s.set.Store(newActiveSet(want, services))
	for _, name := range m.Logs.Names() {
		if services[name] == nil && !strings.Contains(name, "/") { // with a slash it is a hook's
			m.Logs.Get(name).Retire()
		}
		s.configureLog(name)
	}
	var failures []*incident.Failure
	for _, svc := range services {
		failures = append(failures, svc.saved.Failure)
	}
	s.incidents.Resume(failures)
	for _, p := range latest {
		go endStray(p) // ends with the process
	}
	return s
}

func (s *Supervisor) restore(items fdstore.Items, name string, value any) {
	if _, err := items.TakeJSON(name, value); err != nil {
		s.log.Error("cannot restore a saved value", "error", err)
	}
}

// endStray ends a process that no service claims.
func endStray(p Process) {
	p.SignalGroup(syscall.SIGKILL)
	<-p.Exited()
	p.Done()
}

// Run keeps the services running until the container ends, and returns its exit code.
func (s *Supervisor) Run(ctx context.Context, rec *proc.Recovered) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resumed := rec.Starts > 1
	begun := rec.Stop > 0 || s.stop != nil // for an essential service
	if begun {
		s.m.Stopping() // before a service can start anything
	}
	s.ctx = ctx
	opened, closeUp := s.beginOpening(ctx, rec, begun)
	defer closeUp()
	set := s.set.Load()
	for _, svc := range set.inOrder {
		if svc.isNew && !begun && svc.cfg.autostart() {
			svc.start(event{req: &request{by: "the configuration"}})
		}
	}
	for _, svc := range set.inOrder {
		go func() { // ends with ctx, or when the service is not configured any more
			if !svc.isNew {
				svc.continueState()
				svc.continueReload()
			}
			svc.run(ctx)
		}()
	}
	close(s.running)
	go s.reconcile(ctx) // ends with ctx
	s.wakeWaiters()
	s.updateStopPlan()
	if resumed {
		s.log.Warn("took over from a supervisor that died", "number", rec.Starts, "processes", len(rec.Processes))
	}
	s.m.Adopted()
	if begun {
		return s.shutdown(ctx, rec.Stop, 0)
	}
	for {
		select {
		case sig := <-s.m.Signals():
			if sig.Stop > 0 {
				s.beginStop()
				sig.Ack()
				closeUp()
				return s.shutdown(ctx, sig.Stop, sig.Signal)
			}
			s.signal(sig.Signal)
			sig.Ack()
		case err := <-opened:
			if err != nil {
				return s.shutdownUnopened(ctx, err)
			}
			s.endOpening()
		case <-s.endedForGood:
			if name, over := s.essentialOver(); over {
				return s.shutdownFor(ctx, name)
			}
		case <-s.m.Gone():
			return exit.InitFailed
		}
	}
}

func (s *Supervisor) signal(sig syscall.Signal) {
	if s.opts.Command {
		s.forward(sig)
		return
	}
	switch sig {
	case syscall.SIGQUIT:
		for _, svc := range s.set.Load().services {
			svc.snap.Load().threadDump(svc.log)
		}
	case syscall.SIGHUP:
		if s.opts.Reload != nil {
			go s.opts.Reload() // ends with the reload
		}
	default:
		s.log.Debug("signal ignored", "signal", proc.SignalName(sig))
	}
}

// forward passes a signal to the command if it catches it. An unhandled signal to a PID 1 has no effect.
func (s *Supervisor) forward(sig syscall.Signal) {
	set := s.set.Load()
	svc := set.services[set.Main]
	if svc == nil {
		return
	}
	p, forwarded := svc.snap.Load().process, []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGWINCH, syscall.SIGALRM}
	switch {
	case !slices.Contains(forwarded, sig):
		s.log.Debug("signal ignored", "signal", proc.SignalName(sig))
	case p == nil || !p.Catches(sig):
		s.log.Info("signal dropped: the command does not catch it", "signal", proc.SignalName(sig))
	default:
		p.Signal(sig)
	}
}

// essentialOver finds a service whose end, or failed liveness, ends the container.
func (s *Supervisor) essentialOver() (string, bool) {
	set := s.set.Load()
	for _, svc := range set.inOrder {
		snap := svc.snap.Load()
		fatal := snap.State == Fatal && (snap.Essential || set.OnFatal == OnFatalExit)
		if snap.endsContainer || fatal || snap.Essential && snap.State == Exited && (!snap.Oneshot || !snap.succeeded()) {
			return svc.name, true
		}
	}
	return "", false
}

// Services returns a snapshot of each service, in the order of the configuration.
func (s *Supervisor) Services() []Snapshot {
	set := s.set.Load()
	out := make([]Snapshot, 0, len(set.names))
	for _, name := range set.names {
		snap, _ := s.Service(name)
		out = append(out, snap)
	}
	return out
}

// Service returns the snapshot of one service.
func (s *Supervisor) Service(name string) (Snapshot, bool) {
	set := s.set.Load()
	svc := set.services[name]
	if svc == nil {
		return Snapshot{}, false
	}
	snap := svc.Snapshot()
	snap.Kind, snap.Main = set.defined[name].Kind, name == set.Main
	snap.Incident = s.incidents.Latest(name)
	return snap, true
}

// Stopping reports whether the container stops.
func (s *Supervisor) Stopping() bool { return s.stopping.Load() != 0 }

// Ready reports whether every wanted service is RUNNING and healthy, and which is not.
func (s *Supervisor) Ready() (bool, []string) {
	var not []string
	if why := s.opening.Load(); why != nil {
		not = append(not, *why)
	}
	if s.Stopping() {
		not = append(not, "the container stops")
	}
	set := s.set.Load()
	for _, name := range set.names {
		snap := set.services[name].snap.Load()
		if why := snap.unready(); why != "" && snap.State != Stopped {
			not = append(not, name+" "+why)
		}
	}
	return len(not) == 0, not
}

// ReadyService is Ready of one service, which is not ready when it is STOPPED either.
func (s *Supervisor) ReadyService(name string) (bool, []string) {
	svc := s.set.Load().services[name]
	if svc == nil {
		return false, []string{"there is no service " + name}
	}
	if s.Stopping() {
		return false, []string{"the container stops"}
	}
	if why := svc.snap.Load().unready(); why != "" {
		return false, []string{name + " " + why}
	}
	return true, nil
}

// unready returns why a service is not ready; empty: it is.
func (s *Snapshot) unready() string {
	switch {
	case s.Reported:
		return "is not alive"
	case s.Issue != "":
		return "is unhealthy"
	case s.State == Running, s.State == Exited && s.succeeded():
		return ""
	}
	return "is " + string(s.State)
}

// Orphans is how many orphaned processes were reaped.
func (s *Supervisor) Orphans() uint64 { return s.m.Orphans() }

// Survives reports whether the services outlive the supervisor here.
func (s *Supervisor) Survives() bool { return s.m.Survives() }
