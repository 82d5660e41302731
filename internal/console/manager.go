package console

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/fdstore"
)

// Options configure a Manager.
type Options struct {
	Config   Config
	Host     Host
	Store    Store
	Checker  access.Checker // nil: grants never end
	Auditor  Auditor        // nil: none
	Recorder Recorder       // nil: none
	Log      hclog.Logger
	// Items and Processes are what an earlier supervisor of this container has left; Processes are those of sessions, by ID.
	Items     fdstore.Items
	Processes map[string]Process
}

const (
	// IDPrefix begins the IDs of processes that are sessions. No service, hook or job has an ID with it.
	IDPrefix   = "console/"
	itemPrefix = "console/" // of items: a session with its descriptors
)

// maxEnded is how many sessions that have ended are listed.
const maxEnded = 64

// Manager opens sessions. It is safe for concurrent use.
type Manager struct {
	opts Options
	cfg  atomic.Pointer[Config]

	mu       sync.Mutex // guards what follows; no other is taken while it is held
	sessions map[string]*Session
	over     []*Session     // of sessions: those that have ended and wait for their clients, the oldest first
	open     map[string]int // how many sessions of an identity run or start
	ended    []Info         // the oldest first
	stopping bool
	metrics  Metrics // Opened, and the bytes of sessions that are forgotten
}

// New returns a Manager that goes on with the sessions of an earlier supervisor.
func New(o Options) *Manager {
	m := &Manager{opts: o, sessions: map[string]*Session{}, open: map[string]int{}, metrics: Metrics{Opened: map[string]int64{}}}
	m.cfg.Store(&o.Config)
	m.adopt()
	return m
}

// Configure applies another configuration. Of sessions that run it changes the limits Idle and MaxTime, and ends them if the console is
// switched off; the rest is for what is opened or attached later.
func (m *Manager) Configure(c Config) {
	m.cfg.Store(&c)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		poke(s.wake)
	}
}

func (m *Manager) config() Config { return *m.cfg.Load() }

// Enabled reports whether the console is on.
func (m *Manager) Enabled() bool { return m.config().Enabled }

// changed is the channel of the Checker; nil: there is none.
func (m *Manager) changed() <-chan struct{} {
	if m.opts.Checker == nil {
		return nil
	}
	return m.opts.Checker.Changed()
}

// audit writes the end of a session, or of the attempt to open one.
func (m *Manager) audit(e Entry) {
	if m.opts.Auditor != nil {
		m.opts.Auditor.End(e)
	}
}

// Session returns a session that runs, or that has ended with output that its client has not read. Otherwise the error is
// ErrNoSession, or ErrOff.
func (m *Manager) Session(id string) (*Session, error) {
	if !m.Enabled() {
		return nil, ErrOff
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sessions[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %.40q", ErrNoSession, id)
}

// Sessions returns the sessions that run and the last 64 that have ended, newest first.
func (m *Manager) Sessions() []Info {
	m.mu.Lock()
	current := slices.Collect(maps.Values(m.sessions))
	out := slices.Clone(m.ended)
	m.mu.Unlock()
	for _, s := range current {
		out = append(out, s.Info())
	}
	slices.SortStableFunc(out, func(a, b Info) int { return b.Started.Compare(a.Started) })
	return out
}

// Stop ends all sessions, and opens no more: the container stops. It waits until they have ended or ctx has.
func (m *Manager) Stop(ctx context.Context) {
	m.mu.Lock()
	m.stopping = true
	all := slices.Collect(maps.Values(m.sessions))
	m.mu.Unlock()
	for _, s := range all {
		s.End("the container stops")
	}
	for _, s := range all {
		select {
		case <-s.done:
		case <-ctx.Done():
			return
		}
	}
}

// End ends a session, and returns when it has ended or ctx is done.
func (m *Manager) End(ctx context.Context, id, why string) {
	s, err := m.Session(id)
	if err != nil {
		return
	}
	s.End(why)
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
}

// reserve counts a session that is to be opened, if the limits allow.
func (m *Manager) reserve(by string) error {
	c := m.config()
	m.mu.Lock()
	defer m.mu.Unlock()
	all := 0
	for _, n := range m.open {
		all += n
	}
	switch {
	case m.stopping:
		return fmt.Errorf("%w: the container stops", ErrUnavailable)
	case all >= c.Sessions:
		return &LimitError{"console.sessions", fmt.Sprintf("%d sessions run", all)}
	case m.open[by] >= c.SessionsPerClient:
		return &LimitError{"console.sessions_per_client", fmt.Sprintf("%d sessions of %s run", m.open[by], by)}
	}
	m.open[by]++
	return nil
}

// free ends the reservation of a session.
func (m *Manager) free(by string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open[by]--; m.open[by] == 0 {
		delete(m.open, by)
	}
}

// start begins to serve a session.
func (m *Manager) start(s *Session) {
	m.mu.Lock()
	m.sessions[s.id] = s
	stopping := m.stopping
	m.mu.Unlock()
	if stopping {
		s.End("the container stops")
	}
	for k, c := range s.sources {
		if c != nil {
			s.pumps.Add(1)
			go s.pump(k) // ends with the output, or with finish
		}
	}
	if s.in.err == nil {
		go s.feed() // ends with the session
	}
	go s.run() // ends when the session has ended, and its client has read its output or had time to
}

// isOver notes that a session waits for its client only. No more of these are kept than may run.
func (m *Manager) isOver(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = append(m.over, s)
	for len(m.over) > m.config().Sessions {
		go m.over[0].discard() // ends at once; it takes the session's mu
		m.over = slices.Delete(m.over, 0, 1)
	}
}

// discard drops what the clients of a session that has ended have not read, and their links.
func (s *Session) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unwanted = true
	for l := range s.links {
		s.drop(l, fmt.Errorf("%w: it has ended, and made room for others", ErrNoSession))
	}
	poke(s.wake)
}

// forget leaves only the Info of a session.
func (m *Manager) forget(s *Session) {
	info := s.Info()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, s.id)
	m.metrics.add(info)
	m.over = slices.DeleteFunc(m.over, func(o *Session) bool { return o == s })
	if m.ended = append(m.ended, info); len(m.ended) > maxEnded {
		m.ended = slices.Delete(m.ended, 0, len(m.ended)-maxEnded)
	}
}

// newSession makes a session without a process.
func (m *Manager) newSession(id string, v saved) *Session {
	s := &Session{m: m, id: id, saved: v, links: map[*Link]bool{}, wake: make(chan struct{}, 1), done: make(chan struct{}),
		alone: time.Now(), active: time.Now(), patience: firstClient}
	for k := range s.room {
		s.room[k] = make(chan struct{}, 1)
	}
	return s
}
