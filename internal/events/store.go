package events

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// store is a memfd with an event a line. What a line has no newline for was being
// written when its writer was killed, and does not count. The position of the
// descriptor, which others share, is not used.
type store struct {
	fd  int
	end int64
}

func newStore() (*store, error) {
	fd, err := unix.MemfdCreate("events", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	return &store{fd: fd}, nil
}

// openStore takes the one from the bag over.
func openStore(fds []int) (*store, error) {
	if len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("there are %d descriptors", len(fds))
	}
	return &store{fd: fds[0]}, nil
}

// each calls f for each whole line and where it is, and drops the rest.
func (s *store) each(f func(line []byte, off int64) error) error {
	data, err := s.all()
	if err != nil {
		return s.failed(err)
	}
	for s.end = 0; ; {
		line, _, whole := bytes.Cut(data[s.end:], []byte{'\n'})
		if !whole {
			break
		}
		if err := f(line, s.end); err != nil {
			return s.failed(err)
		}
		s.end += int64(len(line)) + 1
	}
	return s.failed(unix.Ftruncate(s.fd, s.end))
}

// failed closes it if there is an error, and gives that.
func (s *store) failed(err error) error {
	if err != nil {
		s.close()
	}
	return err
}

func (s *store) all() ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return nil, err
	}
	if st.Size > maxBytes+maxEvent {
		return nil, fmt.Errorf("it has %d bytes", st.Size)
	}
	return s.get(0, int(st.Size))
}

func (s *store) get(off int64, size int) ([]byte, error) {
	b := make([]byte, size)
	for have := 0; have < size; {
		n, err := unix.Pread(s.fd, b[have:], off+int64(have))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return nil, fmt.Errorf("it ends at byte %d", off+int64(have))
		default:
			have += n
		}
	}
	return b, nil
}

// append writes a line that has its newline behind the others.
func (s *store) append(line []byte) (off int64, err error) {
	off, s.end = s.end, s.end+int64(len(line))
	for at := off; len(line) > 0; {
		n, err := unix.Pwrite(s.fd, line, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil { // of half a line nothing is left
			s.end = off
			return off, errors.Join(err, unix.Ftruncate(s.fd, off))
		}
		line, at = line[n:], at+int64(n)
	}
	return off, nil
}

// empty drops everything that is in it.
func (s *store) empty() {
	s.end = 0
	_ = unix.Ftruncate(s.fd, 0) // what is left is written over
}

// put gives it to the bag.
func (s *store) put(bag Bag) error { return bag.Put(Item, nil, s.fd) }

func (s *store) close() { unix.Close(s.fd) }
