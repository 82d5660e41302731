package pid1

import (
	"bytes"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// StopPlan is the name of the one bag item that the init understands.
const StopPlan = "stop-plan"

// item is one thing that the supervisor asked to be kept.
type item struct {
	raw        []byte // the Put packet as it came, with fields we may not know
	fds        []int
	pid        int
	open       bool
	pipes      []int // of fds, those to be emptied while nobody reads them
	lost, told lost
}

// lost counts output that was discarded.
type lost struct{ bytes, lines uint64 }

// bag is what a new supervisor gets back, in the order in which it was put.
type bag struct {
	items map[string]*item
	order []string
	open  int         // intents whose child may exist without a known pid
	pids  map[int]int // how many items follow a child
	plan  []byte      // read only when it is needed
	drain *drainer
}

func newBag() *bag { return &bag{items: map[string]*item{}, pids: map[int]int{}} }

// follows says whether an item is about this child.
func (b *bag) follows(pid int) bool { return b.pids[pid] > 0 }

// put keeps m. An item that is put again keeps its place, and its descriptors
// when the new message has none.
func (b *bag) put(m *Msg, raw []byte) {
	if m.Name == StopPlan {
		b.plan = m.Body
	}
	old := b.items[m.Name]
	it := &item{raw: bytes.Clone(raw), fds: m.Fds, pid: m.Pid, open: m.Open}
	if m.Drain {
		for _, k := range m.Pipes {
			if k >= 0 && k < len(m.Fds) {
				it.pipes = append(it.pipes, m.Fds[k])
			}
		}
	}
	if old == nil {
		b.order = append(b.order, m.Name)
	} else {
		if len(it.fds) == 0 {
			it.fds, it.pipes = old.fds, old.pipes
			old.fds = nil
		}
		it.lost = old.lost
		b.drop(old)
	}
	b.items[m.Name] = it
	if it.open {
		b.open++
	}
	if it.pid > 0 {
		b.pids[it.pid]++
	}
}

// del forgets an item.
func (b *bag) del(name string) {
	it := b.items[name]
	if it == nil {
		return
	}
	b.drop(it)
	delete(b.items, name)
	b.order = slices.DeleteFunc(b.order, func(n string) bool { return n == name })
	if name == StopPlan {
		b.plan = nil
	}
}

// drop takes an item out of the counts and closes its descriptors.
func (b *bag) drop(it *item) {
	if it.open {
		b.open--
	}
	if it.pid > 0 {
		if b.pids[it.pid]--; b.pids[it.pid] == 0 {
			delete(b.pids, it.pid)
		}
	}
	for _, fd := range it.fds {
		unix.Close(fd)
	}
}

// drainAfter is how long a log pipe may stay unread: longer than a supervisor
// needs to come back, shorter than anybody's patience with a stalled service.
const drainAfter = time.Second

// drainer empties log pipes while no supervisor does. Its goroutine ends when
// wake is closed.
type drainer struct {
	wake int // write end of a pipe; closing it ends the goroutine
	done chan map[*item]lost
}

// canDrain says whether there is a pipe to empty and nobody at it yet.
func (b *bag) canDrain() bool {
	if b.drain != nil {
		return false
	}
	for _, it := range b.items {
		if len(it.pipes) > 0 {
			return true
		}
	}
	return false
}

// startDraining begins to discard, and to count, what services write.
func (b *bag) startDraining() {
	p := make([]int, 2)
	if unix.Pipe2(p, unix.O_CLOEXEC) != nil {
		return // tried again with the next tick
	}
	polls, owners := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}, []*item{nil}
	for _, it := range b.items {
		for _, fd := range it.pipes {
			// A copy: the item's own may be closed, and its number given out again.
			if own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				polls, owners = append(polls, unix.PollFd{Fd: int32(own), Events: unix.POLLIN}), append(owners, it)
			}
		}
	}
	copies := slices.Clone(polls)
	b.drain = &drainer{wake: p[1], done: make(chan map[*item]lost, 1)}
	go func(done chan<- map[*item]lost) {
		done <- discard(polls, owners)
		for _, c := range copies { // and p[0], the first
			unix.Close(int(c.Fd))
		}
	}(b.drain.done)
}

// stopDraining ends it and adds up what was discarded.
func (b *bag) stopDraining() {
	if b.drain == nil {
		return
	}
	unix.Close(b.drain.wake)
	for it, n := range <-b.drain.done {
		it.lost.bytes += n.bytes
		it.lost.lines += n.lines
	}
	b.drain = nil
}

// discard reads from polls[1:] until polls[0] hangs up.
func discard(polls []unix.PollFd, owners []*item) map[*item]lost {
	total := map[*item]lost{}
	buf := make([]byte, 64<<10)
	for {
		if _, err := unix.Poll(polls, -1); err != nil && err != unix.EINTR {
			return total
		}
		if polls[0].Revents != 0 {
			return total
		}
		for k := 1; k < len(polls); k++ {
			if polls[k].Revents == 0 {
				continue
			}
			n, err := unix.Read(int(polls[k].Fd), buf)
			if n > 0 {
				t := total[owners[k]]
				t.bytes += uint64(n)
				t.lines += uint64(bytes.Count(buf[:n], []byte{'\n'}))
				total[owners[k]] = t
			} else if err != unix.EAGAIN && err != unix.EINTR {
				polls[k].Fd = -1 // every writer is gone: poll would return at once for ever
			}
		}
	}
}
