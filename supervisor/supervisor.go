package supervisor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
)

// Definition is one service of the set.
type Definition struct {
	Name     string
	Kind     string
	Config   Config // with its defaults filled in
	Launcher Launcher
}

// Options are how the set as a whole behaves.
type Options struct {
	Main        string        // whose exit code the container gets; empty: none
	StopTimeout time.Duration // the budget of the whole shutdown
	// Command says that the main service is the command of `run -- CMD`: signals
	// are passed on to it, and its code is always the container's.
	Command bool
	Log     hclog.Logger
}

// Supervisor owns the services, their order and their end.
type Supervisor struct {
	m        *proc.Manager
	opts     Options
	log      hclog.Logger
	services map[string]*Service
	order    []string
	kinds    map[string]string
	rested   chan struct{}
	logs     sync.Map // name -> *proc.Log

	stopping atomic.Int64 // CLOCK_BOOTTIME of the end of the budget; 0: not stopping
	planDue  atomic.Bool
	planMu   sync.Mutex // guards plan
	plan     string     // as last put
}

// Names of bag items.
const (
	servicePrefix = "service/"
	stopItem      = "stopping"
)

// New makes the set. What rec holds of services that are still defined is
// resumed; Run goes on with it.
func New(m *proc.Manager, rec *proc.Recovered, defs []Definition, opts Options) *Supervisor {
	s := &Supervisor{m: m, opts: opts, log: opts.Log, services: map[string]*Service{}, kinds: map[string]string{},
		rested: make(chan struct{}, 1)}
	latest := map[string]*proc.Process{}
	for _, p := range rec.Processes {
		latest[p.ID()] = p
	}
	for _, d := range defs {
		svc := newService(d.Name, d.Config, d.Launcher, world{s}, opts.Log)
		s.services[d.Name], s.kinds[d.Name] = svc, d.Kind
		s.order = append(s.order, d.Name)
		state, ok := rec.Blobs[servicePrefix+d.Name]
		if !ok {
			continue
		}
		id := keptID(d.Name, state)
		var p Process
		if q := latest[id]; q != nil {
			p = q
			delete(latest, id)
		}
		if err := svc.resume(state, p); err != nil {
			s.log.Error("cannot read the kept state of a service; it begins anew", "name", d.Name, "error", err)
		}
	}
	for _, p := range latest {
		go endStray(p) // ends with the process
	}
	return s
}

// endStray ends a process that no service claims: a probe's or an import's of an
// earlier supervisor, or a service that is not configured any more.
func endStray(p Process) {
	p.SignalGroup(syscall.SIGKILL)
	<-p.Exited()
	p.Done()
}

// Run keeps the services running until the container ends, and gives its exit
// code. resumed says that an earlier supervisor had started them.
func (s *Supervisor) Run(ctx context.Context, rec *proc.Recovered) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resumed := rec.Starts > 1
	_, begun := rec.Blobs[stopItem] // the container ends because an essential service is over
	if begun = begun || rec.Stop > 0; begun {
		s.m.Stopping() // before a service can start anything
	}
	for _, name := range s.order {
		svc := s.services[name]
		go func() { // ends with ctx
			if !svc.fresh {
				svc.pickUp()
			} else if !begun && svc.cfg.autostart() {
				svc.start("the configuration")
			}
			svc.run(ctx)
		}()
	}
	s.Changed()
	if resumed {
		s.log.Warn("took over from a supervisor that died", "number", rec.Starts, "processes", len(rec.Processes))
	}
	s.m.Adopted()
	if begun {
		return s.shutdown(ctx, rec, rec.Stop, 0)
	}
	for {
		select {
		case sig := <-s.m.Signals():
			if sig.Stop > 0 {
				s.noteStop(rec)
				sig.Ack()
				return s.shutdown(ctx, rec, sig.Stop, sig.Signal)
			}
			s.signal(sig.Signal)
			sig.Ack()
		case <-s.rested:
			if name, over := s.essentialOver(); over {
				s.log.Info("essential service is over, the container ends", "name", name)
				return s.shutdownFor(ctx, rec, name)
			}
		case <-s.m.Gone():
			return pid1.CodeBroken
		}
	}
}

// signal treats a signal that asks for no stop.
func (s *Supervisor) signal(sig syscall.Signal) {
	if s.opts.Command {
		s.forward(sig)
		return
	}
	switch sig {
	case syscall.SIGQUIT:
		for _, name := range s.order {
			s.services[name].threadDump()
		}
	case syscall.SIGHUP:
		s.log.Warn("SIGHUP: this version cannot reload its configuration; restart the container to apply a change")
	default:
		s.log.Debug("signal ignored", "signal", SignalName(sig))
	}
}

// forward passes a signal on to the command, if it catches it: the others would
// end it, and a signal to a container's PID 1 that nobody handles ends nothing.
func (s *Supervisor) forward(sig syscall.Signal) {
	svc := s.services[s.opts.Main]
	p := svc.process.Load()
	switch sig {
	case syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGALRM:
	default:
		s.log.Debug("signal ignored", "signal", SignalName(sig))
		return
	}
	if p == nil || !(*p).Catches(sig) {
		s.log.Info("signal dropped: the command does not catch it", "signal", SignalName(sig))
		return
	}
	(*p).Signal(sig)
}

// essentialOver finds an essential service that ended for good.
func (s *Supervisor) essentialOver() (string, bool) {
	for _, name := range s.order {
		snap := s.services[name].snap.Load()
		if snap.Essential && (snap.State == Exited || snap.State == Fatal) {
			return name, true
		}
	}
	return "", false
}

// Services gives a snapshot of each service, in the order of the configuration.
func (s *Supervisor) Services() []Snapshot {
	out := make([]Snapshot, 0, len(s.order))
	for _, name := range s.order {
		snap, _ := s.Service(name)
		out = append(out, snap)
	}
	return out
}

// Service gives the snapshot of one service.
func (s *Supervisor) Service(name string) (Snapshot, bool) {
	svc := s.services[name]
	if svc == nil {
		return Snapshot{}, false
	}
	snap := svc.Snapshot()
	snap.Kind, snap.Main = s.kinds[name], name == s.opts.Main
	return snap, true
}

// Command starts, stops or restarts a service. A stop returns when every process
// of the service is gone. by names who asks, for the log and the status.
func (s *Supervisor) Command(ctx context.Context, name string, event Event, by string) error {
	svc := s.services[name]
	if svc == nil {
		return fmt.Errorf("cannot %s %q: there is no such service (there are: %s)", event, name, strings.Join(s.order, ", "))
	}
	if s.Stopping() && event != EvStop {
		return fmt.Errorf("cannot %s %q: %w", event, name, proc.ErrStopping)
	}
	return svc.ask(ctx, request{event: event, by: by})
}

// Stopping says whether the container stops.
func (s *Supervisor) Stopping() bool { return s.stopping.Load() != 0 }

// Ready says whether every service that is wanted is RUNNING, and which is not.
func (s *Supervisor) Ready() (bool, []string) {
	var not []string
	for _, name := range s.order {
		snap := s.services[name].snap.Load()
		switch {
		case snap.State == Running, snap.State == Stopped:
		case snap.State == Exited && snap.Exit != nil && snap.Exit.Success:
		default:
			not = append(not, fmt.Sprintf("%s is %s", name, snap.State))
		}
	}
	return len(not) == 0 && !s.Stopping(), not
}

// Log gives the captured output of a service.
func (s *Supervisor) Log(name string) *proc.Log {
	if s.services[name] == nil {
		return nil
	}
	return world{s}.Log(name)
}

// Orphans is how many processes of nobody were waited for.
func (s *Supervisor) Orphans() uint64 { return s.m.Orphans() }

// Survives says whether the services outlive the supervisor here.
func (s *Supervisor) Survives() bool { return s.m.Survives() }
