package incident

import (
	"errors"
	"sync"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// memoryStore is an fd store without an init. It duplicates descriptors, as the kernel
// does when they are sent.
type memoryStore struct {
	t      *testing.T
	mu     sync.Mutex
	refuse error
	blobs  map[string][]byte
	files  map[string][]int
	most   int // items at once
}

func newMemoryStore(t *testing.T) *memoryStore {
	b := &memoryStore{t: t, blobs: map[string][]byte{}, files: map[string][]int{}}
	t.Cleanup(func() {
		for name := range b.blobs {
			b.Delete(name)
		}
	})
	return b
}

func (b *memoryStore) Put(name string, body []byte, fds ...int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	b.forget(name)
	for _, fd := range fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			b.t.Error(err)
		}
		b.files[name] = append(b.files[name], own)
	}
	b.blobs[name] = body
	b.most = max(b.most, len(b.blobs))
	return nil
}

func (b *memoryStore) PutFile(name string, blob []byte, f syscall.Conn) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var putErr error
	err = raw.Control(func(fd uintptr) { putErr = b.Put(name, blob, int(fd)) })
	return errors.Join(err, putErr)
}

func (b *memoryStore) Delete(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(name)
}

func (b *memoryStore) forget(name string) {
	for _, fd := range b.files[name] {
		unix.Close(fd)
	}
	delete(b.files, name)
	delete(b.blobs, name)
}

// replay is what a new supervisor gets: copies.
func (b *memoryStore) replay() (map[string][]byte, map[string][]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	blobs, files := map[string][]byte{}, map[string][]int{}
	for name, body := range b.blobs {
		blobs[name] = body
		for _, fd := range b.files[name] {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				b.t.Error(err)
			}
			files[name] = append(files[name], own)
		}
	}
	return blobs, files
}

// warnings collects the warnings for the operator.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

func (b *memoryStore) resume(w *warnings) *Store {
	blobs, files := b.replay()
	blobs["service/app"], files["service/app"] = []byte("{}"), nil
	s := Restore(b, fdstore.Items{Blobs: blobs, Files: files}, w.add)
	b.t.Cleanup(func() { // not by the garbage collector, which another test would see
		for _, k := range s.kept {
			k.file.Close()
		}
	})
	if len(blobs) != 1 || len(files) != 1 {
		b.t.Errorf("left: %v %v", blobs, files)
	}
	return s
}

func numbers(list []Summary) (out []uint64) {
	for _, s := range list {
		out = append(out, s.Number)
	}
	return out
}
