package logs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notebook is a memfd shared with the bag: notes at its beginning, mapped, so
// that a store to them is not lost with us, and behind them bytes that are about
// to be written somewhere. A note is kept twice, and a number says which of the
// two counts: storing that number is the step that a kill cannot halve.
type notebook struct {
	fd  int
	mem []byte
}

// notesSize is what is before the bytes: a multiple of every page size.
const notesSize = 64 << 10

// notesMapped is the part of it that is mapped.
const notesMapped = 4 << 10

func newNotebook(name string, magic uint64) (*notebook, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	if err = unix.Ftruncate(fd, notesSize); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot make a memfd of %d bytes: %w", notesSize, err)
	}
	n, err := mapNotebook(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	*(*uint64)(n.notes()) = magic
	return n, nil
}

// openNotebook takes over one from the bag. magic is its first word.
func openNotebook(fd int, magic uint64) (*notebook, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size < notesSize {
		return nil, fmt.Errorf("its notes have %d bytes, want %d", st.Size, notesSize)
	}
	n, err := mapNotebook(fd)
	if err != nil {
		return nil, err
	}
	if got := *(*uint64)(n.notes()); got != magic {
		return nil, fmt.Errorf("its notes are of another kind (%#x)", got)
	}
	return n, nil
}

func mapNotebook(fd int) (*notebook, error) {
	mem, err := unix.Mmap(fd, 0, notesMapped, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map the notes: %w", err)
	}
	return &notebook{fd: fd, mem: mem}, nil
}

// notes are at the beginning of the mapped memory.
func (n *notebook) notes() unsafe.Pointer { return unsafe.Pointer(&n.mem[0]) }

// put writes bytes at an offset from the end of the notes.
func (n *notebook) put(b []byte, off int64) error {
	for len(b) > 0 {
		wrote, err := unix.Pwrite(n.fd, b, notesSize+off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, off = b[wrote:], off+int64(wrote)
	}
	return nil
}

// get reads n bytes at an offset from the end of the notes.
func (n *notebook) get(size int, off int64) ([]byte, error) {
	b := make([]byte, size)
	got, err := unix.Pread(n.fd, b, notesSize+off)
	return b[:max(got, 0)], err
}

// forget gives the memory of whole pages in [from, to) back; see Log.punch.
func (n *notebook) forget(from, to int64) {
	from, to = pageDown(notesSize+from+pageSize()-1), pageDown(notesSize+to)
	if to > from {
		unix.Fallocate(n.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
}

func (n *notebook) close() {
	unix.Munmap(n.mem)
	unix.Close(n.fd)
}
