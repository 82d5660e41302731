package console

import (
	"context"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
)

// Options configure a Manager.
type Options struct {
	Config   Config
	Host     Host
	Store    *fdstore.Store
	Checker  access.Checker // nil: grants never end
	Auditor  Auditor        // nil: none
	Recorder Recorder       // nil: none
	Log      hclog.Logger
	// Items and Processes are what an earlier supervisor of this container has left; Processes are those of sessions, by ID.
	Items     fdstore.Items
	Processes map[string]*proc.Process
}

// Host is the container in which sessions run.
type Host interface {
	// Prepare returns how a session is started, or a *SpecError.
	Prepare(spec Spec) (Launch, error)
	Start(ctx context.Context, spec proc.Spec) (*proc.Process, error)
}

// Launch is how a session is started.
type Launch struct {
	Spec proc.Spec // without ID and Stdio
	User string    // the name of the user
	// Admin is why the session needs the grant admin; empty: it does not.
	Admin string
}

// IDPrefix begins the IDs of processes that are sessions.
const IDPrefix = "console."

// Manager opens sessions. It is safe for concurrent use.
type Manager struct {
	opts Options
	cfg  atomic.Pointer[Config]
}

// New returns a Manager that goes on with the sessions of an earlier supervisor.
func New(o Options) *Manager {
	m := &Manager{opts: o}
	m.cfg.Store(&o.Config)
	return m
}

// Configure applies another configuration. Sessions that run keep their scrollback; all other limits apply to them too.
func (m *Manager) Configure(c Config) { m.cfg.Store(&c) }

// Enabled reports whether the console is on.
func (m *Manager) Enabled() bool { return m.cfg.Load().Enabled }

// Open starts the process of a session. The caller attaches at once: a session that had no client for 30 s is ended.
//
// The errors are ErrOff, *SpecError, ErrNotAllowed, *LimitError, ErrUnavailable, and *program.StartError of a program that is missing
// or cannot be executed.
func (m *Manager) Open(ctx context.Context, spec Spec, by access.Identity) (*Session, error) {
	return nil, ErrOff
}

// Session returns a session that runs, or that has ended with output that its client has not read. Otherwise the error is
// ErrNoSession.
func (m *Manager) Session(id string) (*Session, error) { return nil, ErrNoSession }

// Sessions returns the sessions that run and the last 64 that have ended, newest first.
func (m *Manager) Sessions() []Info { return nil }

// Stop ends all sessions, and opens no more: the container stops. It waits until they have ended or ctx has.
func (m *Manager) Stop(ctx context.Context) {}
