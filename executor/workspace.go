package executor

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/jvm"
	"golang.org/x/sys/unix"
)

// workspace is the folder of a job: its home, its temporary folder and, unless it names another, its working directory.
type workspace struct{ path string }

// workspaceCheck is how often the size of a workspace is measured.
const workspaceCheck = 2 * time.Second

// workspaces is the folder of all workspaces.
func (e *Executor) workspaces() string {
	return orElse(e.config().Workspace, e.folder(workspaceFolder))
}

func (e *Executor) workspace(id ID) *workspace {
	return &workspace{filepath.Join(e.workspaces(), id.String())}
}

// make makes an empty workspace.
func (w *workspace) make() error {
	err := os.Mkdir(w.path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		if err := w.wipe(); err != nil {
			return fmt.Errorf("cannot remove an old workspace: %w", err)
		}
		err = os.Mkdir(w.path, 0o700)
	}
	if err != nil {
		return fmt.Errorf("cannot make the workspace: %w", err)
	}
	return nil
}

// giveTo makes a user the owner.
func (w *workspace) giveTo(u *asuser.User) error {
	if u == nil || u.ID() == os.Geteuid() {
		return nil
	}
	if err := os.Chown(w.path, int(u.UID), int(u.GID)); err != nil {
		return fmt.Errorf("cannot give the workspace to %s: %w", u.Name, err)
	}
	return nil
}

// dir returns the working directory; one inside of the workspace is made.
func (w *workspace) dir(dir string, u *asuser.User) (string, error) {
	if filepath.IsAbs(dir) {
		return dir, nil
	}
	at := w.path
	for _, part := range strings.Split(filepath.Clean(dir), "/") {
		if part == "." || part == "" {
			continue
		}
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o700); err != nil {
			return "", fmt.Errorf("cannot make the working directory: %w", err)
		}
		if err := (&workspace{at}).giveTo(u); err != nil {
			return "", err
		}
	}
	return at, nil
}

// wipe removes the workspace.
func (w *workspace) wipe() error { return os.RemoveAll(w.path) }

// keep copies the artifacts of a job into a folder, where they are called 0, 1 and so on. A folder becomes a tar archive.
func (w *workspace) keep(list []Artifact, folder string) (kept []KeptArtifact) {
	if len(list) == 0 {
		return nil
	}
	root, err := os.OpenRoot(w.path)
	if err == nil {
		defer func() { _ = root.Close() }()
		err = errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o700))
	}
	for k, a := range list {
		out, copyErr := KeptArtifact{Name: a.Name}, err
		if copyErr == nil {
			limit, _ := jvm.ParseMemory(a.Max) // it was checked
			out.Bytes, out.SHA256, copyErr = keepFile(root, a.Path, filepath.Join(folder, strconv.Itoa(k)), limit)
		}
		if copyErr != nil {
			out = KeptArtifact{Name: a.Name, Error: oneLine(copyErr)}
		}
		kept = append(kept, out)
	}
	return kept
}

// errTooLarge means that an artifact is larger than its limit.
var errTooLarge = errors.New("it is larger than its limit")

// keepFile copies a file or a folder of a workspace. Links out of the workspace are not followed.
func keepFile(root *os.Root, name, to string, limit int64) (size int64, sum string, err error) {
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

// oneLine is the text of an error on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", ": ") }
