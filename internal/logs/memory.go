package logs

import (
	"math"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// memory says which bytes of the memfd are free. A log's offsets only grow, and so do the
// positions of its bytes in the memfd, except that a flood writes over bytes that are no longer
// kept: pages that are there already cost a third of new ones. Bytes of one segment are together,
// and the segment has their shift: offset less position, a multiple of a page.
type memory struct {
	at     int64    // where the next byte is written: the position of the descriptor
	room   int64    // from here on are bytes that are kept
	top    int64    // nothing was ever written from here on
	free   extents  // not kept any more, still memory
	old    extents  // the same, but not to be written over
	pinned []extent // not kept any more, but not forwarded yet; all free or all old
	since  int64    // what is before this offset becomes old
}

// extent is a range of the memfd.
type extent struct{ from, to int64 }

// extents are ranges that do not touch.
type extents []extent

// An extent of reuseFrom bytes is written over. All free memory is released when it and what is
// kept are freeMax bytes more than Options.Keep.
const (
	reuseFrom = maxSegment + chunkSize
	freeMax   = 1 << 20
)

// reuseAge is how young the oldest bytes kept are in a flood.
const reuseAge = time.Second

func newMemory() memory { return memory{room: math.MaxInt64} }

// drop adds what was at an offset to what is free or old.
func (m *memory) drop(off int64, e extent) {
	if off < m.since {
		m.old.add(e)
	} else {
		m.free.add(e)
	}
}

// add adds an extent, and merges it with its neighbors.
func (x *extents) add(e extent) {
	all := slices.DeleteFunc(*x, func(f extent) bool {
		touches := f.to == e.from || f.from == e.to
		if touches {
			e = extent{min(e.from, f.from), max(e.to, f.to)}
		}
		return touches
	})
	if e.to > e.from {
		all = append(all, e)
	}
	*x = all
}

// total is how much they are, in bytes.
func (x extents) total() (n int64) {
	for _, e := range x {
		n += e.to - e.from
	}
	return n
}

// release gives whole pages back to the kernel. sendfile puts the pages themselves into the
// reader's pipe. There a page that was released from the file is still whole, but a hole over a
// part of it would show as zeros.
func (x *extents) release(fd int) {
	all := *x
	*x = nil
	for _, e := range all {
		from, to := pageUp(e.from), pageDown(e.to)
		if from >= to {
			x.add(e)
			continue
		}
		punch(fd, from, to)
		x.add(extent{e.from, from})
		x.add(extent{to, e.to})
	}
}

// next is where a segment of an offset is written, which is elsewhere only if there is no more
// room here, or reuse is set and there is free memory.
func (m *memory) next(off int64, reuse bool) int64 {
	crowded := m.room-m.at < maxSegment
	if !crowded && (!reuse || m.room != math.MaxInt64) {
		return m.at
	}
	in := off % pageBytes() // shifts are whole pages
	for k, e := range m.free {
		at := pageUp(e.from) + in
		if !reuse || e.to-at < reuseFrom {
			continue
		}
		m.free = slices.Delete(m.free, k, k+1)
		m.leave()
		m.free.add(extent{e.from, at})
		m.at, m.room = at, e.to
		return at
	}
	if crowded {
		m.leave()
		at := pageUp(m.top) + in
		m.free.add(extent{m.top, at})
		m.at, m.room = at, math.MaxInt64
	}
	return m.at
}

// leave frees the rest of the room.
func (m *memory) leave() {
	m.top = max(m.top, m.at)
	if m.room != math.MaxInt64 {
		m.free.add(extent{m.at, m.room})
	}
}

// allowReuse lets memory be written over if sendfile copies what it forwards: to a file always,
// to others from a descriptor with O_DIRECT (Linux 6.6). Else a pipe that is not read would show
// the new bytes.
func (l *Log) allowReuse() {
	reuse := true
	for _, s := range l.sinks() {
		var st unix.Stat_t
		if unix.Fstat(s.fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(l.sent), unix.F_GETFL, 0)
		if err == nil {
			_, err = unix.FcntlInt(uintptr(l.sent), unix.F_SETFL, flags|unix.O_DIRECT)
		}
		reuse = reuse && err == nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reuse = reuse
}

// punch releases the memory of whole pages.
func punch(fd int, from, to int64) {
	if to > from {
		_ = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
}

// pageDown rounds down to the beginning of a page.
func pageDown(off int64) int64 { return off / pageBytes() * pageBytes() }

// pageUp rounds up to the beginning of a page.
func pageUp(off int64) int64 { return pageDown(off + pageBytes() - 1) }

func pageBytes() int64 { return int64(os.Getpagesize()) }
