package daemon

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

// Times of a sourceWatch.
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

// runningJVM is a service with a JVM as a sourceWatch sees it.
type runningJVM struct {
	name    string
	state   supervisor.State
	pid     int
	sources string // the fingerprint that it was started with
}

// jvmWorld is what a sourceWatch looks at and acts on.
type jvmWorld interface {
	// jvms are the services with a JVM.
	jvms() []runningJVM
	// digest is the fingerprint that the sources of a service have now.
	digest(ctx context.Context, name string) (string, error)
	// compare says what a restart would change, in words for people.
	compare(ctx context.Context, name string, pid int) (changes []string, err error)
	// renew restarts a service if it still runs as process pid.
	renew(ctx context.Context, name string, pid int) error
	// start starts a service that is FATAL.
	start(ctx context.Context, name string) error
	// restarts says whether a change is to be applied by a restart of that process.
	restarts(name string, pid int) bool
}

// pending is what a restart of a running JVM would change.
type pending struct {
	Changes []string `json:"changes,omitempty"`
	// Problem is why the sources cannot be used as they are; a restart would not
	// start anything.
	Problem string `json:"problem,omitempty"`
	// Held is the service that has not come up from its restart for such a change;
	// this one is left alone meanwhile.
	Held   string    `json:"held_by,omitempty"`
	Since  time.Time `json:"since"`
	pid    int       // of the process that it speaks of
	digest string    // of the sources; empty: they cannot all be read
}

// maxShownChanges bounds what String prints.
const maxShownChanges = 5

// String says it for people.
func (p *pending) String() string {
	if p.Problem != "" {
		return "the changed JVM options cannot be used, and nothing is done: " + p.Problem
	}
	text := strings.Join(p.Changes[:min(len(p.Changes), maxShownChanges)], "; ")
	if more := len(p.Changes) - maxShownChanges; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	if p.Held != "" {
		text += fmt.Sprintf("; it is left alone, since %q is not RUNNING after a restart for such a change", p.Held)
	}
	return "restart to apply changed JVM options: " + text
}

// sourceWatch compares running JVMs with what their sources say, whenever those may
// have changed. One goroutine, run, looks; others read.
type sourceWatch struct {
	world jvmWorld
	log   hclog.Logger

	mu    sync.Mutex // guards found
	found map[string]*pending
	tries map[string]*try   // by service; of run alone, as the next
	fatal map[string]string // by service that is FATAL: the fingerprint that its sources had when that was first seen
	turn  string            // the service that was restarted and is not RUNNING yet; empty: none
	// failed says that it has not come up.
	failed bool
}

// try is the latest restart of a service.
type try struct {
	at   time.Time
	pid  int           // of the process that it ended
	wait time.Duration // until another one
	// agreed is since when the process has what the sources say; zero: it has not.
	agreed time.Time
}

func newSourceWatch(world jvmWorld, log hclog.Logger) *sourceWatch {
	return &sourceWatch{world: world, log: log, found: map[string]*pending{}, tries: map[string]*try{}, fatal: map[string]string{}}
}

// pending is what is known of the process pid of a service; nil: it has what the
// sources say.
func (w *sourceWatch) pending(name string, pid int) *pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.found[name]; p != nil && p.pid == pid && pid != 0 {
		return p
	}
	return nil
}

// forget is for a time in which nobody looks.
func (w *sourceWatch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.found)
}

func (w *sourceWatch) set(name string, p *pending) {
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
func (w *sourceWatch) run(ctx context.Context, changed <-chan struct{}) {
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
		again, due := w.look(ctx)
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

// look compares every JVM. again is when it has to look again by itself, 0: it need
// not; due says that a restart would change something, and may be.
func (w *sourceWatch) look(ctx context.Context) (again time.Duration, due bool) {
	within := func(d time.Duration) {
		if again == 0 || d < again {
			again = d
		}
	}
	jvms := w.world.jvms()
	failed := w.endTurn(jvms)
	for _, j := range jvms {
		if j.state != supervisor.Fatal {
			delete(w.fatal, j.name)
		}
		switch j.state {
		case supervisor.Running:
			p := w.compare(ctx, j)
			if ctx.Err() != nil {
				return 0, false
			}
			p = p.heldBy(failed)
			w.tell(j, p)
			w.set(j.name, p)
			wait := w.wait(j, p)
			switch {
			case p != nil && p.digest == "":
				within(laterLook)
			case p == nil || p.Problem != "" || !w.world.restarts(j.name, j.pid):
			case wait > 0:
				within(wait)
			case failed != "": // it may come up after all
				within(retryFirst)
			case w.turn != "":
				within(laterLook)
			default:
				due = true
			}
		case supervisor.Starting: // its command line may have been made before the change
			within(laterLook)
		case supervisor.Stopping:
			if w.tries[j.name] != nil { // it is our restart
				within(laterLook)
			}
			w.set(j.name, nil)
		case supervisor.Fatal: // it is tried rarely, and the change may be the repair
			w.set(j.name, nil)
			w.retry(ctx, j.name)
		default: // the next start reads everything anew
			w.set(j.name, nil)
		}
	}
	return again, due
}

// retry starts a service that is FATAL if its sources have changed since.
func (w *sourceWatch) retry(ctx context.Context, name string) {
	digest, err := w.world.digest(ctx, name)
	if err != nil {
		digest = "cannot be read" // of an error the text may differ each time: ports, durations
	}
	before, known := w.fatal[name]
	w.fatal[name] = digest
	if !known || before == digest || ctx.Err() != nil {
		return
	}
	if err := w.world.start(ctx, name); err != nil && ctx.Err() == nil {
		w.log.Warn("the sources of JVM options have changed, and the service cannot be started", "name", name, "error", err)
	}
}

// endTurn ends the turn of a service that is RUNNING again. Until then no other is
// restarted: what keeps one from coming up may keep all. failed is the one that has
// not come up at the first try; who tries again has not, either.
func (w *sourceWatch) endTurn(jvms []runningJVM) (failed string) {
	k := slices.IndexFunc(jvms, func(j runningJVM) bool { return j.name == w.turn })
	if k < 0 { // there is none, or it has left the configuration
		w.turn, w.failed = "", false
		return ""
	}
	switch j, t := jvms[k], w.tries[w.turn]; j.state {
	case supervisor.Running:
		if j.pid != t.pid || time.Since(t.at) >= laterLook { // else the restart may still begin
			w.turn, w.failed = "", false
		}
	case supervisor.Starting, supervisor.Stopping:
	default:
		w.failed = true
	}
	if w.failed {
		return w.turn
	}
	return ""
}

// heldBy is p with the service that holds it, empty: none. Others may read p.
func (p *pending) heldBy(name string) *pending {
	if p == nil || p.Problem != "" || p.Held == name {
		return p
	}
	held := *p
	held.Held = name
	return &held
}

// wait is how long a service must not be restarted again. A try is forgotten when
// the process has had what the sources say for as long as that.
func (w *sourceWatch) wait(j runningJVM, p *pending) time.Duration {
	t := w.tries[j.name]
	if t == nil {
		return 0
	}
	if p == nil {
		if t.agreed.IsZero() && j.pid != t.pid {
			t.agreed = time.Now()
		}
		return 0
	}
	if !t.agreed.IsZero() && time.Since(t.agreed) >= t.wait {
		delete(w.tries, j.name)
		return 0
	}
	t.agreed = time.Time{}
	return max(0, t.wait-time.Since(t.at))
}

// compare finds out what a restart of a running JVM would change.
func (w *sourceWatch) compare(ctx context.Context, j runningJVM) *pending {
	p := &pending{Since: time.Now(), pid: j.pid}
	old := w.pending(j.name, j.pid)
	digest, err := w.world.digest(ctx, j.name)
	switch {
	case err == nil && digest == j.sources:
		return nil
	case err == nil && old != nil && old.digest == digest: // to render may run setenv.sh
		return old
	case err == nil:
		p.digest = digest
		p.Changes, err = w.world.compare(ctx, j.name, j.pid)
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

// tell logs what is new.
func (w *sourceWatch) tell(j runningJVM, p *pending) {
	switch old := w.pending(j.name, j.pid); {
	case p == nil && old != nil:
		w.log.Info("the sources of JVM options are again what the service was started with", "name", j.name)
	case p == nil || old != nil && old.String() == p.String():
	case p.Problem != "":
		w.log.Error("the sources of JVM options have changed and cannot be used; the service runs on", "name", j.name, "error", p.Problem)
	default:
		w.log.Info("the sources of JVM options have changed; a restart applies it", "name", j.name, "changes", p.Changes)
	}
}

// apply restarts a service that runs with other options than the sources give. The
// others follow when that one is RUNNING.
func (w *sourceWatch) apply(ctx context.Context) {
	jvms := w.world.jvms()
	if w.endTurn(jvms); w.turn != "" {
		return
	}
	for _, j := range jvms {
		p := w.pending(j.name, j.pid)
		if p == nil || p.Problem != "" || j.state != supervisor.Running || w.wait(j, p) > 0 || !w.world.restarts(j.name, j.pid) {
			continue
		}
		next := &try{at: time.Now(), pid: j.pid, wait: retryFirst}
		if t := w.tries[j.name]; t != nil {
			next.wait = min(2*t.wait, retryMost)
		}
		w.tries[j.name], w.turn = next, j.name
		if err := w.world.renew(ctx, j.name, j.pid); err != nil && ctx.Err() == nil {
			w.log.Warn("the changed JVM options are not applied", "name", j.name, "error", err)
		}
		return
	}
}
