// Package untrusted opens files and folders in places that other users can write to, and may change at any time. Package trust checks
// whether content can be relied on.
//
// Only regular files are opened, without blocking, and reads are bounded. Every path component is opened relative to the previous
// folder, so a replaced component has no effect. A symbolic link of root, or of the user that stoker acts as, is followed (Debian's
// /var/lib/tomcat10/conf, the ConfigMaps of Kubernetes). A link of another user is followed only to a file of that user, like nginx's
// disable_symlinks if_not_owner, so that root does not read for him what he cannot.
package untrusted

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Reasons for a failed open or read. The errors of this package do not contain the path.
var (
	ErrNotRegular = errors.New("it is not a regular file")
	ErrLink       = errors.New("a symbolic link of another user leads to a file of a different owner")
	ErrTooLarge   = errors.New("it is too large")
)

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// Open opens a regular file for reading.
func Open(path string) (*os.File, error) { return open(path, unix.O_NONBLOCK|unix.O_NOCTTY) }

// OpenDir opens a folder for openat(2). The descriptor has O_PATH, so it cannot list entries.
func OpenDir(path string) (*os.File, error) { return open(path, unix.O_DIRECTORY|unix.O_PATH) }

// open opens a regular file, or with O_DIRECTORY a folder, and checks that it was not replaced.
func open(path string, flags int) (*os.File, error) {
	f, err := find(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if flags&unix.O_DIRECTORY == 0 && f.is.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrNotRegular // opening a device may do something
	}
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

// ReadFile reads a regular file that has no more bytes than most.
func ReadFile(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ReadAll(file, most)
}

// ReadAll reads r to its end, and returns ErrTooLarge for more than most bytes.
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

// ReadDir lists a folder by name, and returns ErrTooLarge for more than most entries.
func ReadDir(path string, most int) ([]fs.DirEntry, error) {
	dir, err := open(path, unix.O_DIRECTORY)
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

// ReadJar calls f for each file in a jar or another ZIP file until f fails, and describes it. One with more than most bytes, whose
// directory would be held in memory, is ErrTooLarge; what is no ZIP file is zip.ErrFormat, with its description.
func ReadJar(path string, most int64, f func(*zip.File) error) (fs.FileInfo, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, Cause(err)
	}
	if info.Size() > most {
		return info, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)
	}
	r, err := zip.NewReader(file, info.Size())
	if err != nil {
		return info, err
	}
	for _, entry := range r.File {
		if err := f(entry); err != nil {
			return info, err
		}
	}
	return info, nil
}

// Cause removes the path that package os adds to an error.
func Cause(err error) error {
	if e := new(fs.PathError); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// found is the target of a path: a name in an open folder.
type found struct {
	dir  int    // AT_FDCWD, or a descriptor to close
	at   string // path of dir without links
	name string
	is   unix.Stat_t // never a link
}

func (f *found) close() {
	if f.dir >= 0 {
		unix.Close(f.dir)
	}
}

// find resolves a path. The caller closes the result.
func find(path string) (found, error) {
	us, _ := unix.SetfsuidRetUid(-1) // an invalid id only returns the current one
	var owners []uint32              // owners of the links that are not trusted
	f, err := walk(path, func(_ string, _ int, is *unix.Stat_t) error {
		if is.Mode&unix.S_IFMT == unix.S_IFLNK && is.Uid != 0 && int(is.Uid) != us {
			owners = append(owners, is.Uid)
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(owners, func(owner uint32) bool { return owner != f.is.Uid }) {
		f.close()
		return f, ErrLink
	}
	return f, err
}

// Visit gets a step of a path: a folder, a link, or the target. at has no links but for its end, fd has O_PATH.
type Visit func(at string, fd int, is *unix.Stat_t) error

// Walk resolves an absolute path as the kernel does, whoever owns its links, and visits each step until there is an error. name in
// folder is the target.
func Walk(path string, visit Visit) (folder *os.File, name string, err error) {
	f, err := walk(path, visit)
	if err != nil {
		return nil, "", err
	}
	return os.NewFile(uintptr(f.dir), f.at), f.name, nil
}

func walk(path string, visit Visit) (f found, err error) {
	if path == "" {
		return f, unix.ENOENT
	}
	f.dir = unix.AT_FDCWD
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	for rest, links := parts(path), 0; len(rest) > 0; {
		f.name, rest = rest[0], rest[1:]
		at := f.name
		if at != "/" {
			at = filepath.Join(f.at, f.name)
		}
		fd, err := openat(f.dir, f.name, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return f, err
		}
		if err = unix.Fstat(fd, &f.is); err == nil {
			err = visit(at, fd, &f.is)
		}
		if err == nil && f.is.Mode&unix.S_IFMT == unix.S_IFLNK {
			var target string
			if target, err = readlink(fd); err == nil && links == maxLinks {
				err = unix.ELOOP
			}
			links++
			rest = append(parts(target), rest...)
		} else if err == nil && len(rest) > 0 {
			f.close()
			f.dir, f.at = fd, at // if it is no folder, the next openat fails
			continue
		}
		unix.Close(fd)
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// parts splits a path; an absolute one begins with /. A trailing / means a folder.
func parts(path string) []string {
	out := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if strings.HasSuffix(path, "/") {
		out = append(out, ".")
	}
	if strings.HasPrefix(path, "/") {
		out = slices.Insert(out, 0, "/")
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

// readlink returns the target of an open link.
func readlink(fd int) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(target[:max(n, 0)]), err
}
