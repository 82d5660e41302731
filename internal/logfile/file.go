// Package logfile is a log file that is rotated by size and age, in a folder that other users
// may change. It knows nothing of lines.
package logfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Options of a file.
type Options struct {
	Path  string        `json:"path"`            // full ones are renamed to Path.1, Path.2, ...
	Size  int64         `json:"size,omitempty"`  // bytes at which it is full; 0: DefaultSize
	Every time.Duration `json:"every,omitempty"` // age at which it is full; 0: no limit
	Files int           `json:"files,omitempty"` // number of full files kept; 0: DefaultFiles
	Total int64         `json:"total,omitempty"` // bytes of all files; 0: what Size and Files allow
	Mode  uint32        `json:"mode,omitempty"`  // permissions of new files; 0: DefaultMode
}

// Defaults of Options.
const (
	DefaultSize  = 10 << 20
	DefaultFiles = 5
	DefaultMode  = 0o640
)

// WithDefaults fills in what is absent.
func (o Options) WithDefaults() Options {
	o.Size, o.Files = cmp.Or(o.Size, DefaultSize), cmp.Or(o.Files, DefaultFiles)
	if o.Total > 0 {
		o.Size = min(o.Size, (o.Total+1)/2) // so that a full file and the next have room
	}
	return o
}

// File is a file that is renamed to Path.1 when it is full, as Path.1 is to Path.2 and so on.
// The zero value is not open.
type File struct {
	Options
	folder   *folder  // nil: the file is not open either
	file     *os.File // nil: not open
	dev, ino uint64
	size     int64     // at the last stat, and what was written since
	begun    time.Time // when its first line was written
}

// Open makes sure that the file of that name is the open one: it may have been moved or
// removed, or its folder removed. After a failure the path of the folder is resolved again.
func (f *File) Open() error {
	held := f.folder != nil
	err := f.openHere()
	if held && errors.Is(err, unix.ENOENT) {
		return f.openHere()
	}
	return err
}

// openHere opens the file in the folder, and closes both after a failure.
func (f *File) openHere() (err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if f.folder == nil {
		if f.folder, err = openFolder(f.Path); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if f.folder.stat(f.named(0), &st) == nil {
		if f.file != nil && st.Dev == f.dev && st.Ino == f.ino {
			f.size = st.Size
			return nil
		}
		if err := mustBeFile(f.Path, st.Mode); err != nil {
			return err
		}
	}
	f.closeFile()
	if f.file, st, err = f.folder.open(f.Path, cmp.Or(f.Mode, DefaultMode)); err != nil {
		return err
	}
	f.dev, f.ino, f.size, f.begun = st.Dev, st.Ino, st.Size, createdAt(f.file, &st)
	f.prune()
	return nil
}

// Len is the length of the open file, in bytes.
func (f *File) Len() int64 { return f.size }

// Write writes to the open file.
func (f *File) Write(b []byte) (int, error) {
	if f.size == 0 {
		f.begun = time.Now()
	}
	n, err := f.file.Write(b)
	f.size += int64(n)
	if err != nil {
		err = fmt.Errorf("cannot write to %s: %w", f.Path, untrusted.Cause(err))
	}
	return n, err
}

// NotAFile says what is at a path that can never be a log's file, such as "a FIFO";
// empty: a file, or nothing yet.
func NotAFile(path string) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil {
		return kinds[st.Mode&unix.S_IFMT]
	}
	for _, stream := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/"} {
		if strings.HasPrefix(path, stream) { // it may be missing only in this process
			return "a stream of a process"
		}
	}
	return ""
}

// kinds names what is not a regular file.
var kinds = map[uint32]string{unix.S_IFLNK: "a symbolic link", unix.S_IFDIR: "a directory", unix.S_IFCHR: "a device",
	unix.S_IFBLK: "a device", unix.S_IFIFO: "a FIFO", unix.S_IFSOCK: "a socket"}

// mustBeFile rejects what is not a regular file.
func mustBeFile(path string, mode uint32) error {
	if what := kinds[mode&unix.S_IFMT]; what != "" {
		return fmt.Errorf("cannot open %s: it is %s, and only an ordinary file is written to", path, what)
	}
	return nil
}

// createdAt is when a file was created; if the file system does not know, when it was last
// written.
func createdAt(file *os.File, st *unix.Stat_t) time.Time {
	var x unix.Statx_t
	if unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &x) == nil && x.Mask&unix.STATX_BTIME != 0 {
		return time.Unix(x.Btime.Sec, int64(x.Btime.Nsec))
	}
	return time.Unix(st.Mtim.Unix())
}

// TooOld reports whether the file is full by its age.
func (f *File) TooOld() bool { return f.Every > 0 && f.size > 0 && time.Since(f.begun) >= f.Every }

// Rotate begins a new file, in the folder that is at the path now. After a kill between two
// renames the numbers have a gap, and only the files before it are renamed.
func (f *File) Rotate() error {
	now, err := openFolder(f.Path)
	if err != nil {
		f.Close()
		return err
	}
	same := f.folder == nil || f.folder.is(now.info)
	f.folder.close()
	if f.folder = now; !same {
		f.closeFile()
		return f.Open()
	}
	var st unix.Stat_t
	gap := 1
	for gap < f.Files && f.folder.stat(f.named(gap), &st) == nil { // the last one is replaced
		gap++
	}
	for k := gap; k > 0; k-- {
		from, to := f.named(k-1), f.named(k)
		if err := unix.Renameat(f.folder.fd(), from, f.folder.fd(), to); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot rename %s, which is full, to %s: %w", filepath.Join(filepath.Dir(f.Path), from), to, err)
		}
	}
	return f.Open()
}

// named is the name of a full file in the folder; of 0 that of the file that is written.
func (f *File) named(k int) string {
	name := filepath.Base(f.Path)
	if k > 0 {
		name = fmt.Sprintf("%s.%d", name, k)
	}
	return name
}

// prune removes the oldest files beyond Files and Total. The total includes the file that is
// written now as if it were full.
func (f *File) prune() {
	total, over := f.Size, false
	for k := 1; ; k++ {
		var st unix.Stat_t
		err := f.folder.stat(f.named(k), &st)
		if err != nil && k > f.Files {
			return
		}
		if err != nil {
			continue
		}
		total += st.Size
		over = over || k > f.Files || f.Total > 0 && total > f.Total
		if over && st.Mode&unix.S_IFMT == unix.S_IFREG {
			_ = unix.Unlinkat(f.folder.fd(), f.named(k), 0) // tried again with the next file
		}
	}
}

func (f *File) closeFile() {
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file = nil
}

// Close closes the file and its folder.
func (f *File) Close() {
	f.closeFile()
	f.folder.close()
	f.folder = nil
}
