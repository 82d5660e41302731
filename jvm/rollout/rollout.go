// Package rollout compares running JVMs with the sources of their options, and restarts the ones whose options have changed, one after
// another. It does not read the sources and does not start processes: Services does.
package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/supervisor"
)

// Rollout delays.
const (
	// restartDelay is how long the sources must be unchanged before a restart, so that several changes cause one.
	restartDelay = 2 * time.Second
	// recheckDelay is the delay before an undecided service is checked again: it is still starting, or a source is unreadable.
	recheckDelay = 10 * time.Second
	// minRetryDelay and maxRetryDelay bound the time between two restarts of a service whose sources keep changing, such as replicas that
	// disagree.
	minRetryDelay = time.Minute
	maxRetryDelay = time.Hour
)

// JVM is the state of a service with a JVM.
type JVM struct {
	Name    string
	State   supervisor.State
	Pid     int
	Sources string // fingerprint of the sources and limits at its start
	Restart bool   // changed options are applied by a restart of that process
	Urgent  bool   // the restart must not wait for more changes: its memory limit is below what it may use
}

// Comparison is what a restart would change, and why.
type Comparison struct {
	Changes []string // "X instead of Y", "X is new", "X is gone"
	Limits  string   // how the limits have changed; empty: not
	Sources bool     // the sources have changed
}

// Services are the JVMs that a rollout compares and restarts.
type Services interface {
	// JVMs returns the services with a JVM.
	JVMs() []JVM
	// Digest returns the current fingerprint of the sources and limits of a service.
	Digest(ctx context.Context, name string) (string, error)
	// Compare describes what a restart would change. With an error it still says why.
	Compare(ctx context.Context, name string, pid int) (Comparison, error)
	// Renew restarts a service for a reason if its process is still pid.
	Renew(ctx context.Context, name string, pid int, reason string) error
	// Start starts a service that is FATAL.
	Start(ctx context.Context, name string) error
}

// PendingRestart is what a restart of a running JVM would change.
type PendingRestart struct {
	Changes []string `json:"changes,omitempty"`
	// Limits says how the limits have changed since the start; empty: not.
	Limits string `json:"limits,omitempty"`
	// Problem is why the sources are unusable, or the limits too low; a restart would fail.
	Problem string `json:"problem,omitempty"`
	// BlockedBy is a service that is not ready again after its restart; this one waits for it.
	BlockedBy string    `json:"held_by,omitempty"`
	Since     time.Time `json:"since"`
	pid       int       // the process that it refers to
	digest    string    // fingerprint of the sources and limits; empty: some are unreadable
	sources   bool      // the sources have changed
}

// maxShownChanges bounds what String prints.
const maxShownChanges = 5

// String describes the pending restart for a person.
func (p *PendingRestart) String() string {
	changes, begin := p.Changes, "restart to apply changed JVM options: "
	switch {
	case p.Problem != "" && p.Limits != "":
		return p.Limits + ": a restart would fail, and nothing is done: " + p.Problem
	case p.Problem != "":
		return "the changed JVM options cannot be used, and nothing is done: " + p.Problem
	case p.Limits != "":
		begin = p.Limits + ": "
		if p.sources {
			begin = p.Limits + ", and the JVM options have changed: "
		}
		changes = slices.Clone(p.Changes)
		if now, before, ok := strings.Cut(changes[0], " instead of "); ok {
			changes[0] = fmt.Sprintf("runs with %s, a restart would give %s", before, now)
		} else {
			changes[0] = "with a restart " + changes[0]
		}
	}
	text := begin + strings.Join(changes[:min(len(changes), maxShownChanges)], "; ")
	if more := len(changes) - maxShownChanges; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	if p.BlockedBy != "" {
		text += fmt.Sprintf("; it is left alone, since %q is not RUNNING after a restart for such a change", p.BlockedBy)
	}
	return text
}

// cause is the reason of a restart.
func (p *PendingRestart) cause() string {
	switch {
	case p.Limits == "":
		return SourcesChanged
	case p.sources:
		return SourcesChanged + " and of its limits"
	}
	return "a change of its limits"
}

// SourcesChanged is the reason of a restart after a change of the option sources.
const SourcesChanged = "a change of the sources of its JVM options"

// Rollout compares running JVMs with their sources when those may have changed. The goroutine of Run does all checks; others only read
// the result.
type Rollout struct {
	services Services
	log      hclog.Logger

	found      sync.Map            // service -> *PendingRestart
	attempts   map[string]*attempt // by service; used only by Run, like the fields below
	fatal      map[string]string   // by service in state FATAL: its fingerprint when that was first seen
	restarting string              // the service that was restarted and is not RUNNING yet; empty: none
	// failed means that the restarted service has not become ready.
	failed bool
}

// attempt is the latest restart of a service.
type attempt struct {
	at   time.Time
	pid  int           // the process that was ended
	wait time.Duration // delay before the next restart
	// matchSince is since when the process matches its sources; zero: it does not.
	matchSince time.Time
}

// New returns a Rollout without findings.
func New(services Services, log hclog.Logger) *Rollout {
	return &Rollout{services: services, log: log, attempts: map[string]*attempt{}, fatal: map[string]string{}}
}

// Clear forgets all findings. No Run may be active.
func (w *Rollout) Clear() { w.found.Clear() }

// Pending returns the finding for the process pid of a service; nil: it matches its sources.
func (w *Rollout) Pending(name string, pid int) *PendingRestart {
	found, _ := w.found.Load(name)
	if p, ok := found.(*PendingRestart); ok && p.pid == pid && pid != 0 {
		return p
	}
	return nil
}

// Run checks at every signal from changed until ctx ends. A restart follows when no change came for restartDelay.
func (w *Rollout) Run(ctx context.Context, changed <-chan struct{}) {
	w.found.Clear()
	look, apply := time.NewTimer(0), time.NewTimer(time.Hour) // the first check is immediate
	defer look.Stop()
	defer apply.Stop()
	apply.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-look.C:
		case <-apply.C:
			w.apply(ctx)
			look.Reset(recheckDelay) // check the result
			continue
		}
		look.Stop()
		again, due, urgent := w.check(ctx)
		if again > 0 {
			look.Reset(again)
		}
		switch {
		case urgent:
			apply.Reset(0)
		case due:
			apply.Reset(restartDelay)
		default:
			apply.Stop()
		}
	}
}

// check compares every JVM. again is the delay until the next check, 0 if none is needed. due means that a restart is needed and allowed,
// urgent that it must not wait for more changes.
func (w *Rollout) check(ctx context.Context) (again time.Duration, due, urgent bool) {
	within := func(d time.Duration) {
		if again == 0 || d < again {
			again = d
		}
	}
	jvms := w.services.JVMs()
	failed := w.finishRestart(jvms)
	for _, j := range jvms {
		if j.State != supervisor.Running { // its next start reads everything
			w.found.Delete(j.Name)
		}
		if j.State != supervisor.Fatal {
			delete(w.fatal, j.Name)
		}
		switch {
		case j.State == supervisor.Fatal: // retries are rare, and the change may be the fix
			w.retry(ctx, j.Name)
		case j.State == supervisor.Starting, // its command line may be older than the change
			j.State == supervisor.Stopping && w.attempts[j.Name] != nil: // this rollout restarted it
			within(recheckDelay)
		}
		if j.State != supervisor.Running {
			continue
		}
		p := w.compare(ctx, j)
		if ctx.Err() != nil {
			return 0, false, false
		}
		p = p.blockedBy(failed)
		w.logChange(j, p)
		if p == nil {
			w.found.Delete(j.Name)
		} else {
			w.found.Store(j.Name, p)
		}
		wait := w.wait(j, p)
		switch {
		case p != nil && p.digest == "":
			within(recheckDelay)
		case p == nil || p.Problem != "" || !j.Restart:
		case wait > 0:
			within(wait)
		case failed != "": // it may still become ready
			within(minRetryDelay)
		case w.restarting != "":
			within(recheckDelay)
		default:
			due, urgent = true, urgent || j.Urgent
		}
	}
	return again, due, urgent
}

// retry starts a service in state FATAL if its sources have changed since.
func (w *Rollout) retry(ctx context.Context, name string) {
	digest, err := w.services.Digest(ctx, name)
	if err != nil {
		digest = "cannot be read" // the error text may vary: ports, durations
	}
	before, known := w.fatal[name]
	w.fatal[name] = digest
	if !known || before == digest || ctx.Err() != nil {
		return
	}
	if err := w.services.Start(ctx, name); err != nil && ctx.Err() == nil {
		w.log.Warn("the sources of JVM options have changed, and the service cannot be started", "name", name, "error", err)
	}
}

// finishRestart clears restarting when that service is RUNNING again. Until then no other is restarted, since the same change could break
// all of them. failed is the service if its first start attempt failed.
func (w *Rollout) finishRestart(jvms []JVM) (failed string) {
	k := slices.IndexFunc(jvms, func(j JVM) bool { return j.Name == w.restarting })
	if k < 0 { // none, or it is no longer configured
		w.restarting, w.failed = "", false
		return ""
	}
	switch j, t := jvms[k], w.attempts[w.restarting]; j.State {
	case supervisor.Running:
		if j.Pid != t.pid || time.Since(t.at) >= recheckDelay { // otherwise the restart may still begin
			w.restarting, w.failed = "", false
		}
	case supervisor.Starting, supervisor.Stopping:
	default:
		w.failed = true
	}
	if w.failed {
		return w.restarting
	}
	return ""
}

// blockedBy returns a copy of p with the blocking service, or empty for none. Others may read p.
func (p *PendingRestart) blockedBy(name string) *PendingRestart {
	if p == nil || p.Problem != "" || p.BlockedBy == name {
		return p
	}
	held := *p
	held.BlockedBy = name
	return &held
}

// wait returns the time until a service may be restarted again. An attempt is forgotten once the process has matched its sources for that
// long.
func (w *Rollout) wait(j JVM, p *PendingRestart) time.Duration {
	t := w.attempts[j.Name]
	if t == nil {
		return 0
	}
	if p == nil {
		if t.matchSince.IsZero() && j.Pid != t.pid {
			t.matchSince = time.Now()
		}
		return 0
	}
	if !t.matchSince.IsZero() && time.Since(t.matchSince) >= t.wait {
		delete(w.attempts, j.Name)
		return 0
	}
	t.matchSince = time.Time{}
	return max(0, t.wait-time.Since(t.at))
}

// compare determines what a restart of a running JVM would change.
func (w *Rollout) compare(ctx context.Context, j JVM) *PendingRestart {
	p := &PendingRestart{Since: time.Now(), pid: j.Pid}
	old := w.Pending(j.Name, j.Pid)
	digest, err := w.services.Digest(ctx, j.Name)
	switch {
	case err == nil && digest == j.Sources:
		return nil
	case err == nil && old != nil && old.digest == digest: // rendering may run setenv.sh
		return old
	case err == nil:
		p.digest = digest
		var c Comparison
		c, err = w.services.Compare(ctx, j.Name, j.Pid)
		p.Changes, p.Limits, p.sources = c.Changes, c.Limits, c.Sources
	}
	switch {
	case err != nil:
		p.Problem = err.Error()
	case len(p.Changes) == 0: // such as an option that a stronger layer overrides
		return nil
	}
	if old != nil && old.String() == p.String() {
		p.Since = old.Since
	}
	return p
}

// logChange logs a new finding.
func (w *Rollout) logChange(j JVM, p *PendingRestart) {
	switch old := w.Pending(j.Name, j.Pid); {
	case p == nil && old != nil:
		w.log.Info("the sources of JVM options and the limits match the running service again", "name", j.Name)
	case p == nil || old != nil && old.String() == p.String():
	case p.Problem != "" && p.Limits != "":
		w.log.Error("the limits have changed and a restart would fail; the service runs on", "name", j.Name, "limits", p.Limits,
			"error", p.Problem)
	case p.Limits != "":
		w.log.Info("the limits have changed; a restart applies it", "name", j.Name, "pending", p.String())
	case p.Problem != "":
		w.log.Error("the sources of JVM options have changed and cannot be used; the service runs on", "name", j.Name, "error", p.Problem)
	default:
		w.log.Info("the sources of JVM options have changed; a restart applies it", "name", j.Name, "changes", p.Changes)
	}
}

// apply restarts one service whose options differ from its sources. The next one follows when it is RUNNING.
func (w *Rollout) apply(ctx context.Context) {
	jvms := w.services.JVMs()
	slices.SortStableFunc(jvms, func(a, b JVM) int { // the urgent ones first
		switch {
		case a.Urgent == b.Urgent:
			return 0
		case a.Urgent:
			return -1
		}
		return 1
	})
	if w.finishRestart(jvms); w.restarting != "" {
		return
	}
	for _, j := range jvms {
		p := w.Pending(j.Name, j.Pid)
		if p == nil || p.Problem != "" || j.State != supervisor.Running || w.wait(j, p) > 0 || !j.Restart {
			continue
		}
		next := &attempt{at: time.Now(), pid: j.Pid, wait: minRetryDelay}
		if t := w.attempts[j.Name]; t != nil {
			next.wait = min(2*t.wait, maxRetryDelay)
		}
		w.attempts[j.Name], w.restarting = next, j.Name
		if err := w.services.Renew(ctx, j.Name, j.Pid, p.cause()); err != nil && ctx.Err() == nil {
			w.log.Warn("the changed JVM options are not applied", "name", j.Name, "error", err)
		}
		return
	}
}
