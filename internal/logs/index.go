package logs

import (
	"fmt"
	"github.com/stoker-init/stoker/internal/logs/space"
	"math"
	"sort"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// index says which bytes of a log came from which stream and when. It is memory that
// the store keeps too, so a write to it survives the supervisor.
type index struct {
	fd      int // -1: the log has no memory, and there are no segments
	content *indexContent
	*header
}

// segments is how many are kept; a line that comes alone takes one.
const segments = 2044

type indexContent struct {
	header
	ring [segments]segment
}

// header is the start of the shared memory. Its layout is fixed; every layout has the fields up
// to lost.
type header struct {
	magic uint64
	first uint64 // number of the first segment kept
	next  uint64 // number of the next one
	lines uint64 // newlines before counted

	counted   int64    // bytes whose newlines are counted
	_         int64    // of earlier versions
	forwarded progress // for raw the position of Log.sent is the truth
	dropped   amount   // not forwarded
	lost      amount   // never captured

	// Earlier versions ignore the following fields.
	marked    uint64 // 1: they are valid
	reported  amount // of dropped, what marks report
	sentShift int64  // of what Log.sent is at; noShift: it is being moved
}

// segment is a run of bytes of one stream, from off to the next segment's. It
// is written before its bytes are, so bytes without a segment cannot exist.
type segment struct {
	off   int64
	time  int64  // Unix, ns
	lines uint64 // newlines before off
	word  uint64 // 1 stdout, 2 stderr; above the lowest byte the shift, in pages
}

func (s segment) stream() int { return int(s.word & 0xff) }

// shift is the offset of a byte of the segment less its position in the memfd.
func (s segment) shift() int64 { return int64(s.word) >> 8 * space.PageBytes() }

// at is the position of an offset of the segment.
func (s segment) at(off int64) int64 { return off - s.shift() }

const noShift = math.MinInt64

// Layouts: without shifts, which earlier versions read, and with them.
const (
	indexMagic   = 0x73746f6b65720001
	shiftedMagic = 0x73746f6b65720002
)

func newIndex() (*index, error) {
	fd, content, err := newShared[indexContent]("log-index")
	if err != nil {
		return nil, err
	}
	content.magic, content.marked = indexMagic, 1
	return &index{fd, content, &content.header}, nil
}

// openIndex maps an index from the store.
func openIndex(fd int) (*index, error) {
	content, err := mapShared[indexContent](fd)
	if err != nil {
		return nil, fmt.Errorf("cannot map its index: %w", err)
	}
	if magic := content.magic; magic != indexMagic && magic != shiftedMagic {
		unmapShared(content)
		return nil, fmt.Errorf("its index has an unknown layout (%#x)", magic)
	}
	if content.marked == 0 { // an earlier version reported everything, as far as is known
		content.reported, content.marked = content.dropped, 1
	}
	return &index{fd, content, &content.header}, nil
}

// unforwarded is what was captured and not forwarded, by an index of any layout; nothing if that
// cannot be known.
func unforwarded(fd int) amount {
	var h header
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))
	n, err := unix.Pread(fd, mem, 0)
	if err != nil || n < len(mem) || h.magic>>16 != indexMagic>>16 || h.forwarded.pos < 0 || h.forwarded.pos > h.counted {
		return amount{}
	}
	return progress{h.counted, h.lines}.since(h.forwarded)
}

// close releases the memory. The counters stay.
func (ix *index) close() {
	if ix.content == nil {
		return
	}
	counters := *ix.header
	counters.first = counters.next
	unmapShared(ix.content)
	unix.Close(ix.fd)
	*ix = index{fd: -1, header: &counters}
}

// at is segment number n, which must be kept.
func (ix *index) at(n uint64) *segment { return &ix.content.ring[n%segments] }

// mergeTime is how close two writes of one stream must be to share a segment,
// and so a time.
const mergeTime = 5 * time.Millisecond

// joins reports whether bytes from off on belong to the last segment.
func (ix *index) joins(off int64, stream int, now time.Time) bool {
	if ix.next == ix.first {
		return false
	}
	last := ix.at(ix.next - 1)
	return last.stream() == stream && off-last.off < chunkSize && now.UnixNano()-last.time < int64(mergeTime)
}

// begin notes that the bytes from off on are of stream, and at a position in the memfd. There is
// room for a segment.
func (ix *index) begin(off int64, stream int, now time.Time, at int64) {
	if at != off {
		ix.magic = shiftedMagic
	}
	*ix.at(ix.next) = segment{off: off, time: now.UnixNano(), lines: ix.lines, word: uint64(stream) | uint64((off-at)/space.PageBytes()<<8)}
	ix.next++
}

// start is the first byte kept.
func (ix *index) start() progress {
	if ix.next == ix.first {
		return progress{ix.counted, ix.lines}
	}
	seg := ix.at(ix.first)
	return progress{seg.off, seg.lines}
}

// find returns the segment that holds off, and where it ends.
func (ix *index) find(off, end int64) (seg segment, until int64, ok bool) {
	kept := int(ix.next - ix.first)
	behind := sort.Search(kept, func(k int) bool { return ix.at(ix.first+uint64(k)).off > off }) // the first segment behind off
	if behind == 0 || off >= end {
		return segment{}, 0, false
	}
	until = end
	if behind < kept {
		until = ix.at(ix.first + uint64(behind)).off
	}
	return *ix.at(ix.first + uint64(behind) - 1), until, true
}
