package fdstore

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/initproto"
)

// MaxValue bounds a value that PutJSON keeps, in bytes.
const MaxValue = 64 << 20

// Items are the items of the previous supervisor.
type Items struct {
	Blobs map[string][]byte
	Files map[string][]int // descriptors, close-on-exec
}

// NewItems returns an empty set.
func NewItems() Items { return Items{Blobs: map[string][]byte{}, Files: map[string][]int{}} }

// Add adds an item.
func (it Items) Add(name string, blob []byte, fds []int) { it.Blobs[name], it.Files[name] = blob, fds }

// Has reports whether there is an item of that name.
func (it Items) Has(name string) bool {
	_, ok := it.Blobs[name]
	return ok
}

// Names returns the names that begin with prefix, in order.
func (it Items) Names(prefix string) []string {
	names := slices.Sorted(maps.Keys(it.Blobs))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

// Take removes and returns an item. The caller owns its descriptors.
func (it Items) Take(name string) (blob []byte, fds []int, ok bool) {
	if !it.Has(name) {
		return nil, nil, false
	}
	blob, fds = it.Blobs[name], it.Files[name]
	delete(it.Blobs, name)
	delete(it.Files, name)
	return blob, fds, true
}

// TakeJSON removes an item of PutJSON and decodes it. found is false if there is none.
func (it Items) TakeJSON(name string, value any) (found bool, err error) {
	blob, fds, found := it.Take(name)
	if !found {
		return false, nil
	}
	if len(blob) > 0 || len(fds) != 1 {
		initproto.CloseAll(fds)
	} else {
		f := os.NewFile(uintptr(fds[0]), name)
		defer f.Close() // not by its number, which may be reused by then
		if blob, err = ReadFile(f, MaxValue); err != nil {
			return true, fmt.Errorf("cannot read the kept %q: %w", name, err)
		}
	}
	if err := json.Unmarshal(blob, value); err != nil {
		return true, fmt.Errorf("cannot read the kept %q: %w", name, err)
	}
	return true, nil
}

// TakeFile removes an item of PutFile and returns its file and blob.
func (it Items) TakeFile(name string) (f *os.File, blob []byte, err error) {
	blob, fds, _ := it.Take(name)
	if len(fds) != 1 {
		initproto.CloseAll(fds)
		return nil, nil, fmt.Errorf("cannot read the kept %q: it has %d descriptors", name, len(fds))
	}
	return os.NewFile(uintptr(fds[0]), name), blob, nil
}

// ReadFile reads a whole file of an item; the file position is shared with earlier
// supervisors. A file of more than limit bytes is an error.
func ReadFile(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, err
}
