package console

import (
	"fmt"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/access"
)

// Streams of output, as indices and as Chunk.Stream.
const (
	Stdout = 1 // of a terminal: all its output
	Stderr = 2
)

// Session is a process and its clients. It is safe for concurrent use.
type Session struct {
	m         *Manager
	id        string
	proc      Process
	sources   [3]*source // by stream; nil: there is none
	pumps     sync.WaitGroup
	in        *input
	recording Recording        // nil: none
	room      [3]chan struct{} // wakes a pump that waits for the holder
	wake      chan struct{}    // wakes run
	done      chan struct{}    // closed when all has ended

	mu       sync.Mutex // guards what follows and the ring; held over calls of the kernel that do not wait
	saved    saved
	opened   bool // who opened it here has not attached yet
	ring     *ring
	links    map[*Link]bool
	holder   *Link
	alone    time.Time     // since when there has been no client; zero: there is one
	patience time.Duration // how long it goes on without one
	active   time.Time     // the last input or output
	awaited  time.Time     // until when output waits for a holder that is expected; zero: it does not
	ending   string        // why it has to end; empty: it has not
	exited   bool          // its process has
	forced   bool          // output does not wait for the holder
	ended    bool          // all of it has
	read     bool          // a holder has read all output
	unwanted bool          // it has ended, and makes room for others: attaching is refused
}

// saved is what the next supervisor has to know of a session.
type saved struct {
	Info
	Identity access.Kept // who opened it, as last seen
	Admin    bool        // it needs the grant admin
	Files    []string    // what the descriptors of the item are
	OOMKills *uint64     // when it started; nil: unknown
}

// ID identifies the session in the API. It is no secret and no credential.
func (s *Session) ID() string { return s.id }

// Done is closed when the session has ended: all its processes are gone, and Info has the Exit.
func (s *Session) Done() <-chan struct{} { return s.done }

// Info returns what the session is now.
func (s *Session) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info()
}

// info is Info; mu is held.
func (s *Session) info() Info {
	out := s.saved.Info
	if s.holder != nil {
		out.Holder = s.holder.by.Name
	}
	out.Viewers = s.viewers()
	if !s.alone.IsZero() && !s.ended {
		since := s.alone
		out.DetachedSince = &since
	}
	if s.ring != nil {
		s.count(&out)
	}
	return out
}

// count notes how much went through the ring; mu is held.
func (s *Session) count(out *Info) {
	h := s.ring.h
	out.StdinBytes, out.StdoutBytes, out.StderrBytes = h.taken, h.end[Stdout], h.end[Stderr]
}

// viewers counts the links that have no keyboard; mu is held.
func (s *Session) viewers() int {
	if s.holder != nil {
		return len(s.links) - 1
	}
	return len(s.links)
}

func (s *Session) isExited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exited
}

// maxLinks is how many clients a session has at most.
const maxLinks = 32

// Attach gives a client a link. The client is the one that opened it, has the grant admin, or has exec and may run the command.
// Other errors than ErrNotAllowed are ErrHeld, ErrNoSession and *LimitError.
func (s *Session) Attach(by access.Identity, o Attach) (*Link, error) {
	l, first, err := s.attach(by, o)
	if !first && s.m.opts.Auditor != nil {
		s.m.opts.Auditor.Attached(Entry{Info: s.Info(), Identity: by, Mode: o.Mode.String(), Error: err})
	}
	return l, err
}

func (s *Session) attach(by access.Identity, o Attach) (l *Link, first bool, err error) {
	if err := s.m.mayAttach(s, by); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ring == nil || s.unwanted:
		return nil, false, fmt.Errorf("%w: %s has ended", ErrNoSession, s.id)
	case len(s.links) >= maxLinks:
		return nil, false, &LimitError{"clients of a session", fmt.Sprintf("%d are attached", maxLinks)}
	case o.Mode == Hold && s.holder != nil:
		return nil, false, fmt.Errorf("%w: %s", ErrHeld, s.holder.by.Name)
	}
	l = &Link{s: s, by: by, window: o.Window, wake: make(chan struct{}, 1), gone: make(chan struct{}), notices: make(chan Notice, 1),
		seen: Everything()}
	for k := Stdout; k <= Stderr; k++ {
		l.next[k] = min(max(o.From[k], s.ring.start(k)), s.ring.h.end[k])
		if o.From[k] >= 0 && o.From[k] < l.next[k] {
			l.next[k] = o.From[k] // Next shows the gap
		}
		l.acked[k] = l.next[k]
	}
	if o.Mode != View {
		if s.holder != nil {
			s.drop(s.holder, fmt.Errorf("%w by %s", ErrTaken, by.Name))
		}
		s.holder, s.read, s.awaited = l, false, time.Time{}
		s.ring.h.held, s.ring.h.need = 1, l.next
		s.in.clear()
	}
	if s.ended {
		l.end()
	}
	if by.Name == s.saved.By {
		first, s.opened = s.opened, false
		s.prove(by)
	}
	s.links[l], s.alone = true, time.Time{}
	s.patience = time.Duration(s.saved.Keep)
	s.changed()
	return l, first, nil
}

// prove notes by what the client that opened the session is known now: it may have logged in again. mu is held.
func (s *Session) prove(by access.Identity) {
	if s.saved.Identity.Identity == by {
		return
	}
	s.saved.Identity.Identity = by
	if s.saved.Exit != nil {
		return // nothing is left to end
	}
	if err := s.store(); err != nil {
		s.m.opts.Log.Error("the next supervisor knows an earlier login of who opened a session only", "session", s.id, "error", err)
	}
}

// drop ends a link from this side; mu is held.
func (s *Session) drop(l *Link, why error) {
	if !s.links[l] {
		return
	}
	l.err = why
	l.end()
	poke(l.wake)
	s.remove(l)
}

// remove forgets a link; mu is held.
func (s *Session) remove(l *Link) {
	delete(s.links, l)
	held := s.holder == l
	if held {
		s.holder = nil
		s.in.clear()
		s.awaited = time.Now().Add(holderTime)
	}
	if len(s.links) == 0 {
		s.alone = time.Now()
	}
	if s.saved.Keep == 0 && (held || len(s.links) == 0) && l.err == nil {
		s.end("its client is gone")
	}
	s.changed()
}

// changed tells everybody that the clients or the state have changed; mu is held.
func (s *Session) changed() {
	poke(s.wake)
	for _, c := range s.room {
		poke(c)
	}
	s.wakeLinks()
	s.notify()
}

// wakeLinks wakes all that wait for output; mu is held.
func (s *Session) wakeLinks() {
	for l := range s.links {
		poke(l.wake)
	}
}

// notify sends every link the state of the session; mu is held.
func (s *Session) notify() {
	if s.ring == nil {
		return
	}
	n := Notice{Rows: s.ring.h.rows, Columns: s.ring.h.columns, Viewers: s.viewers(), Stdin: s.ring.h.taken}
	if s.holder != nil {
		n.Holder = s.holder.by.Name
	}
	for l := range s.links {
		if l.told == n {
			continue
		}
		l.told = n
		select {
		case <-l.notices:
		default:
		}
		l.notices <- n // there is room: only this sends, and mu is held
	}
}

// End ends every process of the session: HUP and TERM, and KILL after 2 s. It does not wait.
func (s *Session) End(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(why)
}

// end is End; mu is held.
func (s *Session) end(why string) {
	if s.ending == "" && !s.exited {
		s.ending = why
	}
	poke(s.wake)
}

// poke wakes the goroutine that reads c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// store keeps the session for the next supervisor; mu is held. A command that is too long for the store is refused at the start.
func (s *Session) store() error {
	fds, names := []int{s.ring.fd}, []string{ringFile}
	for k, c := range s.sources {
		switch {
		case c == nil:
		case c.pipe[0] >= 0:
			fds, names = append(fds, c.pipe[0], c.pipe[1]), append(names, pipeOut, pipeIn)
		default:
			fds, names = append(fds, fdOf(c.file)), append(names, streamName(k))
		}
	}
	if s.in.pipe != nil {
		fds, names = append(fds, fdOf(s.in.pipe)), append(names, streamName(0))
	}
	s.saved.Files = names
	return s.m.opts.Store.PutJSON(itemPrefix+s.id, s.saved, fds...)
}
