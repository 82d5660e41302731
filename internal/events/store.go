package events

import (
	"bytes"
	"encoding/json"
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

// store is a memfd with one event a line. Text behind the last newline was being written when its
// writer was killed.
type store struct {
	*os.File
	end int64
}

// entry is where an event is in the store.
type entry struct {
	id   uint64
	off  int64
	size int // with its newline
}

// each calls f for each whole line and its offset, and drops the rest.
func (s *store) each(f func(line []byte, off int64) error) error {
	data, err := fdstore.ReadFile(s.File, maxBytes+maxEvent)
	for s.end = 0; err == nil; {
		line, _, whole := bytes.Cut(data[s.end:], []byte{'\n'})
		if !whole {
			return s.Truncate(s.end)
		}
		if err = f(line, s.end); err == nil {
			s.end += int64(len(line)) + 1
		}
	}
	return err
}

func (s *store) read(x entry) ([]byte, error) {
	line := make([]byte, x.size)
	_, err := s.ReadAt(line, x.off)
	return line, err
}

func (s *store) event(x entry) (e Event, err error) {
	line, err := s.read(x)
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	return e, err
}

// append adds a line with its newline.
func (s *store) append(id uint64, line []byte) (entry, error) {
	x := entry{id, s.end, len(line)}
	if _, err := s.WriteAt(line, x.off); err != nil { // half a line must not stay
		return x, errors.Join(err, s.Truncate(x.off))
	}
	s.end += int64(x.size)
	return x, nil
}
