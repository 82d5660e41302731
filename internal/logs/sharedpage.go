package logs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedPage is memory that the store keeps too. It holds how far a log was written
// in a format of lines and to files.
type sharedPage struct {
	fd  int
	mem []byte
	*pageContent
}

// pageContent is the layout of a sharedPage, which may only grow.
type pageContent struct {
	magic uint64
	live  uint64 // 1: out is in use
	out   position
	file  filePosition
}

// position is how far a log was written line by line. A supervisor that takes over goes
// on there and may repeat what was written since: at most one batch.
type position struct {
	done    [2]int64  // of each stream: everything before it is written
	begun   [2]uint64 // of each stream: 1: what is written ends within a line
	writing uint64    // stream whose batch is being written; 0: none
}

// filePosition is a position in files.
type filePosition struct {
	position
	lines    uint64 // newlines before the end of the last batch
	written  uint64 // bytes
	dropped  amount
	marked   amount // of it, what a mark in the file reports
	begun    int64  // when the file's first line was written; Unix, ns
	begunIno uint64 // of the file that begun is about
}

const (
	pageMagic = 0x73746f6b65720301
	pageSize  = 4 << 10
)

func newSharedPage(name string) (*sharedPage, error) {
	fd, mem, err := newShared("log-page-"+name, pageSize)
	if err != nil {
		return nil, err
	}
	p := &sharedPage{fd, mem, (*pageContent)(unsafe.Pointer(&mem[0]))}
	p.magic = pageMagic
	return p, nil
}

// openSharedPage takes over one from the store.
func openSharedPage(fd int) (*sharedPage, error) {
	mem, err := mapShared(fd, pageSize)
	if err != nil {
		return nil, err
	}
	p := &sharedPage{fd, mem, (*pageContent)(unsafe.Pointer(&mem[0]))}
	if p.magic != pageMagic {
		return nil, fmt.Errorf("it is of another kind (%#x)", p.magic)
	}
	return p, nil
}

func (p *sharedPage) close() {
	unix.Munmap(p.mem)
	unix.Close(p.fd)
}

// newShared makes a memfd of size bytes and maps it.
func newShared(name string, size int) (fd int, mem []byte, err error) {
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	if err = unix.Ftruncate(fd, int64(size)); err != nil {
		err = fmt.Errorf("cannot make a memfd of %d bytes: %w", size, err)
	} else {
		mem, err = mapShared(fd, size)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, mem, nil
}

// mapShared maps a memfd, which must have that size.
func mapShared(fd, size int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size != int64(size) {
		return nil, fmt.Errorf("it has %d bytes, want %d", st.Size, size)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map a memfd: %w", err)
	}
	return mem, nil
}
