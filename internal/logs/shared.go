package logs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageContent is memory that the store keeps too. It holds the positions of the log in a
// format of lines and in files. The layout may only grow, within its 4 KiB.
type pageContent struct {
	magic uint64 // 0: not used yet, and without memory: most logs are raw and have no file
	live  uint64 // 1: out is in use
	out   position
	file  filePosition
	_     [3952]byte
}

// position is how far a log was written line by line. The next supervisor continues
// there and may repeat what was written since: at most one batch.
type position struct {
	done    [2]int64  // of each stream: everything before it is written
	partial [2]uint64 // of each stream: 1: what is written ends within a line
	writing uint64    // stream whose batch is being written; 0: none
}

// filePosition is a position in files.
type filePosition struct {
	position
	lines    uint64 // newlines before the end of the last batch
	written  uint64 // bytes
	dropped  amount
	reported amount // of dropped, what marks in the file report
}

const pageMagic = 0x73746f6b65720302

// newShared makes a memfd and maps it.
func newShared[T any](name string) (fd int, content *T, err error) {
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	size := int64(unsafe.Sizeof(*content))
	if err = unix.Ftruncate(fd, size); err != nil {
		err = fmt.Errorf("cannot make a memfd of %d bytes: %w", size, err)
	} else {
		content, err = mapShared[T](fd)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, content, err
}

// mapShared maps a memfd, which must have the size of T.
func mapShared[T any](fd int) (*T, error) {
	size := int(unsafe.Sizeof(*new(T)))
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
	return (*T)(unsafe.Pointer(&mem[0])), nil
}

func unmapShared[T any](content *T) {
	unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(content)), unsafe.Sizeof(*content)))
}
