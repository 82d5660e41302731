package recording

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Options of a Recorder.
type Options struct {
	Folder    string
	FileSize  int64 // bytes of one recording
	TotalSize int64 // bytes of all
	Input     bool  // record what is typed too
	Required  bool  // a session ends when it cannot be recorded any more
}

// maxFiles is how many recordings are kept: many short ones are small.
const maxFiles = 1000

// Recorder makes recordings in a folder of its own, and removes the oldest ones. A recording that is being written is locked
// (flock(2)): several containers may share the folder.
type Recorder struct {
	log hclog.Logger

	mu   sync.Mutex // guards the rest, and keeps two from making room at a time
	opts Options
	open map[string]bool // the files that this stoker writes

	removed  int64     // recordings that made room
	unlogged int       // of these
	logged   time.Time // the last time
}

// Removed counts the recordings that were removed to make room for others.
func (r *Recorder) Removed() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removed
}

// logPeriod is how often the log tells of recordings that were removed.
const logPeriod = time.Minute

// note counts a recording that was removed; mu is held.
func (r *Recorder) note(name string) {
	r.removed, r.unlogged = r.removed+1, r.unlogged+1
	if now := time.Now(); now.Sub(r.logged) >= logPeriod {
		r.log.Warn("recordings were removed to make room for new ones", "count", r.unlogged, "last", name)
		r.unlogged, r.logged = 0, now
	}
}

// New makes a Recorder.
func New(opts Options, log hclog.Logger) *Recorder {
	return &Recorder{opts: opts, log: log, open: map[string]bool{}}
}

// Configure applies to recordings that are created from now on.
func (r *Recorder) Configure(opts Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opts = opts
}

func (r *Recorder) options() Options {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opts
}

// fileName is the name of a recording: the time of its start, and the session. Names are in the order of time.
var fileName = lazyregexp.New(`^[0-9]{8}T[0-9]{6}Z-([0-9A-Za-z]{1,40})\.cast$`)

// idOf is the session of a recording's file; empty: it is another file.
func idOf(name string) string {
	if m := fileName().FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// checkFolder rejects a folder that other users can change, or replace: root must not write, read or remove elsewhere for them.
// After that its path leads where it led.
func checkFolder(path string) error {
	if os.Geteuid() != 0 {
		return nil // services have the same user, and groups of volumes may write (fsGroup of Kubernetes)
	}
	if err := trust.Path(path, 0); err != nil {
		return fmt.Errorf("cannot use the folder of the recordings: %w", err)
	}
	return nil
}

// makeFolder makes the folder if it is missing, in one that others cannot change.
func makeFolder(path string) error {
	if path == "" {
		return errors.New("cannot record: console.recording.folder is not set")
	}
	var missing []string
	at := filepath.Clean(path)
	for {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing, at = append(missing, at), filepath.Dir(at)
	}
	if os.Geteuid() == 0 {
		if err := trust.Folder(at, 0); err != nil {
			return fmt.Errorf("cannot use the folder of the recordings: %w", err)
		}
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot make the folder of the recordings: %w", err)
		}
	}
	return checkFolder(path)
}

// newHeader is the header for a session.
func newHeader(s console.Info) Header {
	h := Header{Version: 2, Width: int(cmp.Or(s.Columns, 80)), Height: int(cmp.Or(s.Rows, 24)), Timestamp: s.Started.Unix(),
		Command: title(s.Command), Title: s.By + ": " + title(s.Command), Env: map[string]string{}}
	for _, text := range s.Env {
		if name, value, _ := strings.Cut(text, "="); name == "TERM" || name == "SHELL" {
			h.Env[name] = value
		}
	}
	h.Stoker = &Session{ID: s.ID, By: s.By, Address: s.Address, Argv: append([]string{}, s.Command...),
		Context: cmp.Or(s.Context, s.Container), User: s.User, TTY: s.TTY, AuditID: s.AuditID, Started: s.Started.UTC()}
	return h
}

// Create begins the recording of a session.
func (r *Recorder) Create(info console.Info) (console.Recording, error) {
	h := newHeader(info)
	line, err := encodeHeader(h)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := makeFolder(r.opts.Folder); err != nil {
		return nil, err
	}
	if int64(len(line))+reserve > r.opts.FileSize {
		return nil, fmt.Errorf("cannot record: its header of %d bytes has no room in console.recording.file_size", len(line))
	}
	if err := r.makeRoom(); err != nil {
		return nil, err
	}
	name := h.Stoker.Started.UTC().Format("20060102T150405Z") + "-" + h.Stoker.ID + ".cast"
	path := filepath.Join(r.opts.Folder, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot create the recording: %w", err)
	}
	if err = lock(f); err == nil {
		_, err = f.Write(line)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot write the recording %s: %w", path, untrusted.Cause(err)), f.Close(), os.Remove(path))
	}
	r.open[name] = true
	size := int64(len(line))
	return &Recording{recorder: r, opts: r.opts, f: f, name: name, started: h.Stoker.Started, head: size, size: size}, nil
}

// makeRoom removes the oldest recordings until a full one has room. Those that this stoker writes count as full ones.
func (r *Recorder) makeRoom() error {
	files, err := r.files()
	if err != nil {
		return err
	}
	total, count := r.opts.FileSize*int64(len(r.open)+1), 1
	for _, f := range files { // the newest first
		if count++; !r.open[f.name] {
			total += f.size
		}
	}
	for _, f := range slices.Backward(files) {
		if total <= r.opts.TotalSize && count <= maxFiles {
			return nil
		}
		if r.open[f.name] || locked(f.path) {
			continue
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove an old recording: %w", err)
		}
		r.note(f.name)
		total, count = total-f.size, count-1
	}
	if total > r.opts.TotalSize || count > maxFiles {
		return errors.New("cannot record: console.recording.total_size has no room beside the recordings that are being written")
	}
	return nil
}

// closed is called at the end of a recording.
func (r *Recorder) closed(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, name)
}

// lockTime is how long a lock is waited for. For a moment another stoker has it that looks for old recordings, or a process that the
// dead supervisor was about to start.
const lockTime = time.Second

// lock locks a recording for its writer.
func lock(f *os.File) error {
	tick := time.NewTicker(lockTime / 100)
	defer tick.Stop()
	for until := time.Now().Add(lockTime); ; <-tick.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(until) {
			return err
		}
	}
}

// locked reports whether a recording is being written.
func locked(path string) bool {
	f, err := untrusted.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // and with it the lock
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// file is a recording in the folder.
type file struct {
	name, path string
	size       int64
}

// files returns the recordings, the newest first.
func (r *Recorder) files() ([]file, error) {
	entries, err := os.ReadDir(r.opts.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the recordings: %w", err)
	}
	var out []file
	for _, e := range slices.Backward(entries) {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && idOf(e.Name()) != "" {
			out = append(out, file{e.Name(), filepath.Join(r.opts.Folder, e.Name()), info.Size()})
		}
	}
	return out, nil
}

// Resume goes on with a recording after the death of the supervisor that wrote it. A last line that is not whole is cut.
func (r *Recorder) Resume(name string) (console.Recording, error) {
	opts := r.options()
	if idOf(name) == "" {
		return nil, fmt.Errorf("cannot go on with the recording %q: that is not the name of one", name)
	}
	err := checkFolder(opts.Folder)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(opts.Folder, name)
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with the recording: %w", err)
	}
	c := &Recording{recorder: r, opts: opts, f: f, name: name}
	if err = lock(f); err == nil {
		err = c.repair()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot go on with the recording %s: %w", path, untrusted.Cause(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[name] = true
	return c, nil
}

// repair finds out what is in the file, and cuts what is not a whole line.
func (c *Recording) repair() error {
	info, err := c.f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("it is not a regular file"))
	}
	reader, err := NewReader(c.f)
	switch {
	case err != nil:
		return err
	case reader.Header.Stoker == nil:
		return errors.New("it is not a recording of a session")
	}
	c.started = reader.Header.Stoker.Started
	if c.head, err = lineEnd(c.f); err != nil {
		return err
	}
	tail := make([]byte, min(info.Size()-c.head, maxEvent))
	if _, err := c.f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return err
	}
	whole := bytes.LastIndexByte(tail, '\n') + 1
	if c.size = info.Size() - int64(len(tail)-whole); c.size < info.Size() {
		if err := c.f.Truncate(c.size); err != nil {
			return err
		}
	}
	last := tail[:max(whole-1, 0)]
	if e, err := decodeEvent(last[bytes.LastIndexByte(last, '\n')+1:]); err == nil {
		c.last = e.Time
	}
	c.marker("stoker was restarted here: the last output may be here twice")
	return nil
}

// lineEnd is the length of the first line.
func lineEnd(f *os.File) (int64, error) {
	head := make([]byte, maxLine)
	n, err := f.ReadAt(head, 0)
	if at := bytes.IndexByte(head[:n], '\n'); at >= 0 {
		return int64(at) + 1, nil
	}
	return 0, errors.Join(errors.New("its first line has no end"), err)
}

// Info is a recording in a list.
type Info struct {
	ID     string `json:"id"` // of the session
	Size   int64  `json:"size"`
	Header Header `json:"header"`
}

// List returns the recordings, the newest first.
func (r *Recorder) List() ([]Info, error) {
	opts := r.options()
	r.mu.Lock()
	files, err := r.files()
	r.mu.Unlock()
	if err != nil || len(files) == 0 {
		return []Info{}, err
	}
	if err := checkFolder(opts.Folder); err != nil {
		return nil, err
	}
	out := make([]Info, 0, len(files))
	for _, f := range files {
		if h, err := headerOf(f.path); err == nil && h.Stoker != nil {
			out = append(out, Info{idOf(f.name), f.size, h})
		}
	}
	return out, nil
}

func headerOf(path string) (Header, error) {
	f, err := untrusted.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	c, err := NewReader(f)
	if err != nil {
		return Header{}, err
	}
	return c.Header, nil
}

// Open opens the recording of a session, with its header. fs.ErrNotExist: there is none. The caller closes the file.
func (r *Recorder) Open(id string) (*os.File, Header, error) {
	opts := r.options()
	r.mu.Lock()
	files, err := r.files()
	r.mu.Unlock()
	at := slices.IndexFunc(files, func(f file) bool { return idOf(f.name) == id })
	if err == nil && at < 0 {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = checkFolder(opts.Folder)
	}
	if err != nil {
		return nil, Header{}, err
	}
	h, err := headerOf(files[at].path)
	if err != nil {
		return nil, h, err
	}
	f, err := untrusted.Open(files[at].path)
	return f, h, err
}
