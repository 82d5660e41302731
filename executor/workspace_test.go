package executor

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/executor/workspace"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

func TestWorkspace(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Journal += "/new/jobs" })
	for _, dir := range []string{e.config().Journal, e.workspaces()} { // a job of any user goes through them
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	old := e.workspace(1 << 60)
	if err := errors.Join(old.make(), os.WriteFile(old.path+"/x", nil, 0o600), old.make()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(old.path); len(left) > 0 || err != nil {
		t.Errorf("a new workspace has %v, %v", left, err)
	}
	job := submit(t, e, Spec{Dir: "a/b/../c"})
	p := h.next(t)
	path := e.workspace(job.ID).path
	if p.spec.Dir != filepath.Join(path, "a", "c") || p.spec.Env[0] != "HOME="+path {
		t.Errorf("%s, %v", p.spec.Dir, p.spec.Env)
	}
	if info, err := os.Stat(p.spec.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	p.end(proc.Exit{})
	await(t, e, job.ID)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	job = submit(t, e, Spec{Dir: "/etc"})
	if p = h.next(t); p.spec.Dir != "/etc" {
		t.Error(p.spec.Dir)
	}
}

// Without root's rights a folder that its owner may not change is removed too, and what a link leads to stays.
func TestWipeReadOnly(t *testing.T) {
	w, outside := &workspaceDir{filepath.Join(t.TempDir(), "w")}, t.TempDir()
	if err := errors.Join(os.MkdirAll(w.path+"/a/b/c", 0o700), os.WriteFile(w.path+"/a/b/c/file", nil, 0o400),
		os.WriteFile(outside+"/file", nil, 0o400), os.Symlink(outside, w.path+"/a/link"), os.Chmod(w.path+"/a/b/c", 0o500),
		os.Chmod(w.path+"/a/b", 0), os.Chmod(w.path+"/a", 0o100), os.Chmod(w.path, 0), os.Chmod(outside, 0o500),
		os.Chmod(filepath.Dir(outside), 0o711)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(outside, 0o700) }) // so that it can be removed
	done := make(chan error)
	go func() { // ends with its thread, which loses root's rights
		runtime.LockOSThread()
		const nobody = 65534
		if os.Geteuid() == 0 {
			_ = exec.Command("chown", "-Rh", strconv.Itoa(nobody), filepath.Dir(w.path), outside).Run()
			_ = unix.Setfsuid(nobody)
		}
		done <- w.wipe()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(outside + "/file"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(w.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestWorkspaceSize(t *testing.T) {
	w := &workspaceDir{t.TempDir()}
	sparse, err := os.Create(w.path + "/sparse")
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := errors.Join(sparse.Truncate(1<<30), os.WriteFile(w.path+"/full", make([]byte, 64<<10), 0o600),
		os.Symlink("/", w.path+"/link")); err != nil {
		t.Fatal(err)
	}
	if size := workspace.DiskUsage(w.path, 1<<40); size < 64<<10 || size > 256<<10 {
		t.Errorf("%d bytes", size)
	}
	if size := workspace.DiskUsage(w.path, 1); size <= 1 {
		t.Errorf("%d bytes, which is not above the limit", size)
	}
}

func TestArtifacts(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Artifacts: []Artifact{{Path: "file", Name: "named"}, {Path: "folder"}, {Path: "large", Max: "1KiB"},
		{Path: "missing"},
		{Path: "out"}, {Path: "outer/shadow"}, {Path: "fifo"}, {Path: "inner"}, {Path: "folder", Name: "small", Max: "1KiB"}}})
	p := h.next(t)
	in := func(name string) string { return filepath.Join(e.workspace(job.ID).path, name) }
	if err := errors.Join(os.WriteFile(in("file"), []byte("text"), 0o600), os.MkdirAll(in("folder/sub"), 0o700),
		os.WriteFile(in("folder/sub/a"), []byte("aa"), 0o640), os.WriteFile(in("folder/b"), make([]byte, 2048), 0o600),
		os.Symlink("/etc/shadow", in("folder/link")), unix.Mkfifo(in("folder/fifo"), 0o600),
		os.WriteFile(in("large"), make([]byte, 1025), 0o600), os.Symlink("/etc/shadow", in("out")), os.Symlink("../../../../../../../../etc", in("outer")),
		unix.Mkfifo(in("fifo"), 0o600), os.Symlink("file", in("inner"))); err != nil {
		t.Fatal(err)
	}
	p.end(proc.Exit{Code: 1})
	got := await(t, e, job.ID)
	for k, want := range []struct{ name, err string }{{"named", ""}, {"folder", ""}, {"large", "larger than its limit"},
		{"missing", "no such file"},
		{"out", "escapes"}, {"outer/shadow", "escapes"}, {"fifo", "neither a file nor a folder"}, {"inner", ""}, {"small", "larger than its limit"}} {
		a := got.Artifacts[k]
		if a.Name != want.name || !strings.Contains(a.Error, want.err) || (a.Error == "") != (want.err == "") {
			t.Errorf("%+v, want %+v", a, want)
		}
		f, err := e.Artifact(job.ID, want.name)
		if (err == nil) != (want.err == "") {
			t.Errorf("%s: %v", want.name, err)
		}
		if err != nil {
			continue
		}
		content, err := io.ReadAll(f)
		f.Close()
		if sum := sha256.Sum256(content); err != nil || a.Bytes != int64(len(content)) || a.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%+v: %d bytes, %v", a, len(content), err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(e.folder(artifactFolder), job.ID.String(), "0")); string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	f, err := e.Artifact(job.ID, "folder")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	archive := tar.NewReader(f)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	if got := strings.Join(names, " "); got != "b sub/a" {
		t.Errorf("the archive has %s", got)
	}
	if left, err := os.ReadDir(filepath.Join(e.folder(artifactFolder), job.ID.String())); len(left) != 3 {
		t.Errorf("%v, %v", left, err)
	}
}

// The artifact of a job that was not started does not exist, and says so.
// A link in the place of a workspace is not followed.
func TestReplacedWorkspace(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Artifacts: []Artifact{{Path: "passwd"}}})
	p := h.next(t)
	path := e.workspace(job.ID).path
	if err := errors.Join(os.Remove(path), os.Symlink("/etc", path)); err != nil {
		t.Fatal(err)
	}
	p.end(proc.Exit{})
	if got := await(t, e, job.ID); !strings.Contains(got.Artifacts[0].Error, "not a folder") {
		t.Errorf("%+v", got.Artifacts)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is left: %v", err)
	}
}

func TestArtifactsOfNoStart(t *testing.T) {
	e, h := newExecutor(t, nil)
	h.set(func() { h.prepare = func(Job) error { return errors.New("no such service") } })
	job := submit(t, e, Spec{Artifacts: []Artifact{{Path: "x"}}})
	got := await(t, e, job.ID)
	if got.State != Failed || !got.Exit.Infrastructure || len(got.Artifacts) != 1 || got.Artifacts[0].Error == "" {
		t.Errorf("%+v", got)
	}
}
