package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// What the bag holds at most: some twenty times what a thousand services need. A
// supervisor that puts for ever must not end PID 1 by its memory. Descriptors are
// limited by what the process may have, less those that the init needs itself:
// nine while nothing happens, and six more to start a supervisor while it drains.
const (
	maxItems = 20000
	maxBytes = 32 << 20
	ownFds   = 16
)

// item is one thing that the supervisor asked to be kept.
type item struct {
	raw   []byte // the Put packet as it came, with fields we may not know
	fds   []int
	pid   int
	open  bool
	pipes []int // of fds, those to be emptied while nobody reads them
	lost  *lost // stays the same when the item is put again
	told  lost  // of it, to the present supervisor
}

// lost counts output that was discarded.
type lost struct {
	bytes, lines uint64
	each         initproto.Each
}

func (l *lost) add(m lost) {
	l.bytes, l.lines = l.bytes+m.bytes, l.lines+m.lines
	for k, n := range m.each {
		l.each[k] += n
	}
}

// bag is what a new supervisor gets back, in the order in which it was put.
type bag struct {
	items  map[string]*item
	order  []string
	bytes  int // of all items
	fds    int // of all items
	pipes  int // of all items
	maxFds int
	open   int         // intents whose child may exist without a known pid
	unsure bool        // the record of a process was refused: any child may be a process of the supervisor
	pids   map[int]int // how many items follow a child
	plan   []byte      // read only when it is needed
	drain  *drainer
	unread *unread // nil: not made yet
}

func newBag() *bag {
	b := &bag{items: map[string]*item{}, pids: map[int]int{}, maxFds: maxItems}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < maxItems+ownFds {
		b.maxFds = max(int(limit.Cur)-ownFds, 1)
	}
	return b
}

// follows says whether an item is about this child.
func (b *bag) follows(pid int) bool { return b.pids[pid] > 0 }

// awaits says whether the end of a child may be one that the supervisor waits for.
func (b *bag) awaits(pid int) bool { return b.follows(pid) || b.open > 0 || b.unsure }

// put keeps m. An item that is put again keeps its place, and its descriptors
// when the new message has none. An error says that there is no room for it; the
// older one of that name stays. The record of a process is kept without its
// descriptors then: whoever waits for the process must learn of its end.
func (b *bag) put(m *initproto.Msg, raw []byte) error {
	old := b.items[m.Name]
	refused := b.room(m, raw, old)
	lacking := b.lacking(m, old)
	if refused == nil && lacking != nil {
		initproto.CloseAll(m.Fds)
		if m.Fds = nil; !m.Open && m.Pid == 0 {
			return lacking
		}
	}
	if refused != nil {
		initproto.CloseAll(m.Fds)
		b.unsure = b.unsure || m.Open || m.Pid > 0
		return refused
	}
	it := &item{raw: bytes.Clone(raw), fds: m.Fds, pid: m.Pid, open: m.Open, lost: new(lost)}
	if m.Name == initproto.StopPlan {
		b.plan = m.Body
	}
	if m.Drain {
		for _, k := range m.Pipes {
			if k >= 0 && k < len(m.Fds) && len(it.pipes) < len(m.Fds) {
				it.pipes = append(it.pipes, m.Fds[k])
				b.unread.add(m.Fds[k])
			}
		}
	}
	if old == nil {
		b.order = append(b.order, m.Name)
	} else {
		it.lost, it.told = old.lost, old.told
		inherits := len(it.fds) == 0
		if inherits {
			it.fds, it.pipes = old.fds, old.pipes
		}
		b.drop(old, !inherits)
	}
	b.items[m.Name] = it
	b.bytes, b.fds, b.pipes = b.bytes+len(it.raw), b.fds+len(it.fds), b.pipes+len(it.pipes)
	if it.open {
		b.open++
	}
	if it.pid > 0 {
		b.pids[it.pid]++
	}
	return lacking
}

// lacking says that there is no room for the descriptors of m.
func (b *bag) lacking(m *initproto.Msg, old *item) error {
	had := 0
	if old != nil {
		had = len(old.fds)
	}
	switch {
	case m.Cut:
		return errors.New("its descriptors cannot be received: this process has too many")
	case len(m.Fds) > had && b.fds-had+len(m.Fds) > b.maxFds:
		return fmt.Errorf("%d descriptors are kept, and %d are the most", b.fds, b.maxFds)
	}
	return nil
}

// room says what of m, its descriptors aside, the bag has no room for.
func (b *bag) room(m *initproto.Msg, raw []byte, old *item) error {
	had := 0
	if old != nil {
		had = len(old.raw)
	}
	switch {
	case m.Name == initproto.StopPlan && len(m.Fds) == 0:
		return nil // the last resort, and there is one
	case old == nil && len(b.items) >= maxItems:
		return fmt.Errorf("%d items are kept, which is the most", len(b.items))
	case len(raw) > had && b.bytes-had+len(raw) > maxBytes:
		return fmt.Errorf("%d bytes are kept, and %d are the most", b.bytes, maxBytes)
	}
	return nil
}

// del forgets an item.
func (b *bag) del(name string) {
	it := b.items[name]
	if it == nil {
		return
	}
	b.drop(it, true)
	delete(b.items, name)
	b.order = slices.Delete(b.order, slices.Index(b.order, name), slices.Index(b.order, name)+1)
	if name == initproto.StopPlan {
		b.plan = nil
	}
}

// drop takes an item out of the counts, and closes its descriptors unless
// another one has them by now.
func (b *bag) drop(it *item, shut bool) {
	b.bytes, b.fds, b.pipes = b.bytes-len(it.raw), b.fds-len(it.fds), b.pipes-len(it.pipes)
	if it.open {
		b.open--
	}
	if it.pid > 0 {
		if b.pids[it.pid]--; b.pids[it.pid] == 0 {
			delete(b.pids, it.pid)
		}
	}
	if !shut {
		return
	}
	for _, fd := range it.pipes {
		b.unread.remove(fd)
	}
	initproto.CloseAll(it.fds)
}
