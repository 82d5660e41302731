package proc

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
)

// room counts the descriptors in the bag as the init does. What has no place there is
// never sent: a process whose record the init had refused would end unseen.
type room struct {
	mu    sync.Mutex // held while a message is sent: both sides count in one order
	most  int        // 0: not known, of an older init
	used  int
	items map[string]int
}

// noRoomError says that the bag has no place for the descriptors of an item.
type noRoomError struct{ used, most, want int }

func (e *noRoomError) Error() string {
	return fmt.Sprintf("the init keeps %d descriptors for the next supervisor, %d are the most, and %d more are needed",
		e.used, e.most, e.want)
}

// Unwrap makes it what it comes from: too small a limit of open files.
func (e *noRoomError) Unwrap() error { return syscall.EMFILE }

// adopted counts an item that was in the bag.
func (r *room) adopted(it *initproto.Msg) {
	r.items[it.Name] = len(it.Fds)
	r.used += len(it.Fds)
}

// put sends an item to the bag.
func (m *Manager) put(msg *initproto.Msg) error {
	r := &m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	had, n := r.items[msg.Name], len(msg.Fds)
	if r.most > 0 && n > had && r.used-had+n > r.most {
		return &noRoomError{r.used, r.most, n - had}
	}
	if err := m.conn.Send(msg); err != nil {
		return err
	}
	if n > 0 { // without any it keeps those that it has
		r.items[msg.Name] = n
		r.used += n - had
	}
	return nil
}

// Put keeps a blob (64 KiB at most) and descriptors for the next supervisor.
func (m *Manager) Put(name string, body []byte, fds ...int) error {
	return m.put(&initproto.Msg{Type: initproto.Put, Name: name, Body: body, Fds: fds})
}

// Del forgets an item.
func (m *Manager) Del(name string) {
	r := &m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	m.send(&initproto.Msg{Type: initproto.Del, Name: name})
	r.used -= r.items[name]
	delete(r.items, name)
}

// limited adds what to do about an error that comes of too few descriptors.
func limited(err error) error {
	var limit syscall.Rlimit
	if !errors.Is(err, syscall.EMFILE) || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return err
	}
	return fmt.Errorf("%w\nhint: the limit of open files is %d here; raise it (docker run --ulimit nofile=65536)", err, limit.Cur)
}
