// Package initstore is the fd store of the init: the items that a supervisor keeps for the
// next one, within limits, in order. The init understands one of them, the stop plan. The
// supervisor's side is internal/fdstore.
package initstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logpipes"
	"golang.org/x/sys/unix"
)

// Limits of the fd store: about twenty times the needs of a thousand services. A supervisor
// in a loop must not exhaust the memory of PID 1. Descriptors are limited by RLIMIT_NOFILE,
// less those of the init itself: nine when idle, and six more to start a supervisor while it
// drains.
const (
	maxItems = 20000
	maxBytes = 32 << 20
	ownFds   = 16
)

// item is an item of the supervisor.
type item struct {
	raw      []byte // the Put packet as it came, with fields that may be unknown here
	fds      []int
	pid      int
	intent   bool
	pipes    []int          // the log pipes among fds, drained while no supervisor reads them
	lost     *logpipes.Lost // kept when the item is put again
	reported logpipes.Lost  // part of lost, to the current supervisor
}

// Store is the fd store: the items for a new supervisor, in the order of their first Put.
type Store struct {
	items   map[string]*item
	order   []string
	bytes   int // of all items
	fds     int // of all items
	pipes   int // of all items
	maxFds  int
	intents int         // items whose process may exist without a known pid
	refused bool        // the record of a process was refused: any child may be a process of the supervisor
	pids    map[int]int // number of items that follow a child
	plan    []byte      // the stop plan, parsed when it is needed
	drainer *logpipes.Drainer
	// Watch reports that a service writes; nil: not made yet.
	Watch *logpipes.Watch
}

// New returns an empty store with room for the descriptors that the process may have.
func New() *Store {
	s := &Store{items: map[string]*item{}, pids: map[int]int{}, maxFds: maxItems}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < maxItems+ownFds {
		s.maxFds = max(int(limit.Cur)-ownFds, 1)
	}
	return s
}

// Follows reports whether an item has this pid.
func (s *Store) Follows(pid int) bool { return s.pids[pid] > 0 }

// MayFollow reports whether any child may be a process of the supervisor.
func (s *Store) MayFollow() bool { return s.intents > 0 || s.refused }

// Put keeps m. An item that is put again keeps its place, and its descriptors when the new
// message has none. An error means that there is no room; the older item of that name
// stays. The record of a process is then kept without its descriptors: its exit must be
// reported.
func (s *Store) Put(m *initproto.Msg, raw []byte) error {
	old, exists := s.items[m.Name]
	if !exists {
		old = &item{lost: new(logpipes.Lost)}
	}
	if err := s.checkRoom(m, raw, old, exists); err != nil {
		initproto.CloseAll(m.Fds)
		s.refused = s.refused || m.Intent || m.Pid > 0
		return err
	}
	fdsErr := s.checkFds(m, old)
	if fdsErr != nil {
		initproto.CloseAll(m.Fds)
		if m.Fds = nil; !m.Intent && m.Pid == 0 {
			return fdsErr
		}
	}
	it := &item{raw: bytes.Clone(raw), fds: m.Fds, pid: m.Pid, intent: m.Intent, lost: old.lost, reported: old.reported}
	if m.Name == initproto.StopPlan {
		s.plan = m.Body
	}
	for _, k := range m.Pipes {
		if k >= 0 && k < len(m.Fds) && len(it.pipes) < len(m.Fds) {
			it.pipes = append(it.pipes, m.Fds[k])
			s.Watch.Add(m.Fds[k])
		}
	}
	s.count(old, -1)
	if len(it.fds) == 0 {
		it.fds, it.pipes = old.fds, old.pipes
	} else {
		s.closeFds(old)
	}
	s.count(it, 1)
	if s.items[m.Name] = it; !exists {
		s.order = append(s.order, m.Name)
	}
	return fdsErr
}

// checkFds returns an error if there is no room for the descriptors of m.
func (s *Store) checkFds(m *initproto.Msg, old *item) error {
	switch {
	case m.FdsCut:
		return errors.New("its descriptors cannot be received: this process has too many")
	case len(m.Fds) > len(old.fds) && s.fds-len(old.fds)+len(m.Fds) > s.maxFds:
		return fmt.Errorf("%d descriptors are kept, and %d are the most", s.fds, s.maxFds)
	}
	return nil
}

// checkRoom returns an error if there is no room for m, its descriptors aside.
func (s *Store) checkRoom(m *initproto.Msg, raw []byte, old *item, exists bool) error {
	switch {
	case m.Name == initproto.StopPlan && len(m.Fds) == 0:
		return nil // the last resort, and only one item
	case !exists && len(s.items) >= maxItems:
		return fmt.Errorf("%d items are kept, which is the most", len(s.items))
	case len(raw) > len(old.raw) && s.bytes-len(old.raw)+len(raw) > maxBytes:
		return fmt.Errorf("%d bytes are kept, and %d are the most", s.bytes, maxBytes)
	}
	return nil
}

// count adds an item to the counts (sign 1), or subtracts it (-1).
func (s *Store) count(it *item, sign int) {
	s.bytes += sign * len(it.raw)
	s.fds += sign * len(it.fds)
	s.pipes += sign * len(it.pipes)
	if it.intent {
		s.intents += sign
	}
	if it.pid > 0 {
		if s.pids[it.pid] += sign; s.pids[it.pid] == 0 {
			delete(s.pids, it.pid)
		}
	}
}

func (s *Store) closeFds(it *item) {
	for _, fd := range it.pipes {
		s.Watch.Remove(fd)
	}
	initproto.CloseAll(it.fds)
}

// Delete removes an item.
func (s *Store) Delete(name string) {
	it := s.items[name]
	if it == nil {
		return
	}
	s.count(it, -1)
	s.closeFds(it)
	delete(s.items, name)
	s.order = slices.DeleteFunc(s.order, func(other string) bool { return other == name })
	if name == initproto.StopPlan {
		s.plan = nil
	}
}

// HasIntent reports whether a process may exist without a known pid.
func (s *Store) HasIntent() bool { return s.intents > 0 }

// Empty reports whether there is no item.
func (s *Store) Empty() bool { return len(s.items) == 0 }

// Clear removes every item.
func (s *Store) Clear() {
	for _, name := range slices.Clone(s.order) {
		s.Delete(name)
	}
}

// MaxFds is how many descriptors can be kept.
func (s *Store) MaxFds() int { return s.maxFds }

// StopPlan is the stop plan as it was put.
func (s *Store) StopPlan() []byte { return s.plan }

// Replay yields the packet and the descriptors of each item, in order, for a new supervisor.
func (s *Store) Replay(yield func(packet []byte, fds []int) bool) {
	for _, name := range s.order {
		it := s.items[name]
		it.reported = logpipes.Lost{}
		if !yield(it.raw, it.fds) {
			return
		}
	}
}

// LostReports returns a message with the totals of each item that has lost output since the
// last call.
func (s *Store) LostReports() []*initproto.Msg {
	var out []*initproto.Msg
	for _, name := range s.order {
		if it := s.items[name]; *it.lost != it.reported {
			it.reported = *it.lost
			out = append(out, &initproto.Msg{Type: initproto.Lost, Name: name,
				Bytes: it.reported.Bytes, Lines: it.reported.Lines, PipeBytes: &it.reported.PipeBytes})
		}
	}
	return out
}

// HasPipes reports whether an item has log pipes.
func (s *Store) HasPipes() bool { return s.pipes > 0 }

// StartWatching creates Watch; false: no descriptor is free.
func (s *Store) StartWatching() bool {
	if s.Watch = logpipes.NewWatch(); s.Watch == nil {
		return false
	}
	for _, p := range s.logPipes() {
		s.Watch.Add(p.FD)
	}
	return true
}

// logPipes are the pipes of all items.
func (s *Store) logPipes() []logpipes.Pipe {
	var out []logpipes.Pipe
	for _, it := range s.items {
		for k, fd := range it.pipes {
			out = append(out, logpipes.Pipe{FD: fd, Index: k, Lost: it.lost})
		}
	}
	return out
}

// CanDrain reports whether there is a pipe to drain and no drainer yet.
func (s *Store) CanDrain() bool { return s.drainer == nil && s.pipes > 0 }

// StartDraining starts to discard and count output; false: no descriptor is free.
func (s *Store) StartDraining() bool {
	s.drainer = logpipes.Drain(s.logPipes())
	return s.drainer != nil
}

// StopDraining ends that, and adds to the counts.
func (s *Store) StopDraining() {
	if s.drainer != nil {
		s.drainer.Stop()
		s.drainer = nil
	}
}

// PipesMostlyFull reports whether a log pipe is more than half full, so it is not read.
func (s *Store) PipesMostlyFull() bool {
	return slices.ContainsFunc(s.logPipes(), logpipes.Pipe.MostlyFull)
}
