// Package workspace reads and removes the folder that a job has written to. It trusts nothing there, and does not know jobs.
package workspace

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errTooLarge means that an artifact is larger than its limit.
var errTooLarge = errors.New("it is larger than its limit")

// Keep copies a file, or a folder as a tar archive, to a path, and returns its size and SHA-256. Links out of root are not followed.
// Of what is larger than the limit, in bytes, nothing is kept.
func Keep(root *os.Root, name, to string, limit int64) (size int64, sum string, err error) {
	from, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, "", err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return 0, "", err
	}
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, "", err
	}
	hash := sha256.New()
	w := &limitedWriter{w: io.MultiWriter(file, hash), left: limit}
	switch {
	case info.IsDir():
		err = writeTar(root, name, w)
	case info.Mode().IsRegular():
		_, err = io.Copy(w, from)
	default:
		err = errors.New("it is neither a file nor a folder")
	}
	err = errors.Join(err, file.Close())
	if err != nil {
		_ = os.Remove(to) // the error of the copy is what matters
		return 0, "", err
	}
	return limit - w.left, hex.EncodeToString(hash.Sum(nil)), nil
}

// writeTar writes the files below a folder of a workspace.
func writeTar(root *os.Root, name string, w io.Writer) error {
	archive := tar.NewWriter(w)
	err := fs.WalkDir(root.FS(), filepath.ToSlash(filepath.Clean(name)), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		header, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if header.Name, err = filepath.Rel(filepath.Clean(name), path); err != nil {
			return err
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = io.CopyN(archive, f, info.Size())
		return err
	})
	return errors.Join(err, archive.Close())
}

// limitedWriter fails with errTooLarge past a number of bytes.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errTooLarge
	}
	return l.w.Write(p)
}
