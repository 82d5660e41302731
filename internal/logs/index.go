package logs

import (
	"fmt"
	"time"
	"unsafe"
)

// index says which bytes of a log came from which stream and when. It is memory that
// the store keeps too, so a write to it survives the supervisor.
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

	counted   int64 // bytes whose newlines are counted
	punched   int64 // bytes given back
	forwarded int64 // bytes forwarded; for raw the position of Log.sent is the truth

	forwardedLines uint64
	droppedBytes   uint64
	droppedLines   uint64
	lostBytes      uint64
	lostLines      uint64

	// An older supervisor leaves what follows alone.
	marked      uint64 // 1: the next two are valid
	markedBytes uint64 // of droppedBytes, those that a mark reports
	markedLines uint64
	notedLost   uint64 // of lostLines and what the init still counts, those that a mark reports
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
	fd, mem, err := newShared("log-index", indexSize)
	if err != nil {
		return nil, err
	}
	ix := indexIn(fd, mem)
	ix.magic, ix.marked = indexMagic, 1
	return ix, nil
}

// openIndex takes over an index from the store.
func openIndex(fd int) (*index, error) {
	mem, err := mapShared(fd, indexSize)
	if err != nil {
		return nil, fmt.Errorf("cannot map its index: %w", err)
	}
	ix := indexIn(fd, mem)
	if ix.magic != indexMagic {
		return nil, fmt.Errorf("its index is of another kind (%#x)", ix.magic)
	}
	if ix.marked == 0 { // an older supervisor has reported everything, as far as is known
		ix.markedBytes, ix.markedLines, ix.marked = ix.droppedBytes, ix.droppedLines, 1
	}
	return ix, nil
}

func indexIn(fd int, mem []byte) *index {
	base := unsafe.Pointer(&mem[0])
	return &index{fd: fd, mem: mem, header: (*header)(base),
		ring: (*[segments]segment)(unsafe.Add(base, unsafe.Sizeof(header{})))}
}

// at is segment number n, which must be kept.
func (ix *index) at(n uint64) *segment { return &ix.ring[n%segments] }

// mergeTime is how close two writes of one stream must be to share a segment,
// and so a time.
const mergeTime = 5 * time.Millisecond

// begin says that the bytes from off on are of stream. It returns true when it
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

// expire drops the segments that end at or before off and returns the first offset kept.
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

// find returns the segment that holds off, and where it ends.
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
