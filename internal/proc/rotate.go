package proc

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rotated is a file that is renamed to Path.1 when it is full, as Path.1 is to
// Path.2 and so on.
type rotated struct {
	FileOptions
	fd       int // -1: not open
	dev, ino uint64
	size     int64 // when it was last looked at, and what was written since
}

// open makes sure that the file at the path is the one that is open: somebody may
// have moved or removed it.
func (r *rotated) open(o FileOptions, notes *fileNotes) error {
	if o.Path != r.Path {
		r.close()
	}
	r.FileOptions = o
	var st unix.Stat_t
	err := unix.Lstat(o.Path, &st)
	if err == nil {
		if r.fd >= 0 && st.Dev == r.dev && st.Ino == r.ino {
			r.size = st.Size
			return nil
		}
		if err := mustBeFile(o.Path, st.Mode); err != nil {
			r.close()
			return err
		}
	}
	r.close()
	// Not to follow a link, and not to wait for a FIFO's reader, made since the look.
	fd, err := unix.Open(o.Path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", o.Path, err)
	}
	if err = unix.Fstat(fd, &st); err == nil {
		err = mustBeFile(o.Path, st.Mode)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	r.fd, r.dev, r.ino, r.size = fd, st.Dev, st.Ino, st.Size
	if r.size > 0 && notes.begunIno != r.ino {
		notes.begun, notes.begunIno = birth(fd, &st), r.ino
	}
	r.prune()
	return nil
}

// NotAFile says what is at a path that can never be a log's file, such as "a FIFO";
// empty: a file, or nothing yet.
func NotAFile(path string) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil {
		return kindOf(st.Mode)
	}
	for _, stream := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/"} {
		if strings.HasPrefix(path, stream) { // it may be missing just here
			return "a stream of a process"
		}
	}
	return ""
}

// kindOf names what is not an ordinary file; empty: it is one.
func kindOf(mode uint32) string {
	return map[uint32]string{unix.S_IFLNK: "a symbolic link", unix.S_IFDIR: "a directory", unix.S_IFCHR: "a device",
		unix.S_IFBLK: "a device", unix.S_IFIFO: "a FIFO", unix.S_IFSOCK: "a socket"}[mode&unix.S_IFMT]
}

// mustBeFile refuses what is not an ordinary file.
func mustBeFile(path string, mode uint32) error {
	what := kindOf(mode)
	if what == "" {
		return nil
	}
	return fmt.Errorf("cannot open %s: it is %s, and only an ordinary file is written to", path, what)
}

// birth is when a file that is not ours was made, or else last written; Unix, ns.
func birth(fd int, st *unix.Stat_t) int64 {
	var x unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &x) == nil && x.Mask&unix.STATX_BTIME != 0 {
		return x.Btime.Sec*1e9 + int64(x.Btime.Nsec)
	}
	return st.Mtim.Nano()
}

// tooOld says whether the file is full by its age.
func (r *rotated) tooOld(notes *fileNotes) bool {
	return r.Every > 0 && r.size > 0 && notes.begunIno == r.ino && time.Since(time.Unix(0, notes.begun)) >= r.Every
}

// rotate begins a new file. After a kill between two steps the numbers have a
// gap, and only those before the first gap are moved up.
func (r *rotated) rotate(notes *fileNotes) error {
	var st unix.Stat_t
	gap := 1
	for gap <= r.Files && unix.Lstat(r.numbered(gap), &st) == nil {
		gap++
	}
	if gap > r.Files {
		gap = r.Files // which is replaced
	}
	for k := gap; k > 0; k-- {
		from := r.Path
		if k > 1 {
			from = r.numbered(k - 1)
		}
		if err := unix.Rename(from, r.numbered(k)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot rename %s, which is full, to %s: %w", from, r.numbered(k), err)
		}
	}
	return r.open(r.FileOptions, notes)
}

func (r *rotated) numbered(k int) string { return fmt.Sprintf("%s.%d", r.Path, k) }

// prune removes the oldest files beyond the number and the total that are kept,
// the file that is written now counted as full.
func (r *rotated) prune() {
	total, over := r.Size, false
	for k := 1; ; k++ {
		var st unix.Stat_t
		err := unix.Lstat(r.numbered(k), &st)
		if err != nil && k > r.Files {
			return
		}
		if err != nil {
			continue
		}
		total += st.Size
		if over = over || k > r.Files || r.Total > 0 && total > r.Total; over && st.Mode&unix.S_IFMT == unix.S_IFREG {
			_ = unix.Unlink(r.numbered(k)) // tried again with the next file
		}
	}
}

func (r *rotated) close() {
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
	r.fd = -1
}

// writtenBefore is how many bytes of what was laid down an earlier supervisor has
// written: those that stand in the file behind what was in it. The file may have
// been moved since.
func writtenBefore(path string, b *fileBatch, laid []byte) int {
	for _, p := range []string{path, path + ".1"} {
		fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		n, same := wroteTo(fd, b, laid)
		unix.Close(fd)
		if same {
			return n
		}
	}
	return 0
}

func wroteTo(fd int, b *fileBatch, laid []byte) (n int, same bool) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Dev != b.dev || st.Ino != b.ino {
		return 0, false
	}
	have := make([]byte, len(laid))
	got, err := unix.Pread(fd, have, b.size)
	if err != nil {
		return 0, true
	}
	for n < got && have[n] == laid[n] {
		n++
	}
	return n, true
}
