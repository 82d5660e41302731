package console

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is the last output of a session: one ring for each stream, in a memfd that the fd store keeps too. It has memory for what was
// written only. The caller serialises all calls.
//
// Output is moved by splice(2), which advances the position in the header itself: a kill of the supervisor comes before the bytes have
// left the pipe, or after they and the position are in the memfd.
type ring struct {
	fd       int // -1: closed, what is there can be read
	mem      []byte
	h        *ringHeader
	noSplice bool
}

// ringHeader is the start of the memory. The layout may only grow, within a page.
type ringHeader struct {
	magic    uint64
	size     int64    // of the ring of one stream
	pos      [3]int64 // in the file, where the next byte of a stream goes; the kernel advances it
	end      [3]int64 // bytes of a stream, ever; pos is the truth, which end follows
	recorded [3]int64 // how far a stream is in the recording
	taken    int64    // bytes of input that the process has taken
	rows     uint16   // of the terminal
	columns  uint16
	// held is 1 if a client has the keyboard, or is expected back; need is the first byte of each stream that it may not have.
	held int64
	need [3]int64
}

const ringMagic = 0x73746f6b65720501

// maxMove is the most that is moved at once. It is at most half of a ring, so that a position says how far the end has to move.
const maxMove = 64 << 10

// spare is kept beside the scrollback: with it a ring holds all that a client with the largest window may not have yet.
const (
	leastKept = 256 << 10
	spare     = 2 * window
)

// headerSize is where the first ring begins.
func headerSize() int64 { return int64(os.Getpagesize()) }

// newRing makes rings that keep at least size bytes for Stdout and, if it is wanted, Stderr.
func newRing(size int64, stderr bool) (*ring, error) {
	size = (max(size, leastKept) + spare + headerSize() - 1) / headerSize() * headerSize()
	streams := streamsOf(stderr)
	fd, err := unix.MemfdCreate("console", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	if err = unix.Ftruncate(fd, headerSize()+streams*size); err != nil {
		err = fmt.Errorf("cannot make a memfd of %d bytes: %w", headerSize()+streams*size, err)
	}
	r := &ring{fd: fd}
	if err == nil {
		err = r.mapAll()
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	r.h.magic, r.h.size = ringMagic, size
	for k := range r.h.pos {
		r.h.pos[k] = r.base(k)
	}
	return r, nil
}

func streamsOf(stderr bool) int64 {
	if stderr {
		return 2
	}
	return 1
}

// openRing opens the ring of an earlier supervisor, whose descriptor it takes.
func openRing(fd int, stderr bool) (*ring, error) {
	r := &ring{fd: fd}
	err := r.mapAll()
	if err == nil && (r.h.magic != ringMagic || r.h.size < 2*maxMove || headerSize()+streamsOf(stderr)*r.h.size != int64(len(r.mem))) {
		err = fmt.Errorf("the output kept of a session has an unknown layout (%#x)", r.h.magic)
		r.release()
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	for k := Stdout; k <= int(streamsOf(stderr)); k++ {
		r.follow(k)
	}
	return r, nil
}

func (r *ring) mapAll() error {
	var st unix.Stat_t
	err := unix.Fstat(r.fd, &st)
	if err == nil {
		r.mem, err = unix.Mmap(r.fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return fmt.Errorf("cannot map the output of a session: %w", err)
	}
	r.h = (*ringHeader)(unsafe.Pointer(&r.mem[0]))
	return nil
}

// base is where a stream's ring begins in the file.
func (r *ring) base(k int) int64 { return headerSize() + int64(max(k, 1)-1)*r.h.size }

// follow moves the end of a stream to its position.
func (r *ring) follow(k int) {
	h := r.h
	h.end[k] += ((h.pos[k]-r.base(k)-h.end[k])%h.size + h.size) % h.size
	if h.pos[k] == r.base(k)+h.size {
		h.pos[k] = r.base(k)
	}
}

// fill moves at most limit bytes from a pipe into a stream's ring. It never waits. 0 without an error: the pipe has ended.
func (r *ring) fill(k, pipe int, limit int64) (int, error) {
	limit = min(limit, maxMove, r.base(k)+r.h.size-r.h.pos[k])
	for !r.noSplice {
		n, err := unix.Splice(pipe, nil, r.fd, &r.h.pos[k], int(limit), unix.SPLICE_F_NONBLOCK)
		switch err {
		case nil:
			r.follow(k)
			return int(n), nil
		case unix.EINTR:
		case unix.EINVAL, unix.ENOSYS:
			r.noSplice = true
		default:
			return 0, err
		}
	}
	return r.read(k, pipe, limit)
}

// read is fill by read(2): a kill of the supervisor right behind it loses what was read.
func (r *ring) read(k, fd int, limit int64) (int, error) {
	pos := r.h.pos[k]
	limit = min(limit, maxMove, r.base(k)+r.h.size-pos)
	n, err := unix.Read(fd, r.mem[pos:pos+limit])
	if n > 0 {
		r.h.pos[k] += int64(n)
		r.follow(k)
	}
	return max(n, 0), err
}

// start is the first offset of a stream that is kept.
func (r *ring) start(k int) int64 { return max(0, r.h.end[k]-r.h.size) }

// part returns the bytes of a stream from an offset on that lie in one piece; the offset is kept.
func (r *ring) part(k int, from, to int64) []byte {
	at := from % r.h.size
	n := min(to-from, r.h.size-at)
	return r.mem[r.base(k)+at:][:n]
}

// copyTo copies what is kept of a stream from an offset on, which is moved to the first that is kept.
func (r *ring) copyTo(buf []byte, k int, from int64) (n int, at int64) {
	at = max(from, r.start(k))
	for n < len(buf) && at+int64(n) < r.h.end[k] {
		n += copy(buf[n:], r.part(k, at+int64(n), r.h.end[k]))
	}
	return n, at
}

// closeFile closes the descriptor: nothing more is written.
func (r *ring) closeFile() {
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}

// release gives the memory back.
func (r *ring) release() {
	_ = unix.Munmap(r.mem) // fails for memory only that is not mapped
	r.mem, r.h = nil, nil
}
