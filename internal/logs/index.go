package logs

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// index is the part of a log that says which bytes came from which stream and
// when. It is memory shared with the bag: a store to it is not lost with us.
type index struct {
	fd  int
	mem []byte
	*header
	ring *[segments]segment
}

// segments is how many are kept; a line that comes alone takes one.
const segments = 2044

// header is at the start of the shared memory. Its layout may only grow.
type header struct {
	magic uint64
	first uint64 // number of the first segment kept
	next  uint64 // number of the next one
	lines uint64 // newlines before counted

	counted int64 // bytes whose newlines are counted
	punched int64 // bytes given back
	passed  int64 // bytes passed on, as last noted; the position of Log.sent is the truth

	passedLines  uint64
	droppedBytes uint64
	droppedLines uint64
	lostBytes    uint64
	lostLines    uint64

	// What is behind here an older supervisor leaves alone.
	marked      uint64 // 1: the next two count
	markedBytes uint64 // of droppedBytes, those that a mark has told of
	markedLines uint64
	notedLost   uint64 // of lostLines and what the init still counts, those that a mark has told of
}

// segment is a run of bytes of one stream, from off to the next segment's. It
// is written before its bytes are, so bytes without a segment cannot exist.
type segment struct {
	off    int64
	time   int64  // Unix, ns
	lines  uint64 // newlines before off
	stream uint64 // 1 stdout, 2 stderr
}

const (
	indexMagic = 0x73746f6b65720001
	indexSize  = int(unsafe.Sizeof(header{}) + segments*unsafe.Sizeof(segment{}))
)

func newIndex() (*index, error) {
	fd, err := unix.MemfdCreate("log-index", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.Ftruncate(fd, int64(indexSize)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	ix, err := mmapIndex(fd)
	if err == nil {
		ix.magic, ix.marked = indexMagic, 1
	}
	return ix, err
}

// mapIndex takes over an index from the bag.
func mapIndex(fd int) (*index, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size != int64(indexSize) {
		return nil, fmt.Errorf("its index has %d bytes, want %d", st.Size, indexSize)
	}
	ix, err := mmapIndex(fd)
	if err == nil && ix.magic != indexMagic {
		return nil, fmt.Errorf("its index is of another kind (%#x)", ix.magic)
	}
	if err == nil && ix.marked == 0 { // it told of everything as far as we can know
		ix.markedBytes, ix.markedLines, ix.marked = ix.droppedBytes, ix.droppedLines, 1
	}
	return ix, err
}

func mmapIndex(fd int) (*index, error) {
	mem, err := unix.Mmap(fd, 0, indexSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	base := unsafe.Pointer(&mem[0])
	return &index{fd: fd, mem: mem, header: (*header)(base),
		ring: (*[segments]segment)(unsafe.Add(base, unsafe.Sizeof(header{})))}, nil
}

// at is segment number n, which must be kept.
func (ix *index) at(n uint64) *segment { return &ix.ring[n%segments] }

// mergeTime is how close two writes of one stream must be to share a segment,
// and so a time.
const mergeTime = 5 * time.Millisecond

// begin says that the bytes from off on are of stream. It gives true when it
// made a segment for them.
func (ix *index) begin(off int64, stream int, now time.Time) bool {
	if ix.next > ix.first {
		if last := ix.at(ix.next - 1); last.stream == uint64(stream) && off-last.off < chunkSize &&
			now.UnixNano()-last.time < int64(mergeTime) {
			return false
		}
	}
	if ix.next-ix.first == segments {
		ix.first++
	}
	*ix.at(ix.next) = segment{off: off, time: now.UnixNano(), lines: ix.lines, stream: uint64(stream)}
	ix.next++
	return true
}

// expire drops the segments that end at or before off and gives the offset from
// which on bytes are kept.
func (ix *index) expire(off int64) int64 {
	for ix.next-ix.first > 1 && ix.at(ix.first+1).off <= off {
		ix.first++
	}
	return ix.start()
}

// start is the first byte kept.
func (ix *index) start() int64 {
	if ix.next == ix.first {
		return ix.counted
	}
	return ix.at(ix.first).off
}

// startLines is how many newlines are before start.
func (ix *index) startLines() uint64 {
	if ix.next == ix.first {
		return ix.lines
	}
	return ix.at(ix.first).lines
}

// linesBefore is how many newlines are before off, which is where a segment
// begins or what is counted ends.
func (ix *index) linesBefore(off int64) uint64 {
	if seg, _, ok := ix.find(off, ix.counted); ok {
		return seg.lines
	}
	return ix.lines
}

// find gives the segment that holds off, and where it ends.
func (ix *index) find(off, end int64) (seg segment, until int64, ok bool) {
	lo, hi := ix.first, ix.next
	for lo < hi { // the last segment with seg.off <= off
		if mid := (lo + hi) / 2; ix.at(mid).off <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == ix.first || off >= end {
		return segment{}, 0, false
	}
	until = end
	if lo < ix.next {
		until = ix.at(lo).off
	}
	return *ix.at(lo - 1), until, true
}
