package logs

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rotated is a file that is renamed to Path.1 when it is full, as Path.1 is to
// Path.2 and so on.
type rotated struct {
	FileOptions
	folder   *logFolder // nil: not open
	fd       int        // -1: not open
	dev, ino uint64
	size     int64     // at the last stat, and what was written since
	begun    time.Time // when its first line was written
}

// open makes sure that the file of that name is the open one: it may have been moved or
// removed, or its folder removed. After a failure the path of the folder is resolved again.
func (r *rotated) open() error {
	held := r.folder != nil
	err := r.openHere()
	if held && errors.Is(err, unix.ENOENT) {
		return r.openHere()
	}
	return err
}

// openHere opens the file in the folder, and closes both after a failure.
func (r *rotated) openHere() (err error) {
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.folder == nil {
		if r.folder, err = openLogFolder(r.Path); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if r.folder.stat(r.named(0), &st) == nil {
		if r.fd >= 0 && st.Dev == r.dev && st.Ino == r.ino {
			r.size = st.Size
			return nil
		}
		if err := mustBeFile(r.Path, st.Mode); err != nil {
			return err
		}
	}
	r.closeFile()
	fd, st, err := r.folder.open(r.Path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT)
	if err != nil {
		return err
	}
	r.fd, r.dev, r.ino, r.size, r.begun = fd, st.Dev, st.Ino, st.Size, createdAt(fd, &st)
	r.prune()
	return nil
}

// wrote notes that n bytes were written.
func (r *rotated) wrote(n int) {
	if r.size == 0 {
		r.begun = time.Now()
	}
	r.size += int64(n)
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
func createdAt(fd int, st *unix.Stat_t) time.Time {
	var x unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &x) == nil && x.Mask&unix.STATX_BTIME != 0 {
		return time.Unix(x.Btime.Sec, int64(x.Btime.Nsec))
	}
	return time.Unix(st.Mtim.Unix())
}

// tooOld reports whether the file is full by its age.
func (r *rotated) tooOld() bool { return r.Every > 0 && r.size > 0 && time.Since(r.begun) >= r.Every }

// rotate begins a new file, in the folder that is at the path now. After a kill between two
// renames the numbers have a gap, and only the files before it are renamed.
func (r *rotated) rotate() error {
	now, err := openLogFolder(r.Path)
	if err != nil {
		r.close()
		return err
	}
	same := r.folder == nil || r.folder.is(now.info)
	r.folder.close()
	if r.folder = now; !same {
		r.closeFile()
		return r.open()
	}
	var st unix.Stat_t
	gap := 1
	for gap < r.Files && r.folder.stat(r.named(gap), &st) == nil { // the last one is replaced
		gap++
	}
	for k := gap; k > 0; k-- {
		from, to := r.named(k-1), r.named(k)
		if err := unix.Renameat(r.folder.fd(), from, r.folder.fd(), to); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot rename %s, which is full, to %s: %w", filepath.Join(filepath.Dir(r.Path), from), to, err)
		}
	}
	return r.open()
}

// named is the name of a full file in the folder; of 0 that of the file that is written.
func (r *rotated) named(k int) string {
	name := filepath.Base(r.Path)
	if k > 0 {
		name = fmt.Sprintf("%s.%d", name, k)
	}
	return name
}

// prune removes the oldest files beyond Files and Total. The total includes the file that is
// written now as if it were full.
func (r *rotated) prune() {
	total, over := r.Size, false
	for k := 1; ; k++ {
		var st unix.Stat_t
		err := r.folder.stat(r.named(k), &st)
		if err != nil && k > r.Files {
			return
		}
		if err != nil {
			continue
		}
		total += st.Size
		over = over || k > r.Files || r.Total > 0 && total > r.Total
		if over && st.Mode&unix.S_IFMT == unix.S_IFREG {
			_ = unix.Unlinkat(r.folder.fd(), r.named(k), 0) // tried again with the next file
		}
	}
}

func (r *rotated) closeFile() {
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
	r.fd = -1
}

// close closes the file and its folder.
func (r *rotated) close() {
	r.closeFile()
	r.folder.close()
	r.folder = nil
}
