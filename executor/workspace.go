package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor/workspace"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/jvm"
)

// workspaceDir is the folder of a job: its home, its temporary folder and, unless it names another, its working directory.
type workspaceDir struct{ path string }

// workspaceCheck is how often the size of a workspace is measured.
const workspaceCheck = 2 * time.Second

// workspaces is the folder of all workspaces.
func (e *Executor) workspaces() string {
	return orElse(e.config().Workspace, e.folder(workspaceFolder))
}

func (e *Executor) workspace(id ID) *workspaceDir {
	return &workspaceDir{filepath.Join(e.workspaces(), id.String())}
}

// make makes an empty workspace.
func (w *workspaceDir) make() error {
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
func (w *workspaceDir) giveTo(u *asuser.User) error {
	if u == nil || u.ID() == os.Geteuid() {
		return nil
	}
	if err := os.Chown(w.path, int(u.UID), int(u.GID)); err != nil {
		return fmt.Errorf("cannot give the workspace to %s: %w", u.Name, err)
	}
	return nil
}

// dir returns the working directory; one inside of the workspace is made.
func (w *workspaceDir) dir(dir string, u *asuser.User) (string, error) {
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
		if err := (&workspaceDir{at}).giveTo(u); err != nil {
			return "", err
		}
	}
	return at, nil
}

// wipe removes the workspace.
func (w *workspaceDir) wipe() error { return workspace.Wipe(w.path) }

// keep copies the artifacts of a job into a folder, where they are called 0, 1 and so on. A folder becomes a tar archive.
func (w *workspaceDir) keep(list []Artifact, folder string) (kept []KeptArtifact) {
	if len(list) == 0 {
		return nil
	}
	root, err := workspace.Open(w.path)
	if err == nil {
		defer func() { _ = root.Close() }()
		err = errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o700))
	}
	for k, a := range list {
		out, copyErr := KeptArtifact{Name: a.Name}, err
		if copyErr == nil {
			limit, _ := jvm.ParseMemory(a.Max) // it was checked
			out.Bytes, out.SHA256, copyErr = workspace.Keep(root, a.Path, filepath.Join(folder, strconv.Itoa(k)), limit)
		}
		if copyErr != nil {
			out = KeptArtifact{Name: a.Name, Error: oneLine(copyErr)}
		}
		kept = append(kept, out)
	}
	return kept
}

// oneLine is the text of an error on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", ": ") }
