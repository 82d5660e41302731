package archive

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/statefile"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// ErrNone means that a service has no archive.
var ErrNone = errors.New("there is no archive")

// Bounds: of a description in bytes, and of the names in a folder or a cache.
const (
	maxDescription = 1 << 20
	maxNames       = 4096
)

// Checker finds archives. It remembers the checksums of files that have not changed since. The zero value is ready. It is safe for
// concurrent use.
type Checker struct {
	sums cache[uint32] // CRC-32C of whole files
	jars cache[jarFile]
}

// cache has what was read from files that have not changed since.
type cache[T any] struct {
	mu    sync.Mutex
	known map[string]cached[T] // by path
}

type cached[T any] struct {
	state fileState
	value T
}

// fileState changes with the content of a file.
type fileState struct {
	dev, ino           uint64
	size, mtime, ctime int64
}

func stateOf(info fs.FileInfo) fileState {
	st := info.Sys().(*syscall.Stat_t) // of package os
	return fileState{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

func (c *cache[T]) get(path string, info fs.FileInfo) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.known[path]
	return found.value, ok && found.state == stateOf(info)
}

func (c *cache[T]) put(path string, info fs.FileInfo, value T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxNames {
		c.known = map[string]cached[T]{}
	}
	c.known[path] = cached[T]{stateOf(info), value}
}

// Any reports whether a service has an archive in folder dir, for any identity.
func Any(dir, service string) bool { return len(keys(dir, service)) > 0 }

// keys lists the keys of a service's archives.
func keys(dir, service string) (out []string) {
	entries, _ := untrusted.ReadDir(dir, maxNames) // without a folder there is none
	for _, e := range entries {
		if key, ok := keyOf(e.Name(), service); ok && strings.HasSuffix(e.Name(), ".json") {
			out = append(out, key)
		}
	}
	return out
}

// keyOf returns the key in the name of a file of a service.
func keyOf(name, service string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(name, service+"-")
	key, _, dot := strings.Cut(rest, ".")
	return key, ok && dot && len(key) == len(Identity{}.Key()) && strings.Trim(key, "0123456789abcdef") == ""
}

// description is the file with the description of an archive.
func description(dir, service, key string) statefile.File {
	return statefile.File{Path: filepath.Join(dir, service+"-"+key+".json"), Kind: "archive", Max: maxDescription}
}

// Find returns the archive in folder dir that a service can use with an identity. ErrNone: the service has no archive,
// for any identity. Another error says why those that there are cannot be used.
func (c *Checker) Find(dir, service string, id Identity) (Archive, error) {
	all, key := keys(dir, service), id.Key()
	if len(all) == 0 {
		return Archive{}, ErrNone
	}
	if err := trustFolder(dir); err != nil {
		return Archive{}, err
	}
	if !slices.Contains(all, key) {
		return Archive{}, mismatch(dir, service, all, id)
	}
	var d Description
	if err := description(dir, service, key).Read(&d); err != nil {
		return Archive{}, err
	}
	a := Archive{filepath.Join(dir, service+"-"+key+id.suffix()), d}
	return a, c.check(a)
}

// trustFolder rejects a folder in which other users could replace files. Without root there is no other user of the container to fear.
func trustFolder(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return trust.Path(dir, 0)
}

// mismatch says how the newest archive of a service differs.
func mismatch(dir, service string, keys []string, id Identity) error {
	var newest Description
	for _, key := range keys {
		var d Description
		if err := description(dir, service, key).Read(&d); err == nil && d.Made.After(newest.Made) {
			newest = d
		}
	}
	if newest.Made.IsZero() {
		return errors.New("its description cannot be read")
	}
	return fmt.Errorf("%s since it was made on %s", id.difference(newest.Identity), newest.Made.UTC().Format("2006-01-02 15:04"))
}

// check compares the file with its description.
func (c *Checker) check(a Archive) error {
	f, err := untrusted.Open(a.Path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", a.Path, untrusted.Cause(err))
	}
	defer f.Close()
	if err := statefile.CheckOwner(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != a.Size {
		return fmt.Errorf("%s has %d bytes instead of %d", a.Path, info.Size(), a.Size)
	}
	sum, err := c.checksum(f, info)
	if err == nil && sum != a.CRC {
		err = fmt.Errorf("the checksum of %s is wrong", a.Path)
	}
	return err
}

// checksum returns the CRC-32C of a file, which is read if it has changed. A processor does about 10 GB/s.
func (c *Checker) checksum(f *os.File, info fs.FileInfo) (uint32, error) {
	if known, ok := c.sums.get(f.Name(), info); ok {
		return known, nil
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{f}, make([]byte, 256<<10)); err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", f.Name(), err)
	}
	c.sums.put(f.Name(), info, sum.Sum32())
	return sum.Sum32(), nil
}
