// Package filewatch reports changes of files through any links and folders that lead to them. Its callers read the files.
package filewatch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Changes are reported together: after settleTime without an event, and at the latest settleMost after the first.
const (
	settleTime = 200 * time.Millisecond
	settleMost = 2 * time.Second
)

// Bounds of a watched file, in bytes, and of the entries of a folder.
const (
	maxFile  = 1 << 20
	maxNames = 10_000
)

// Watcher reports changes of files. It watches folders, since editors, package managers and Kubernetes replace files or folders. It
// compares contents, so touching a file is no change.
type Watcher struct {
	find    func() watchSet          // the current folders to watch
	digest  func() [sha256.Size]byte // of the current contents; nil: every event is a change
	notify  *fsnotify.Watcher
	watched watchSet
	last    [sha256.Size]byte // the digest of the last comparison
}

// FileSet selects the files that a Watcher watches.
type FileSet struct {
	Files   []string
	Folders []string               // their files that Match accepts
	Match   func(name string) bool // accepts file names in Folders
}

// New watches files, which need not exist. Run reports changes after New; the caller rereads the files once for earlier ones. Run must
// be called.
//
// If the system refuses to watch, the error contains a hint.
func New(set FileSet) (*Watcher, error) {
	return newWatcher(set.watchSet, set.digest)
}

// NewPath watches a path of any type. Without contents to compare, it reports every event that may have removed or replaced it.
func NewPath(path string) (*Watcher, error) {
	find := func() watchSet {
		s := newWatchSet(nil)
		s.follow(absolute(path))
		return s
	}
	return newWatcher(find, nil)
}

func newWatcher(find func() watchSet, digest func() [sha256.Size]byte) (*Watcher, error) {
	if err := headroom.DescriptorsFor(1); err != nil {
		return nil, watchError(err)
	}
	n, err := fsnotify.NewWatcher() // its goroutine ends with Run
	if err != nil {
		return nil, watchError(err)
	}
	w := &Watcher{find: find, digest: digest, notify: n}
	if err := w.refresh(); err != nil {
		return nil, errors.Join(watchError(err), n.Close())
	}
	if digest != nil {
		w.last = digest()
	}
	return w, nil
}

// Run calls changed, one call at a time, whenever the files have changed. It returns nil when ctx ends, or an error when watching
// fails. Changes during a call of changed are reported after it.
func (w *Watcher) Run(ctx context.Context, changed func()) error {
	err := debounce(ctx, w.notify.Events, w.notify.Errors, func(path string) bool { return w.watched.concerns(path) }, func() error {
		// The folders first, so that changes after the reading are seen.
		if err := w.refresh(); err != nil {
			return err
		}
		if w.digest != nil {
			now := w.digest()
			if now == w.last {
				return nil
			}
			w.last = now
		}
		changed()
		return nil
	})
	closed := w.notify.Close()
	if err != nil {
		return watchError(err)
	}
	return closed
}

// debounce calls compare when relevant events have settled, until ctx ends, or the watch or compare fails.
func debounce(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, relevant func(path string) bool,
	compare func() error) error {
	timer := time.NewTimer(settleMost)
	timer.Stop()
	var first time.Time // of the pending events; zero: none
	settle := func() {
		if first.IsZero() {
			first = time.Now()
		}
		timer.Reset(max(0, min(settleTime, settleMost-time.Since(first))))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return fsnotify.ErrClosed
			}
			if relevant(e.Name) {
				settle()
			}
		case err, ok := <-errs:
			// Events were lost, and any may have been relevant. EINVAL: a folder was removed before the library dropped it.
			if !ok || !errors.Is(err, fsnotify.ErrEventOverflow) && !errors.Is(err, syscall.EINVAL) {
				return cmp.Or(err, fsnotify.ErrClosed)
			}
			settle()
		case <-timer.C:
			first = time.Time{}
			if err := compare(); err != nil {
				return err
			}
		}
	}
}

// refreshTries bounds the rereads of folders that change meanwhile. Later changes cause events.
const refreshTries = 5

// refresh watches the folders that the paths currently lead through.
func (w *Watcher) refresh() error {
	for range refreshTries {
		now := w.find()
		if err := w.watch(now); err != nil {
			return err
		}
		w.watched = now
		if w.find().equal(now) {
			break
		}
	}
	return nil
}

// watch replaces the watched folders by those of next.
func (w *Watcher) watch(next watchSet) error {
	// The library drops a moved or removed folder from its own list.
	have := map[string]bool{}
	for _, dir := range w.notify.WatchList() {
		id, wanted := next.folders[dir]
		if wanted && id == w.watched.folders[dir] {
			have[dir] = true
			continue
		}
		// It is no longer needed, or the name now belongs to another folder. It may already be gone.
		_ = w.notify.Remove(dir)
	}
	for dir := range next.folders {
		if have[dir] {
			continue
		}
		if err := w.notify.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// digest returns a hash of the contents of the files and of read errors.
func (f FileSet) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	addFile := func(path string) {
		data, err := untrusted.ReadFile(path, maxFile)
		fmt.Fprintf(h, "%q %v %d\n", path, err, len(data))
		h.Write(data)
	}
	for _, path := range f.Files {
		addFile(path)
	}
	for _, dir := range f.Folders {
		entries, err := untrusted.ReadDir(dir, maxNames)
		fmt.Fprintf(h, "%q %v\n", dir, err)
		for _, e := range entries {
			if f.Match(e.Name()) {
				addFile(filepath.Join(dir, e.Name()))
			}
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// watchError adds a hint.
func watchError(err error) error {
	what := "see the system's log"
	switch {
	case errors.Is(err, syscall.ENOSYS):
		what = "this system has no inotify"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		what = "raise fs.inotify.max_user_instances on the host, or the limit of open files"
	case errors.Is(err, syscall.ENOSPC):
		what = "raise fs.inotify.max_user_watches on the host"
	case errors.Is(err, fs.ErrPermission):
		what = "the folder must be readable for stoker"
	}
	return fmt.Errorf("cannot watch files: %w\nhint: %s; a reload by the signal HUP still works", err, what)
}
