package proc

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/stoker-init/stoker/internal/fdstore"
)

// FDStore keeps what the next supervisor gets back.
func (m *Manager) FDStore() *fdstore.Store { return m.store }

// Put keeps a blob (64 KiB at most) and descriptors for the next supervisor.
func (m *Manager) Put(name string, body []byte, fds ...int) error {
	return m.store.Put(name, body, fds...)
}

// Del deletes an item.
func (m *Manager) Del(name string) { m.store.Delete(name) }

// withLimitHint adds a hint to an error that is caused by too few descriptors.
func withLimitHint(err error) error {
	var limit syscall.Rlimit
	if !errors.Is(err, syscall.EMFILE) || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return err
	}
	return fmt.Errorf("%w\nhint: the limit of open files is %d here; raise it (docker run --ulimit nofile=65536)", err, limit.Cur)
}
