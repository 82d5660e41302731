// Package space says which bytes of a memfd are free, when a log writes to it whose offsets only
// grow. It does not know what the bytes are.
package space

import (
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Space is the memory of one log. The positions of its bytes in the memfd grow too, except that a
// flood writes over bytes that are no longer kept: pages that are there already cost a third of
// new ones. Bytes of one segment are together. Its shift, offset less position, is a multiple of
// a page.
type Space struct {
	At      int64    // where the next byte is written: the position of the descriptor
	Room    int64    // from here on are bytes that are kept
	Top     int64    // nothing was ever written from here on
	Free    Extents  // not kept any more, still memory
	Old     Extents  // the same, but not to be written over
	Pinned  []Extent // not kept any more, but in use; all free or all old
	Since   int64    // what is before this offset becomes old
	segment int64    // the most that a segment has, in bytes
}

// Extent is a range of the memfd.
type Extent struct{ From, To int64 }

// Extents are ranges that do not touch.
type Extents []Extent

// New returns an empty one, for segments of at most so many bytes.
func New(segment int64) Space { return Space{Room: math.MaxInt64, segment: segment} }

// Drop adds what was at an offset to what is free or old.
func (m *Space) Drop(off int64, e Extent) {
	if off < m.Since {
		m.Old.Add(e)
	} else {
		m.Free.Add(e)
	}
}

// Add adds an extent, and merges it with its neighbors.
func (x *Extents) Add(e Extent) {
	all := slices.DeleteFunc(*x, func(f Extent) bool {
		touches := f.To == e.From || f.From == e.To
		if touches {
			e = Extent{min(e.From, f.From), max(e.To, f.To)}
		}
		return touches
	})
	if e.To > e.From {
		all = append(all, e)
	}
	*x = all
}

// Total is how much they are, in bytes.
func (x Extents) Total() (n int64) {
	for _, e := range x {
		n += e.To - e.From
	}
	return n
}

// Release gives whole pages back to the kernel. sendfile puts the pages themselves into the
// reader's pipe. There a page that was released from the file is still whole, but a hole over a
// part of it would show as zeros.
func (x *Extents) Release(fd int) {
	all := *x
	*x = nil
	for _, e := range all {
		from, to := PageUp(e.From), PageDown(e.To)
		if from >= to {
			x.Add(e)
			continue
		}
		Punch(fd, from, to)
		x.Add(Extent{e.From, from})
		x.Add(Extent{to, e.To})
	}
}

// Next is where a segment of an offset is written, which is elsewhere only if there is no more
// room here, or reuse is set and there is free memory.
func (m *Space) Next(off int64, reuse bool) int64 {
	crowded := m.Room-m.At < m.segment
	if !crowded && (!reuse || m.Room != math.MaxInt64) {
		return m.At
	}
	in := off % PageBytes() // shifts are whole pages
	for k, e := range m.Free {
		at := PageUp(e.From) + in
		if !reuse || e.To-at < m.segment*3/2 {
			continue
		}
		m.Free = slices.Delete(m.Free, k, k+1)
		m.leave()
		m.Free.Add(Extent{e.From, at})
		m.At, m.Room = at, e.To
		return at
	}
	if crowded {
		m.leave()
		at := PageUp(m.Top) + in
		m.Free.Add(Extent{m.Top, at})
		m.At, m.Room = at, math.MaxInt64
	}
	return m.At
}

// leave frees the rest of the room.
func (m *Space) leave() {
	m.Top = max(m.Top, m.At)
	if m.Room != math.MaxInt64 {
		m.Free.Add(Extent{m.At, m.Room})
	}
}

// Punch releases the memory of whole pages.
func Punch(fd int, from, to int64) {
	if to > from {
		_ = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
}

// PageDown rounds down to the beginning of a page.
func PageDown(off int64) int64 { return off / PageBytes() * PageBytes() }

// PageUp rounds up to the beginning of a page.
func PageUp(off int64) int64 { return PageDown(off + PageBytes() - 1) }

// PageBytes is the size of a page.
func PageBytes() int64 { return int64(os.Getpagesize()) }
