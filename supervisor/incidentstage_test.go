package supervisor

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// memoryBag is a bag without an init. It duplicates descriptors, as the kernel
// does when they are sent.
type memoryBag struct {
	t      *testing.T
	mu     sync.Mutex
	refuse error
	blobs  map[string][]byte
	files  map[string][]int
	most   int // items at once
}

func newMemoryBag(t *testing.T) *memoryBag {
	b := &memoryBag{t: t, blobs: map[string][]byte{}, files: map[string][]int{}}
	t.Cleanup(func() {
		for name := range b.blobs {
			b.Del(name)
		}
	})
	return b
}

func (b *memoryBag) Put(name string, body []byte, fds ...int) error {
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

func (b *memoryBag) Del(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(name)
}

func (b *memoryBag) forget(name string) {
	for _, fd := range b.files[name] {
		unix.Close(fd)
	}
	delete(b.files, name)
	delete(b.blobs, name)
}

// replay is what a new supervisor gets: copies.
func (b *memoryBag) replay() (map[string][]byte, map[string][]int) {
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

// warnings collects what an operator would be told.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

func (b *memoryBag) resume(w *warnings) *Incidents {
	blobs, files := b.replay()
	blobs["service/app"], files["service/app"] = []byte("{}"), nil
	s := ResumeIncidents(b, blobs, files, w.add)
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
