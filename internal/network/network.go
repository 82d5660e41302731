// Package network keeps the container's network as configured: it applies the description at the start and at a reload, and repairs or
// reports what differs later. Packages netinit, source and kernel do the work.
package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
	"github.com/stoker-init/stoker/netinit/source"
)

// fdItem is the state of the network in the fd store.
const fdItem = "network"

// tools are the functions that reach the source and the kernel.
type tools struct {
	fetch    func(context.Context, source.Options) (*source.Description, error)
	apply    func(context.Context, *netinit.Plan, kernel.Options) (*kernel.Result, error)
	compare  func(*netinit.Plan, kernel.Options) ([]kernel.Change, error)
	record   func(stateDir string) (*kernel.Record, error)
	watch    func(context.Context) (<-chan struct{}, error)
	links    func() ([]net.Interface, error)
	announce func(context.Context, []kernel.Announcement, hclog.Logger)
}

// Network configures the container's network: at its start, at a reload, and when the kernel differs from what was applied. Where
// netinit is not configured it does nothing.
type Network struct {
	tools   tools
	log     hclog.Logger
	ctx     context.Context   //nolint:containedctx // of the workers, which a reload starts
	env     map[string]string // for variables of the source
	folder  string            // of the state, unless the configuration has one; empty: none
	save    func(saved) error
	drifted func(reason string) // publishes the event
	began   time.Time           // of the opening; zero: an earlier supervisor has been through it

	mu     sync.Mutex        // guards the fields below
	worker *worker           // the current one; nil: netinit is not configured
	last   <-chan struct{}   // closed when the latest worker has ended; nil: there was none
	waits  func(string)      // of the opening; nil: it is over
	status api.NetworkStatus // of worker
	warned []string          // of the last description
}

// saved is what the next supervisor continues with.
type saved struct {
	Status  api.NetworkStatus `json:"status"`
	Pending bool              `json:"pending"` // it is to be configured: an attempt has failed, or was under way
}

// Settings are what a configuration says of the network.
type Settings struct {
	netinit.Config
	Labels map[string]string // of the container, for variables of the source
}

// Options connect a Network with the supervisor.
type Options struct {
	Log     hclog.Logger
	Folder  string                                         // of the state, unless the configuration has one; empty: none
	Env     map[string]string                              // for variables of the source
	Drifted func(reason string)                            // publishes the event
	Save    func(name string, value any, fds ...int) error // in the fd store
}

// New returns a Network whose goroutines end with ctx.
func New(ctx context.Context, o Options) *Network {
	return &Network{ctx: ctx, log: o.Log, drifted: o.Drifted, folder: o.Folder, env: o.Env,
		save: func(s saved) error { return o.Save(fdItem, s) },
		tools: tools{fetch: source.Fetch, apply: kernel.Apply, compare: kernel.Compare, record: kernel.ReadRecord,
			watch: kernel.Watch, links: net.Interfaces, announce: kernel.Announce}}
}

// Opening returns what the supervisor calls before the first hooks; nil: netinit is not configured.
func (n *Network) Opening(p Settings) func(context.Context, func(string)) error {
	if p.Source == "" {
		return nil
	}
	return func(ctx context.Context, waits func(string)) error {
		n.mu.Lock()
		n.waits, n.began = waits, time.Now()
		n.mu.Unlock()
		n.configure(p, true)
		return n.await(ctx)
	}
}

// await waits until the network was configured, or could not be, by the latest configuration.
func (n *Network) await(ctx context.Context) error {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.waits = nil
	}()
	for {
		w := n.current()
		if w == nil {
			return nil // a reload has removed it
		}
		select {
		case <-ctx.Done():
			w.stop()
			return ctx.Err()
		case err := <-w.first:
			switch {
			case n.current() != w: // a reload replaced it
			case err == nil:
				return nil
			case *w.cfg.Required:
				w.stop()
				return withoutNetwork(err)
			default:
				w.log.Warn("the network is not configured; the container goes on with that of the runtime", "error", explain(err),
					"again_in", w.cfg.Drift.Every)
				return nil
			}
		}
	}
}

// Resume continues after an earlier supervisor that has been through the opening.
func (n *Network) Resume(p Settings, items fdstore.Items) {
	var saved saved
	found, err := items.TakeJSON(fdItem, &saved)
	if err != nil {
		n.log.Error("cannot read the saved state of the network; it is configured again", "error", err)
	}
	saved.Status.Repairs, saved.Status.RepairFailures, saved.Status.Doing = 0, 0, ""
	n.status = saved.Status
	n.configure(p, !found || err != nil || saved.Pending)
}

// Reload configures the network again if the section has changed, or the reload was asked for, and reports whether it does.
func (n *Network) Reload(before, next Settings, asked bool) bool {
	same := reflect.DeepEqual(before.Config, next.Config) && maps.Equal(before.Labels, next.Labels)
	if same && !asked {
		return false
	}
	had := n.current() != nil
	if n.configure(next, true); had && next.Source == "" {
		n.log.Info("netinit is not configured any more; the network stays as it is and is not checked")
	}
	return next.Source != ""
}

// configure begins with a configuration in the background, after the worker of the one before has ended. fetch: its description is
// fetched and applied, otherwise only what was applied is watched.
func (n *Network) configure(p Settings, fetch bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.worker != nil {
		n.worker.stop()
		n.worker = nil
	}
	cfg := p.Config
	if cfg.Source == "" {
		n.status = api.NetworkStatus{}
		return
	}
	from := redact.URL(cfg.Source)
	if n.status.Applied == nil {
		n.status.From = from
	}
	if cfg.StateDir == "" {
		cfg.StateDir = n.folder
	}
	ctx, stop := context.WithCancel(n.ctx)
	done, before := make(chan struct{}), n.last
	w := &worker{Network: n, cfg: cfg, from: from, stop: stop, first: make(chan error, 1), awaited: n.waits != nil,
		brake:   repairBrake{},
		lookup:  remote.Variables(n.env, p.Labels),
		options: kernel.Options{Files: cfg.Files, StateDir: cfg.StateDir, DAD: cfg.DAD, Probe: cfg.Probe, Log: n.log}}
	n.worker, n.last = w, done
	go func() { // ends with ctx
		defer close(done)
		if before != nil {
			<-before
		}
		w.run(ctx, fetch)
	}()
}

func (n *Network) current() *worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.worker
}

// Snapshot returns the state of the network; nil: netinit is not configured.
func (n *Network) Snapshot() *api.NetworkStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.worker == nil {
		return nil
	}
	s := n.status
	s.Differences = slices.Clone(s.Differences)
	return &s
}

// worker is the goroutine of one configuration. It owns its fields.
type worker struct {
	*Network
	cfg     netinit.Config
	from    string // the source, masked
	stop    context.CancelFunc
	lookup  remote.Lookup
	options kernel.Options
	awaited bool          // by the opening, which logs a failure
	first   chan error    // the result of the first attempt
	applied *netinit.Plan // by this supervisor, for a folder that has no record

	unconfigured, unrepaired string          // why; empty: it is
	unknown                  string          // why the network cannot be compared
	changed                  <-chan struct{} // notifications of the kernel; nil: there are none
	went                     bool            // a link has gone down or away since the last repair
	brake                    repairBrake
	published                string // the differences that were published and are still there
}

// set changes the status, unless a reload has replaced the worker.
func (w *worker) set(change func(*api.NetworkStatus)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.worker == w {
		change(&w.status)
		w.status.Error = cmp.Or(w.unconfigured, w.unrepaired, w.unknown)
	}
}

// doing says what is under way, also to the services that wait for it.
func (w *worker) doing(what string) {
	w.set(func(s *api.NetworkStatus) { s.Doing = what })
	w.mu.Lock()
	waits := w.waits
	w.mu.Unlock()
	if waits != nil && what != "" {
		waits(what)
	}
}

// run configures the network if fetch is set, and then watches it until ctx ends.
func (w *worker) run(ctx context.Context, fetch bool) {
	if !fetch && w.plan() == nil {
		fetch = true // nothing was recorded
	}
	var err error
	if fetch {
		err = w.configureNow(ctx, false)
		w.first <- err
	}
	if ctx.Err() == nil {
		w.keep(ctx, err != nil, !fetch)
	}
}

// configureNow fetches the description and applies it. An error leaves the network as it was. stale: the last good one was applied,
// and stays if there is no other.
func (w *worker) configureNow(ctx context.Context, stale bool) error {
	began := time.Now()
	w.keepForNext(true)
	d, result, err := w.fetchAndApply(ctx, stale)
	if ctx.Err() != nil {
		return ctx.Err() // a reload or a stop
	}
	if _, unreachable := errors.AsType[*source.UnreachableError](err); unreachable && stale {
		w.doing("")
		w.keepForNext(false)
		return nil
	}
	if err != nil {
		known := w.unconfigured == explain(err)
		w.unconfigured = explain(err)
		w.doing("")
		w.keepForNext(true)
		if !known && !w.awaited {
			w.log.Error("the network is not configured; it stays as it was", "error", w.unconfigured, "again_in", w.cfg.Drift.Every)
		}
		return Error(err)
	}
	w.applied, w.unconfigured, w.unrepaired, w.published = d.Plan, "", "", ""
	w.warn(slices.Concat(d.Warnings(), result.Warnings))
	w.log.Info("the network is configured", "from", d.From, "changes", len(result.Changes),
		"took", time.Since(began).Round(time.Millisecond))
	w.set(func(s *api.NetworkStatus) {
		*s = api.NetworkStatus{From: d.From, Applied: new(time.Now()), Described: &d.Time, Repairs: s.Repairs, RepairFailures: s.RepairFailures}
		if d.Stale != nil {
			s.Stale = d.Stale.Error()
		}
	})
	w.keepForNext(false)
	w.announce(result)
	return nil
}

func (w *worker) fetchAndApply(ctx context.Context, stale bool) (*source.Description, *kernel.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Wait)
	defer cancel()
	w.doing("its description is fetched from " + w.from)
	cfg := w.cfg
	if stale {
		cfg.Wait, cfg.RequireFresh = min(cfg.Wait, staleWait), true
	}
	d, err := w.tools.fetch(ctx, source.Options{Config: cfg, Lookup: w.lookup,
		OnRetry: func(err error) { w.doing(fmt.Sprintf("no description from %s yet: %v", w.from, err)) }})
	if err != nil {
		return nil, nil, err
	}
	w.doing("the description from " + d.From + " is applied")
	o := w.options
	o.OnMissing = func(links string) { w.doing("no link yet: " + links) }
	result, err := w.tools.apply(ctx, d.Plan, o)
	return d, result, err
}

func (w *worker) announce(result *kernel.Result) {
	if len(result.Announce) > 0 {
		go w.tools.announce(w.ctx, result.Announce, w.log) // ends after its announcements; a reload does not cut them short
	}
}

// warn logs the warnings that the description before did not have.
func (w *worker) warn(list []string) {
	w.mu.Lock()
	before := w.warned
	w.warned = list
	w.mu.Unlock()
	for _, text := range list {
		if !slices.Contains(before, text) {
			w.log.Warn("network", "warning", text)
		}
	}
}

// keepForNext saves the status for the next supervisor, which configures the network again if that is pending.
func (w *worker) keepForNext(pending bool) {
	w.mu.Lock()
	s := saved{w.status, pending}
	w.mu.Unlock()
	if err := w.save(s); err != nil {
		w.log.Error("cannot keep the state of the network; the next supervisor configures it again", "error", err)
	}
}

// withoutNetwork adds how the container can go on.
func withoutNetwork(err error) error {
	e, ok := errors.AsType[*exit.Error](err)
	if !ok {
		return err
	}
	hint := "netinit.required: false, or STOKER_NETINIT_REQUIRED=false, goes on with the runtime's network"
	if e.Hint != "" {
		hint = e.Hint + "; " + hint
	}
	return &exit.Error{Err: fmt.Errorf("cannot configure the network: %w", e.Err), Hint: hint, Code: e.Code}
}

// explain is the text of an error of netinit with its hint.
func explain(err error) string {
	if e, ok := errors.AsType[*exit.Error](Error(err)); ok && e.Hint != "" {
		return err.Error() + " (hint: " + e.Hint + ")"
	}
	return err.Error()
}

// Error gives an error of netinit its exit code and hint, unless it is an *exit.Error.
func Error(err error) error {
	if _, ok := errors.AsType[*exit.Error](err); ok {
		return err
	}
	e := &exit.Error{Err: err, Code: exit.KernelRefused}
	_, refused := errors.AsType[*source.RefusedError](err)
	unreachable, isUnreachable := errors.AsType[*source.UnreachableError](err)
	hinted, hasHint := errors.AsType[*kernel.HintError](err)
	switch {
	case refused:
		e.Code = exit.BadInput
	case isUnreachable:
		e.Code = exit.NoSource
		if unreachable.Waited {
			e.Hint = "a longer wait may help: --wait, netinit.wait"
		}
	case errors.Is(err, kernel.ErrNotPermitted):
		e.Code, e.Hint = exit.Refused, "give the container the capability NET_ADMIN: docker run --cap-add NET_ADMIN"
		if hasHint && hinted.Hint != "" {
			e.Hint = hinted.Hint
		}
	case errors.Is(err, kernel.ErrNoLink):
		e.Code = exit.TryLater
		e.Hint = "ip link shows the links; a longer wait (--wait, netinit.wait) or optional: true in the description may help"
	case errors.Is(err, kernel.ErrLocked):
		e.Code = exit.TryLater
		e.Hint = "stoker status shows what the container's stoker does; a longer wait (--wait, netinit.wait) may help"
	case errors.Is(err, kernel.ErrInterrupted):
		e.Code = exit.TryLater
	case errors.Is(err, kernel.ErrAmbiguous):
		e.Hint = "let the description match the link by its name as well"
	case errors.Is(err, kernel.ErrDuplicate), errors.Is(err, kernel.ErrTentative), errors.Is(err, context.DeadlineExceeded):
		e.Code = exit.TryLater
	case hasHint:
		e.Hint = hinted.Hint
	}
	return e
}
