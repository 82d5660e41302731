package launch

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

// Times of a rollout.
const (
	// restartDelay is how long nothing may change before a restart: several changes
	// are one.
	restartDelay = 2 * time.Second
	// laterLook is when it looks again at what could not be decided: a service that
	// is still starting, a source that cannot be read.
	laterLook = 10 * time.Second
	// retryFirst and retryMost bound the time between two restarts of a service whose
	// sources say another thing again and again, such as replicas that disagree.
	retryFirst = time.Minute
	retryMost  = time.Hour
)

// JVM is a service with a JVM as a rollout sees it.
type JVM struct {
	Name    string
	State   supervisor.State
	Pid     int
	Sources string // the fingerprint that it was started with
	restart bool   // changed options are applied by a restart of that process
}

// services are the JVMs that a rollout compares and restarts.
type services interface {
	// JVMs are the services with a JVM.
	JVMs() []JVM
	// Digest is the fingerprint that the sources of a service have now.
	Digest(ctx context.Context, name string) (string, error)
	// Compare says what a restart would change, in words for people.
	Compare(ctx context.Context, name string, pid int) (changes []string, err error)
	// renew restarts a service if it still runs as process pid.
	renew(ctx context.Context, name string, pid int) error
	// start starts a service that is FATAL.
	start(ctx context.Context, name string) error
}

// PendingRestart is what a restart of a running JVM would change.
type PendingRestart struct {
	Changes []string `json:"changes,omitempty"`
	// Problem is why the sources cannot be used as they are; a restart would not
	// start anything.
	Problem string `json:"problem,omitempty"`
	// BlockedBy is the service that has not come up from its restart for such a change;
	// this one is left alone meanwhile.
	BlockedBy string    `json:"held_by,omitempty"`
	Since     time.Time `json:"since"`
	pid       int       // of the process that it speaks of
	digest    string    // of the sources; empty: they cannot all be read
}

// maxShownChanges bounds what String prints.
const maxShownChanges = 5

// String says it for people.
func (p *PendingRestart) String() string {
	if p.Problem != "" {
		return "the changed JVM options cannot be used, and nothing is done: " + p.Problem
	}
	text := strings.Join(p.Changes[:min(len(p.Changes), maxShownChanges)], "; ")
	if more := len(p.Changes) - maxShownChanges; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	if p.BlockedBy != "" {
		text += fmt.Sprintf("; it is left alone, since %q is not RUNNING after a restart for such a change", p.BlockedBy)
	}
	return "restart to apply changed JVM options: " + text
}

// rollout compares running JVMs with what their sources say, whenever those may
// have changed. One goroutine, run, looks; others read.
type rollout struct {
	services services
	log      hclog.Logger

	mu         sync.Mutex // guards found
	found      map[string]*PendingRestart
	attempts   map[string]*attempt // by service; of run alone, as the next
	fatal      map[string]string   // by service that is FATAL: the fingerprint that its sources had when that was first seen
	restarting string              // the service that was restarted and is not RUNNING yet; empty: none
	// failed says that it has not come up.
	failed bool
}

// attempt is the latest restart of a service.
type attempt struct {
	at   time.Time
	pid  int           // of the process that it ended
	wait time.Duration // until another one
	// agreed is since when the process has what the sources say; zero: it has not.
	agreed time.Time
}

func newRollout(world services, log hclog.Logger) *rollout {
	return &rollout{services: world, log: log, found: map[string]*PendingRestart{}, attempts: map[string]*attempt{},
		fatal: map[string]string{}}
}

// pending is what is known of the process pid of a service; nil: it has what the
// sources say.
func (w *rollout) pending(name string, pid int) *PendingRestart {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.found[name]; p != nil && p.pid == pid && pid != 0 {
		return p
	}
	return nil
}

// forget drops what was found: nothing is checked for a while.
func (w *rollout) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.found)
}

func (w *rollout) set(name string, p *PendingRestart) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == nil {
		delete(w.found, name)
		return
	}
	w.found[name] = p
}

// run looks whenever changed has something, until ctx ends. A restart follows when
// no change came for restartDelay.
func (w *rollout) run(ctx context.Context, changed <-chan struct{}) {
	w.forget()
	look, apply := time.NewTimer(0), time.NewTimer(time.Hour) // it begins with a look
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
			look.Reset(laterLook) // at what became of it
			continue
		}
		look.Stop()
		again, due := w.check(ctx)
		if again > 0 {
			look.Reset(again)
		}
		if due {
			apply.Reset(restartDelay)
		} else {
			apply.Stop()
		}
	}
}

// check compares every JVM. again is when it has to look again by itself, 0: it need
// not; due says that a restart would change something, and may be.
func (w *rollout) check(ctx context.Context) (again time.Duration, due bool) {
	within := func(d time.Duration) {
		if again == 0 || d < again {
			again = d
		}
	}
	jvms := w.services.JVMs()
	failed := w.finishRestart(jvms)
	for _, j := range jvms {
		if j.State != supervisor.Fatal {
			delete(w.fatal, j.Name)
		}
		switch j.State {
		case supervisor.Running:
			p := w.compare(ctx, j)
			if ctx.Err() != nil {
				return 0, false
			}
			p = p.blockedBy(failed)
			w.logChange(j, p)
			w.set(j.Name, p)
			wait := w.wait(j, p)
			switch {
			case p != nil && p.digest == "":
				within(laterLook)
			case p == nil || p.Problem != "" || !j.restart:
			case wait > 0:
				within(wait)
			case failed != "": // it may come up after all
				within(retryFirst)
			case w.restarting != "":
				within(laterLook)
			default:
				due = true
			}
		case supervisor.Starting: // its command line may have been made before the change
			within(laterLook)
		case supervisor.Stopping:
			if w.attempts[j.Name] != nil { // it is our restart
				within(laterLook)
			}
			w.set(j.Name, nil)
		case supervisor.Fatal: // it is tried rarely, and the change may be the repair
			w.set(j.Name, nil)
			w.retry(ctx, j.Name)
		default: // its next start reads everything
			w.set(j.Name, nil)
		}
	}
	return again, due
}

// retry starts a service that is FATAL if its sources have changed since.
func (w *rollout) retry(ctx context.Context, name string) {
	digest, err := w.services.Digest(ctx, name)
	if err != nil {
		digest = "cannot be read" // of an error the text may differ each time: ports, durations
	}
	before, known := w.fatal[name]
	w.fatal[name] = digest
	if !known || before == digest || ctx.Err() != nil {
		return
	}
	if err := w.services.start(ctx, name); err != nil && ctx.Err() == nil {
		w.log.Warn("the sources of JVM options have changed, and the service cannot be started", "name", name, "error", err)
	}
}

// finishRestart ends the turn of a service that is RUNNING again. Until then no other is
// restarted: what keeps one from coming up may keep all. failed is the one that has
// not come up at the first try; who tries again has not, either.
func (w *rollout) finishRestart(jvms []JVM) (failed string) {
	k := slices.IndexFunc(jvms, func(j JVM) bool { return j.Name == w.restarting })
	if k < 0 { // there is none, or it has left the configuration
		w.restarting, w.failed = "", false
		return ""
	}
	switch j, t := jvms[k], w.attempts[w.restarting]; j.State {
	case supervisor.Running:
		if j.Pid != t.pid || time.Since(t.at) >= laterLook { // else the restart may still begin
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

// blockedBy is p with the service that holds it, empty: none. Others may read p.
func (p *PendingRestart) blockedBy(name string) *PendingRestart {
	if p == nil || p.Problem != "" || p.BlockedBy == name {
		return p
	}
	held := *p
	held.BlockedBy = name
	return &held
}

// wait is how long a service must not be restarted again. A try is forgotten when
// the process has had what the sources say for as long as that.
func (w *rollout) wait(j JVM, p *PendingRestart) time.Duration {
	t := w.attempts[j.Name]
	if t == nil {
		return 0
	}
	if p == nil {
		if t.agreed.IsZero() && j.Pid != t.pid {
			t.agreed = time.Now()
		}
		return 0
	}
	if !t.agreed.IsZero() && time.Since(t.agreed) >= t.wait {
		delete(w.attempts, j.Name)
		return 0
	}
	t.agreed = time.Time{}
	return max(0, t.wait-time.Since(t.at))
}

// compare finds out what a restart of a running JVM would change.
func (w *rollout) compare(ctx context.Context, j JVM) *PendingRestart {
	p := &PendingRestart{Since: time.Now(), pid: j.Pid}
	old := w.pending(j.Name, j.Pid)
	digest, err := w.services.Digest(ctx, j.Name)
	switch {
	case err == nil && digest == j.Sources:
		return nil
	case err == nil && old != nil && old.digest == digest: // to render may run setenv.sh
		return old
	case err == nil:
		p.digest = digest
		p.Changes, err = w.services.Compare(ctx, j.Name, j.Pid)
	}
	switch {
	case err != nil:
		p.Problem = err.Error()
	case len(p.Changes) == 0: // such as another comment
		return nil
	}
	if old != nil && old.String() == p.String() {
		p.Since = old.Since
	}
	return p
}

// logChange logs what is new.
func (w *rollout) logChange(j JVM, p *PendingRestart) {
	switch old := w.pending(j.Name, j.Pid); {
	case p == nil && old != nil:
		w.log.Info("the sources of JVM options are again what the service was started with", "name", j.Name)
	case p == nil || old != nil && old.String() == p.String():
	case p.Problem != "":
		w.log.Error("the sources of JVM options have changed and cannot be used; the service runs on", "name", j.Name, "error", p.Problem)
	default:
		w.log.Info("the sources of JVM options have changed; a restart applies it", "name", j.Name, "changes", p.Changes)
	}
}

// apply restarts a service that runs with other options than the sources give. The
// others follow when that one is RUNNING.
func (w *rollout) apply(ctx context.Context) {
	jvms := w.services.JVMs()
	if w.finishRestart(jvms); w.restarting != "" {
		return
	}
	for _, j := range jvms {
		p := w.pending(j.Name, j.Pid)
		if p == nil || p.Problem != "" || j.State != supervisor.Running || w.wait(j, p) > 0 || !j.restart {
			continue
		}
		next := &attempt{at: time.Now(), pid: j.Pid, wait: retryFirst}
		if t := w.attempts[j.Name]; t != nil {
			next.wait = min(2*t.wait, retryMost)
		}
		w.attempts[j.Name], w.restarting = next, j.Name
		if err := w.services.renew(ctx, j.Name, j.Pid); err != nil && ctx.Err() == nil {
			w.log.Warn("the changed JVM options are not applied", "name", j.Name, "error", err)
		}
		return
	}
}
