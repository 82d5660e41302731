package fdstore

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// Store puts items into the fd store. Several goroutines may use it.
type Store struct {
	send func(*initproto.Msg) error

	mu    sync.Mutex // held while a message is sent: the init counts in the same order
	limit int        // descriptors that the init keeps; 0: unknown
	used  int
	fds   map[string]int // descriptors of each item that has some
}

// New returns the store behind the connection that send sends on.
func New(send func(*initproto.Msg) error) *Store {
	return &Store{send: send, fds: map[string]int{}}
}

// Process is what the init needs to know about an item that records a process.
type Process struct {
	Pid    int   // the init reports its exit; 0: none, or unknown yet
	Intent bool  // the process may exist already, with a pid that is not known yet
	Pipes  []int // which of the item's descriptors are log pipes: the init empties them while no supervisor reads
}

// Put keeps a blob and duplicates of descriptors. An item that does not fit is not sent: the
// init would reject it without notice.
func (s *Store) Put(name string, blob []byte, fds ...int) error {
	return s.put(&initproto.Msg{Name: name, Body: blob, Fds: fds})
}

// PutProcess keeps the record of a process.
func (s *Store) PutProcess(name string, record any, p Process, fds ...int) error {
	blob, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("cannot keep %q: %w", name, err)
	}
	return s.put(&initproto.Msg{Name: name, Body: blob, Fds: fds, Pid: p.Pid, Intent: p.Intent, Pipes: p.Pipes})
}

// PutJSON keeps a value and descriptors. Without descriptors a value that is too large for a
// blob is kept in a memfd.
func (s *Store) PutJSON(name string, value any, fds ...int) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot keep %q: %w", name, err)
	}
	if len(data) <= initproto.MaxBlob || len(fds) > 0 {
		return s.Put(name, data, fds...)
	}
	f, err := NewFile(name, data)
	if err != nil {
		return fmt.Errorf("cannot keep %q: %w", name, err)
	}
	defer f.Close()
	return s.PutFile(name, nil, f)
}

// PutFile keeps an open file or a socket, and a blob.
func (s *Store) PutFile(name string, blob []byte, f syscall.Conn) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot keep %q: %w", name, err)
	}
	var putErr error
	if err := raw.Control(func(fd uintptr) { putErr = s.Put(name, blob, int(fd)) }); err != nil {
		return fmt.Errorf("cannot keep %q: %w", name, err)
	}
	return putErr
}

func (s *Store) put(m *initproto.Msg) error {
	m.Type = initproto.Put
	s.mu.Lock()
	defer s.mu.Unlock()
	had, n := s.fds[m.Name], len(m.Fds)
	if s.limit > 0 && n > had && s.used-had+n > s.limit {
		return fmt.Errorf("the init keeps %d descriptors for the next supervisor, %d are the most, and %d more are needed: %w",
			s.used, s.limit, n-had, syscall.EMFILE)
	}
	if err := s.send(m); err != nil {
		return err
	}
	if n > 0 { // without new ones the item keeps its descriptors
		s.fds[m.Name] = n
		s.used += n - had
	}
	return nil
}

// Delete removes an item. The receiver of the connection reports its errors.
func (s *Store) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.send(&initproto.Msg{Type: initproto.Del, Name: name})
	s.used -= s.fds[name]
	delete(s.fds, name)
}

// SetLimit sets how many descriptors the init keeps; 0: unknown.
func (s *Store) SetLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
}

// Replayed counts an item of the previous supervisor.
func (s *Store) Replayed(m *initproto.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fds[m.Name] = len(m.Fds)
	s.used += len(m.Fds)
}

// NewFile makes a memfd that holds data, for PutFile.
func NewFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot write to a memfd: %w", err)
	}
	return f, nil
}
