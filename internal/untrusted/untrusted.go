// Package untrusted opens files and folders that others can write: a service's user
// may have put anything there, and may change it meanwhile. It does not judge what
// they hold; what may be relied on says package trust.
//
// One rule holds for all of them. Only regular files are opened, without waiting, and
// reading is bounded. Every component of a path is opened from the folder before it,
// so that nothing which is swapped meanwhile counts. A symbolic link of root, or of the
// user that stoker acts as, is followed (Debian's /var/lib/tomcat10/conf, the
// ConfigMaps of Kubernetes). A link of any other user is followed only to what is that
// user's too, as nginx does with disable_symlinks if_not_owner: root would read for him
// what he cannot.
package untrusted

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Why something is not opened or not read. No error of this package names the path:
// the caller does.
var (
	ErrNotRegular = errors.New("it is not a regular file")
	ErrLink       = errors.New("a symbolic link of another user leads to what is not that user's")
	ErrTooLarge   = errors.New("it is too large")
)

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// Open opens a regular file for reading.
func Open(path string) (*os.File, error) {
	at, err := find(path)
	if err != nil {
		return nil, err
	}
	defer at.close()
	if at.is.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrNotRegular // opening a device may do something
	}
	return at.open(path, unix.O_NONBLOCK|unix.O_NOCTTY)
}

// OpenDir opens a folder as a place for openat(2) and its like. It has O_PATH: its
// entries cannot be listed by it.
func OpenDir(path string) (*os.File, error) { return openDir(path, unix.O_PATH) }

func openDir(path string, flags int) (*os.File, error) {
	at, err := find(path)
	if err != nil {
		return nil, err
	}
	defer at.close()
	return at.open(path, unix.O_DIRECTORY|flags)
}

// ReadFile reads a regular file of at most that many bytes.
func ReadFile(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ReadAll(file, most)
}

// ReadAll reads r to its end. More than that many bytes are ErrTooLarge, also in a file
// that grows meanwhile.
func ReadAll(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, Cause(err)
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)
	}
	return data, nil
}

// ReadDir lists a folder by name. One that has more entries than that is ErrTooLarge.
func ReadDir(path string, most int) ([]fs.DirEntry, error) {
	dir, err := openDir(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, err := dir.ReadDir(most + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, Cause(err)
	case len(all) > most:
		return nil, fmt.Errorf("%w: more than %d entries", ErrTooLarge, most)
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return all, nil
}

// Cause takes the path off that package os adds, for messages that name it themselves.
func Cause(err error) error {
	if e := new(fs.PathError); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// found is what a path leads to: a name in an open folder.
type found struct {
	dir  int // AT_FDCWD, or a descriptor that is to be closed
	name string
	is   unix.Stat_t // no link
}

func (f *found) close() {
	if f.dir >= 0 {
		unix.Close(f.dir)
	}
}

// enter goes on from another folder.
func (f *found) enter(dir int) {
	f.close()
	f.dir = dir
}

// open opens what was found. Another thing that has its name now is not it.
func (f *found) open(path string, flags int) (*os.File, error) {
	fd, err := openat(f.dir, f.name, unix.O_NOFOLLOW|flags)
	if err != nil {
		return nil, err
	}
	var is unix.Stat_t
	if err = unix.Fstat(fd, &is); err == nil && (is.Dev != f.is.Dev || is.Ino != f.is.Ino) {
		err = errors.New("it was replaced while it was opened")
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// find goes along a path. The caller closes what it gives.
func find(path string) (f found, err error) {
	if path == "" {
		return f, unix.ENOENT
	}
	f.dir = unix.AT_FDCWD
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	us, _ := unix.SetfsuidRetUid(-1) // is refused, and gives the user that we act as
	var owners []uint32              // of the links, less those that are trusted
	for rest, links := parts(path), 0; len(rest) > 0; {
		if strings.HasPrefix(rest[0], "/") {
			root, err := openat(unix.AT_FDCWD, "/", unix.O_PATH)
			if err != nil {
				return f, err
			}
			f.enter(root)
		}
		f.name, rest = strings.TrimPrefix(rest[0], "/"), rest[1:]
		fd, err := openat(f.dir, f.name, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return f, err
		}
		if err := unix.Fstat(fd, &f.is); err != nil {
			unix.Close(fd)
			return f, err
		}
		if f.is.Mode&unix.S_IFMT != unix.S_IFLNK {
			if len(rest) == 0 {
				unix.Close(fd)
				break
			}
			f.enter(fd) // if it is no folder the next openat says so
			continue
		}
		target, err := readlink(fd)
		unix.Close(fd)
		if links++; err == nil && links > maxLinks {
			err = unix.ELOOP
		}
		if err != nil {
			return f, err
		}
		if f.is.Uid != 0 && int(f.is.Uid) != us {
			owners = append(owners, f.is.Uid)
		}
		rest = append(parts(target), rest...)
	}
	for _, owner := range owners {
		if f.is.Uid != owner {
			return f, ErrLink
		}
	}
	return f, nil
}

// parts are the names in a path that is not empty; the first begins with / if the path
// does. A path that ends with / is that of a folder.
func parts(path string) []string {
	out := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if strings.HasSuffix(path, "/") {
		out = append(out, ".")
	}
	if strings.HasPrefix(path, "/") {
		out[0] = "/" + out[0]
	}
	return out
}

func openat(dir int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readlink gives the target of a link that is open.
func readlink(fd int) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(target[:max(n, 0)]), err
}
