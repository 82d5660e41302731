package logs

import (
	"cmp"
	"github.com/stoker-init/stoker/internal/logs/space"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// freeMax is by how many bytes what is kept and what is free may exceed Options.Keep before all
// that is free is released.
const freeMax = 1 << 20

// reuseAge is how young the oldest bytes kept are in a flood.
const reuseAge = time.Second

// allowReuse lets memory be written over if sendfile copies what it forwards: to a file always,
// to others from a descriptor with O_DIRECT (Linux 6.6). Else a pipe that is not read would show
// the new bytes. It changes the layout of the index.
func (l *Log) allowReuse() {
	if l.registry.OldLayout {
		return
	}
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

// dropOldest drops the oldest segment. Its memory is free, unless sendfile reads it right now.
func (l *Log) dropOldest() {
	seg, end := *l.ix.at(l.ix.first), l.end
	if l.ix.next-l.ix.first > 1 {
		end = l.ix.at(l.ix.first + 1).off
	}
	var last [1]byte
	n, _ := unix.Pread(l.data, last[:], seg.at(end)-1)
	l.startsLine = n == 1 && last[0] == '\n'
	l.ix.first++
	memory := space.Extent{From: seg.at(seg.off), To: seg.at(end)}
	l.young = l.reuse && time.Since(time.Unix(0, seg.time)) < reuseAge
	if l.pinned[0] < end && l.pinned[1] > seg.off {
		l.mem.Pinned = append(l.mem.Pinned, memory)
	} else {
		l.mem.Drop(seg.off, memory)
	}
}

// unpin frees what dropOldest has left out for sendfile.
func (l *Log) unpin() {
	for _, e := range l.mem.Pinned {
		l.mem.Drop(l.pinned[0], e)
	}
	l.mem.Pinned, l.pinned = nil, [2]int64{}
}

// findMemory releases the memory of what is not kept. What an earlier version forwarded may be in
// a reader's pipe as it is in the memfd.
func (l *Log) findMemory() error {
	var st unix.Stat_t
	if err := unix.Fstat(l.data, &st); err != nil {
		return err
	}
	l.mem.Top, l.mem.Since = st.Size, l.end
	var kept []space.Extent
	for n := l.ix.first; n < l.ix.next; n++ {
		seg, end := l.ix.at(n), l.end
		if n+1 < l.ix.next {
			end = l.ix.at(n + 1).off
		}
		if seg.off < end {
			kept = append(kept, space.Extent{From: seg.at(seg.off), To: seg.at(end)})
		}
	}
	slices.SortFunc(kept, func(a, b space.Extent) int { return cmp.Compare(a.From, b.From) })
	begin := int64(0)
	for _, e := range kept {
		if e.From >= l.mem.At {
			l.mem.Room = min(l.mem.Room, e.From)
		}
		space.Punch(l.data, space.PageUp(begin), space.PageDown(e.From))
		begin = e.To
	}
	space.Punch(l.data, space.PageUp(begin), space.PageUp(st.Size))
	l.startsLine = l.ix.first == 0
	return nil
}
