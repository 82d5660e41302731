package main

import (
	"context"
	"fmt"
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
	// compare says what a restart would change, in words for people; key is the same
	// for the same outcome.
	compare(ctx context.Context, name string, pid int) (changes []string, key string, err error)
	// renew restarts a service if it still runs as process pid.
	renew(ctx context.Context, name string, pid int) error
	// restarts says whether a change is to be applied by a restart.
	restarts() bool
}

// pending is what a restart of a running JVM would change.
type pending struct {
	Changes []string `json:"changes,omitempty"`
	// Problem is why the sources cannot be used as they are; a restart would not
	// start anything.
	Problem string    `json:"problem,omitempty"`
	Since   time.Time `json:"since"`
	pid     int       // of the process that it speaks of
	key     string    // of the outcome
	digest  string    // of the sources; empty: they cannot all be read
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
	return "restart to apply changed JVM options: " + text
}

// sourceWatch compares running JVMs with what their sources say, whenever those may
// have changed. One goroutine, run, looks; others read.
type sourceWatch struct {
	world jvmWorld
	log   hclog.Logger

	mu      sync.Mutex // guards found
	found   map[string]*pending
	applied map[string]string // service -> outcome that it was restarted for; of run alone
}

func newSourceWatch(world jvmWorld, log hclog.Logger) *sourceWatch {
	return &sourceWatch{world: world, log: log, found: map[string]*pending{}, applied: map[string]string{}}
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
			continue
		}
		look.Stop()
		open, due := w.look(ctx)
		if open {
			look.Reset(laterLook)
		}
		if due && w.world.restarts() {
			apply.Reset(restartDelay)
		} else {
			apply.Stop()
		}
	}
}

// look compares every JVM. open says that it has to look again by itself, due that
// a restart would change something.
func (w *sourceWatch) look(ctx context.Context) (open, due bool) {
	for _, j := range w.world.jvms() {
		switch j.state {
		case supervisor.Running:
			p := w.compare(ctx, j)
			if ctx.Err() != nil {
				return false, false
			}
			w.tell(j, p)
			w.set(j.name, p)
			open = open || p != nil && p.digest == ""
			due = due || p != nil && p.Problem == "" && w.applied[j.name] != p.key
		case supervisor.Starting: // its command line may have been made before the change
			open = true
		default: // the next start reads everything anew
			w.set(j.name, nil)
		}
	}
	return open, due
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
		p.Changes, p.key, err = w.world.compare(ctx, j.name, j.pid)
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

// apply restarts what runs with other options than the sources give: each outcome
// once.
func (w *sourceWatch) apply(ctx context.Context) {
	for _, j := range w.world.jvms() {
		p := w.pending(j.name, j.pid)
		if p == nil || p.Problem != "" || j.state != supervisor.Running || w.applied[j.name] == p.key {
			continue
		}
		w.applied[j.name] = p.key
		if err := w.world.renew(ctx, j.name, j.pid); err != nil && ctx.Err() == nil {
			w.log.Warn("the changed JVM options are not applied", "name", j.name, "error", err)
		}
	}
}
