package events

import (
	"bytes"
	"errors"
	"os"
	"syscall"

	"github.com/stoker-init/stoker/internal/fdstore"
)

// FDStore keeps the file of the journal for the next supervisor.
type FDStore interface {
	PutFile(name string, blob []byte, f syscall.Conn) error
}

// Item is the name of the journal in the fd store.
const Item = "events"

// store is a memfd with one event a line. A line without a newline was being written when
// its writer was killed, and does not count.
type store struct {
	*os.File
	end int64
}

func newStore() (*store, error) {
	f, err := fdstore.NewFile(Item, nil)
	if err != nil {
		return nil, err
	}
	return &store{File: f}, nil
}

// each calls f for each whole line and its offset, and drops the rest. It closes the store
// if there is an error.
func (s *store) each(f func(line []byte, off int64) error) error {
	data, err := fdstore.ReadFile(s.File, maxBytes+maxEvent)
	for s.end = 0; err == nil; {
		line, _, whole := bytes.Cut(data[s.end:], []byte{'\n'})
		if !whole {
			err = s.Truncate(s.end)
			break
		}
		if err = f(line, s.end); err == nil {
			s.end += int64(len(line)) + 1
		}
	}
	if err != nil {
		s.Close()
	}
	return err
}

func (s *store) read(off int64, size int) ([]byte, error) {
	b := make([]byte, size)
	_, err := s.ReadAt(b, off)
	return b, err
}

// append writes a line with its newline behind the others.
func (s *store) append(line []byte) (off int64, err error) {
	off = s.end
	if _, err := s.WriteAt(line, off); err != nil { // half a line must not stay
		return off, errors.Join(err, s.Truncate(off))
	}
	s.end += int64(len(line))
	return off, nil
}

// empty drops every line.
func (s *store) empty() {
	s.end = 0
	_ = s.Truncate(0) // what is left is overwritten
}
