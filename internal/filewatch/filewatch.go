// Package filewatch reports changes of files, whatever links and folders lead to them. Its
// callers read the files themselves.
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

// Changes that come together are reported as one: when no event has come for
// settleTime, and at the latest settleMost after the first.
const (
	settleTime = 200 * time.Millisecond
	settleMost = 2 * time.Second
)

// Bounds of a watched file, in bytes, and of the entries of a folder.
const (
	maxFile  = 1 << 20
	maxNames = 10_000
)

// Watcher reports changes of files. It watches folders, not files: editors, package
// managers and Kubernetes put a new file, or a new folder, in the place of the old one.
// It compares what is there, so a touched file or an editor's backup is no change.
type Watcher struct {
	find    func() watchSet          // where a change can be seen now
	digest  func() [sha256.Size]byte // of what is there now; nil: every event is a change
	notify  *fsnotify.Watcher
	watched watchSet
	last    [sha256.Size]byte // the digest at the last comparison
}

// FileSet says which files a Watcher watches.
type FileSet struct {
	Files   []string
	Folders []string               // the files in them that Match accepts
	Match   func(name string) bool // of the names in Folders
}

// New watches files, which need not exist. Run reports what changes from here on; the
// caller reads the files once more for what changed before. Run must follow.
//
// Where the system refuses to watch, the error says what can be done.
func New(set FileSet) (*Watcher, error) {
	return newWatcher(set.watchSet, set.digest)
}

// NewPath watches whatever is at a path. It has no content to compare, so it reports
// every event that may have removed or replaced it.
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

// Run calls changed, one call at a time, whenever the files differ from before. It ends
// with ctx, without an error, or when the files cannot be watched any longer. Changes
// during a call of changed are reported after it.
func (w *Watcher) Run(ctx context.Context, changed func()) error {
	err := debounce(ctx, w.notify.Events, w.notify.Errors, func(path string) bool { return w.watched.concerns(path) }, func() error {
		// The folders first, so that what changes after the reading is seen.
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

// debounce calls compare when relevant events have come and settled, until ctx ends, or
// the watch or compare fails.
func debounce(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, relevant func(path string) bool,
	compare func() error) error {
	timer := time.NewTimer(settleMost)
	timer.Stop()
	var first time.Time // of the events not yet compared; zero: there are none
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
			// Events were lost: any of them may have been ours. EINVAL: a folder
			// was gone before the library could leave it.
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

// refreshTries bounds how often the folders are read again because they changed
// meanwhile. Later changes of theirs come as events.
const refreshTries = 5

// refresh watches the folders that the files' paths lead through now.
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

// watch makes the folders of next the watched ones.
func (w *Watcher) watch(next watchSet) error {
	// The library drops a folder that was moved or removed from its own list.
	have := map[string]bool{}
	for _, dir := range w.notify.WatchList() {
		id, wanted := next.folders[dir]
		if wanted && id == w.watched.folders[dir] {
			have[dir] = true
			continue
		}
		// It is not needed, or another folder has that name now. It may be gone already.
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

// digest is a hash of what is in the files, and of what keeps them from being read.
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

// watchError adds what to do about it.
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
