package config

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Changes that come together are one: it is told when nothing has come for
// settleTime, and at the latest settleMost after the first.
const (
	settleTime = 200 * time.Millisecond
	settleMost = 2 * time.Second
)

// Watcher sees when the files of a configuration change. It watches folders, not
// files: editors, package managers and Kubernetes put a new file, or a new
// folder, in the place of the old one. It reads what is there and tells only
// when that has become different, so that a touched file or an editor's backup
// is no change.
type Watcher struct {
	find   func() places            // where a change can be seen now
	sum    func() [sha256.Size]byte // of what is there now; nil: every change is told
	notify *fsnotify.Watcher
	places places
	digest [sha256.Size]byte // of what was there when it last looked
}

// NewWatcher begins to watch the files that Load reads with the same options.
// They need not exist. What changes from here on is told by Run; what changed
// before it, the caller finds by loading once more. Run must follow.
//
// Where the system lets nobody watch, the error says what can be done, and
// nothing is lost but the watching.
func NewWatcher(o Options) (*Watcher, error) {
	file, _ := o.path()
	return newWatcher(func() places { return placesOf(file) }, func() [sha256.Size]byte { return digestOf(file) })
}

// NewFileWatcher is a Watcher of other files, and of the files in folders whose
// names count. They need not exist either.
func NewFileWatcher(files, dirs []string, counts func(name string) bool) (*Watcher, error) {
	find := func() places {
		p := newPlaces(counts)
		for _, file := range files {
			p.follow(absolute(file))
		}
		for _, dir := range dirs {
			p.list(dir)
		}
		return p
	}
	return newWatcher(find, func() [sha256.Size]byte { return digestOfAll(files, dirs, counts) })
}

// NewPathWatcher is a Watcher of what is at a path, whatever that holds. It tells whenever
// that may be gone, or something else be there: it has nothing to compare it with, as who
// is told puts back what is gone.
func NewPathWatcher(path string) (*Watcher, error) {
	find := func() places {
		p := newPlaces(nil)
		p.follow(absolute(path))
		return p
	}
	return newWatcher(find, nil)
}

func newWatcher(find func() places, sum func() [sha256.Size]byte) (*Watcher, error) {
	if err := proc.DescriptorsFor(1); err != nil {
		return nil, watchError(err)
	}
	n, err := fsnotify.NewWatcher() // its goroutine ends with Run
	if err != nil {
		return nil, watchError(err)
	}
	w := &Watcher{find: find, sum: sum, notify: n}
	if err := w.refresh(); err != nil {
		return nil, errors.Join(watchError(err), n.Close())
	}
	if sum != nil {
		w.digest = sum()
	}
	return w, nil
}

// Run calls changed, one call at a time, whenever the files have become
// different, until ctx ends, which is no error, or the files cannot be watched
// any longer. changed may call Load; while it runs, further changes are
// gathered.
func (w *Watcher) Run(ctx context.Context, changed func()) error {
	err := gather(ctx, w.notify.Events, w.notify.Errors, func(path string) bool { return w.places.concern(path) }, func() error {
		// The folders first: what comes after the reading is then seen.
		if err := w.refresh(); err != nil {
			return err
		}
		if w.sum != nil {
			now := w.sum()
			if now == w.digest {
				return nil
			}
			w.digest = now
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

// gather calls look when events that concern us have come and settled, until ctx
// ends or one of the two fails.
func gather(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, concern func(path string) bool, look func() error) error {
	timer := time.NewTimer(settleMost)
	timer.Stop()
	var first time.Time // of the events that were not looked after yet; zero: there are none
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
			if concern(e.Name) {
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
			if err := look(); err != nil {
				return err
			}
		}
	}
}

// refreshTries bounds how often the folders are looked at anew because they
// changed meanwhile. If they still do, what we watch already tells of it.
const refreshTries = 5

// refresh watches what the files' paths lead through now, and nothing else.
func (w *Watcher) refresh() error {
	for range refreshTries {
		now := w.find()
		if err := w.watch(now); err != nil {
			return err
		}
		w.places = now
		if w.find().equal(now) {
			break
		}
	}
	return nil
}

// watch makes the folders of next the watched ones.
func (w *Watcher) watch(next places) error {
	// The library's own list: it gives up a folder that was moved or removed.
	have := map[string]bool{}
	for _, dir := range w.notify.WatchList() {
		id, wanted := next.folders[dir]
		if wanted && id == w.places.folders[dir] {
			have[dir] = true
			continue
		}
		// Not wanted, or another folder by that name now. It may be gone already.
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

// digestOf is a digest of all that Load would read of the file and its conf.d,
// with what keeps it from reading.
func digestOf(file string) (sum [sha256.Size]byte) {
	h := sha256.New()
	l := loader{report: newReport()}
	for _, path := range append([]string{file}, l.confD(file)...) {
		addFile(h, path)
	}
	fmt.Fprintf(h, "%v", l.report.problems)
	return [sha256.Size]byte(h.Sum(nil))
}

// digestOfAll is the same of files, and of those in folders that count.
func digestOfAll(files, dirs []string, counts func(name string) bool) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, path := range files {
		addFile(h, path)
	}
	for _, dir := range dirs {
		entries, err := untrusted.ReadDir(dir, maxNames)
		fmt.Fprintf(h, "%q %v\n", dir, err)
		for _, e := range entries {
			if counts(e.Name()) {
				addFile(h, filepath.Join(dir, e.Name()))
			}
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// addFile adds what is in a file, or what keeps it from being read.
func addFile(h hash.Hash, path string) {
	data, ok, p := readFile(path)
	fmt.Fprintf(h, "%q %v %q %d\n", path, ok, p.Message, len(data))
	h.Write(data)
}

// watchError says what keeps us from watching, and what to do about it.
func watchError(err error) error {
	what := "look at the system's log"
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
	return fmt.Errorf("cannot watch files: %w\nhint: %s; what is asked for, a reload by the signal HUP or a restart, works all the same", err, what)
}
