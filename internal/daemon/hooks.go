package daemon

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
)

// hookRunner is the supervisor's Listener: it runs hooks for lifecycle events, and records events and hook results in the journal.
type hookRunner struct {
	*hooks.Runner // nil before start
	log           hclog.Logger
	journal       *journal
	registry      atomic.Pointer[hooks.Registry]
	only          []lifecycle.Event // whose hooks run; nil: every event's

	mu         sync.Mutex // guards the fields below
	configured []hooks.ResolvedHook
	teardown   []hooks.ResolvedHook // stop hooks of services that have left the configuration
	plugins    []hooks.ResolvedHook
	config     config.Config
	logged     map[string]bool // problems of hook files that were logged
}

func newHookRunner(log hclog.Logger, journal *journal) *hookRunner {
	return &hookRunner{log: log.Named("hooks"), journal: journal, logged: map[string]bool{}}
}

// start restores the state of an earlier supervisor. It must run before supervisor.New, which ends unclaimed processes.
func (h *hookRunner) start(m *proc.Manager, rec *proc.Recovered, d *daemon) {
	h.setPlan(d.currentPlan())
	machine, past := hooks.NewManagerHost(m, rec)
	h.Runner = hooks.NewRunner(hooks.Options{Host: machine, Recovered: past, Log: h.log, Registry: h.registry.Load,
		Env:    service.EnvironMap(os.Environ()),
		Labels: h.labels, Runtime: api.RuntimeFolder("hooks", os.Getenv), Socket: d.socket, Self: ownPath(m),
		OOMKills: func() (uint64, string, bool) { return cgroup.OOMKills("/") },
		OnDone:   h.journal.hooks, OnPluginFailure: d.plugins.OnHookFailure,
		OnFailure: func(o lifecycle.Occurrence, out hooks.Outcome) {
			d.sup.Fail(o.Service, o.Start, fmt.Sprintf("its hook %s/%s failed: %s", o.Event, out.Hook, out.Why))
		}})
}

// setPlan installs the hooks of a plan.
func (h *hookRunner) setPlan(plan *plan) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if left := teardownHooks(h.configured, h.config, plan); len(left) > 0 {
		h.teardown = left
	}
	h.teardown = slices.DeleteFunc(h.teardown, func(b hooks.ResolvedHook) bool {
		_, back := plan.Config.Services[b.Services[0]]
		return back
	})
	h.configured, h.config = plan.hooks, plan.Config
	for _, p := range plan.hookNotes {
		if text := p.Error(); !h.logged[text] {
			h.logged[text] = true
			h.log.Warn("hook files", "problem", text)
		}
	}
	h.rebuild()
}

// teardownHooks returns the stop hooks of services that the next configuration removes, since it may remove their hooks too.
func teardownHooks(own []hooks.ResolvedHook, before config.Config, next *plan) (out []hooks.ResolvedHook) {
	for _, name := range slices.Sorted(maps.Keys(before.Services)) {
		if _, stays := next.Config.Services[name]; stays {
			continue
		}
		of := func(b hooks.ResolvedHook) bool { return len(b.Services) == 0 || slices.Contains(b.Services, name) }
		for _, b := range own {
			ends := slices.Contains([]lifecycle.Event{lifecycle.PreStop, lifecycle.Exited, lifecycle.Stopped}, b.Event)
			again := slices.ContainsFunc(next.hooks, func(n hooks.ResolvedHook) bool {
				return n.Event == b.Event && n.Name == b.Name && of(n)
			})
			if ends && !again && of(b) {
				b.Services, b.Source = []string{name}, b.Source+", until "+name+" is gone"
				out = append(out, b)
			}
		}
	}
	return out
}

func (h *hookRunner) setPlugins(bound []hooks.ResolvedHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plugins = bound
	h.rebuild()
}

// rebuild builds the registry of all hooks. h.mu is held.
func (h *hookRunner) rebuild() {
	bound := slices.Concat(h.configured, h.teardown, h.plugins)
	if h.only != nil {
		bound = slices.DeleteFunc(bound, func(b hooks.ResolvedHook) bool { return !slices.Contains(h.only, b.Event) })
	}
	h.registry.Store(hooks.NewRegistry(bound, factsOf(h.config)))
}

func (h *hookRunner) labels() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.config.Labels
}

// ReadHooks reads the hooks of a configuration and of its hook folder. Problems of single files are notes.
func ReadHooks(cfg config.Config, origins layeredyaml.Origins) (bound []hooks.ResolvedHook, notes []hooks.Problem, err error) {
	source := func(e lifecycle.Event, k int) string {
		path := fmt.Sprintf("hooks.%s[%d]", e, k)
		for _, key := range []string{path + ".name", path + ".file", path} {
			if o, ok := origins[key]; ok {
				return o.String()
			}
		}
		return path
	}
	files, problems := hooks.Discover(cfg.Hooks.Dir, &cfg.Hooks.ByEvent, source)
	for _, p := range problems {
		if p.Fatal {
			return nil, nil, &exit.Error{Err: fmt.Errorf("cannot use the hooks: %w", p), Code: exit.BadConfig}
		}
	}
	return append(hooks.ResolveConfig(&cfg.Hooks.ByEvent, source), files...), problems, nil
}

func (h *hookRunner) hasHooks() bool { return len(h.registry.Load().All()) > 0 }

func (h *hookRunner) Tell(o lifecycle.Occurrence) {
	h.journal.occurred(o)
	h.Runner.Tell(o)
}

func (h *hookRunner) Await(ctx context.Context, o lifecycle.Occurrence) error {
	h.journal.occurred(o)
	return h.Runner.Await(ctx, o)
}

// containerEvent records an event that happens again and again, and runs its hooks.
func (h *hookRunner) containerEvent(e lifecycle.Event, reason string) {
	h.journal.events.Append(events.Event{Kind: string(e), Reason: reason})
	h.tellNumbered(e, reason)
}

// tellNumbered runs the hooks of an event that happens again and again. Its number comes from a monotonic clock: an occurrence with a
// lower number was already published.
func (h *hookRunner) tellNumbered(e lifecycle.Event, reason string) {
	h.Runner.Tell(lifecycle.Occurrence{Event: e, Start: uint64(initproto.BootNow()), Reason: reason, At: time.Now()})
}
