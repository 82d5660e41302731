package api

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// env is an environment of the given variables.
func env(kv ...string) func(string) string {
	return func(name string) string {
		for k := 0; k < len(kv); k += 2 {
			if kv[k] == name {
				return kv[k+1]
			}
		}
		return ""
	}
}

func TestFolders(t *testing.T) {
	paths := func(all []folder) string {
		var out []string
		for _, f := range all {
			out = append(out, f.path)
		}
		return strings.Join(out, " ")
	}
	if got, want := paths(folders(12345, env("XDG_RUNTIME_DIR", "/run/user/12345"))), "/run/stoker /run/user/12345/stoker /dev/shm/stoker-12345"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, relative := range []string{"", "run", "./run"} {
		if got, want := paths(folders(0, env("XDG_RUNTIME_DIR", relative))), "/run/stoker /dev/shm/stoker-0"; got != want {
			t.Errorf("XDG_RUNTIME_DIR=%q: %s, want %s", relative, got, want)
		}
	}
}

func TestPrivateFolder(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) folder { return folder{path: filepath.Join(dir, name), private: true} }
	for _, step := range []error{
		os.Mkdir(at("open").path, 0o700), os.Chmod(at("open").path, 0o755),
		os.Mkdir(at("ours").path, 0o700), os.Symlink(at("ours").path, at("link").path), os.WriteFile(at("file").path, nil, 0o700),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	for name, fine := range map[string]bool{"new": true, "ours": true, "open": false, "link": false, "file": false} {
		if err := at(name).prepare(); (err == nil) != fine {
			t.Errorf("%s: %v, want fine: %v", name, err, fine)
		}
	}
	if info, err := os.Stat(at("new").path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(at("ours").path, 4711, -1); err != nil {
			t.Fatal(err)
		}
		if err := at("ours").prepare(); err == nil {
			t.Error("a folder of somebody else is taken")
		}
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deeper", "api.sock")
	l, got, err := Listen(path, env())
	if err != nil || got != path {
		t.Fatal(got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v: the uid decides, so everybody must be able to connect", info, err)
	}
	if _, _, err := Listen(path, env()); err == nil || !strings.Contains(err.Error(), "another stoker answers there") {
		t.Errorf("a second one: %v", err)
	}
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("closing took the path away, which a successor may own: %v", err)
	}
	again, _, err := Listen(path, env())
	if err != nil {
		t.Fatalf("over the socket of one that died: %v", err)
	}
	again.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Listen(filepath.Join(file, "api.sock"), env()); err == nil {
		t.Error("a socket below a file")
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if _, _, err := Listen(long, env()); err == nil || !strings.Contains(err.Error(), "cannot listen on "+long) {
		t.Errorf("a path that is too long: %v", err)
	}
}

// TestListenSparesFiles: api.socket may name anything.
func TestListenSparesFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Listen(file, env()); err == nil {
		t.Error("a file is replaced by a socket")
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file has %q now, %v", data, err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	open := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	told, configured, runtime := filepath.Join(dir, "told"), filepath.Join(dir, "configured"), filepath.Join(dir, "run", "stoker", socketName)
	open(told)
	open(configured)
	open(runtime)
	none := filepath.Join(dir, "none")
	for _, tc := range []struct {
		name, configured string
		env              func(string) string
		want             string
		missing          bool
	}{
		{"told", configured, env("STOKER_SOCKET", told, "XDG_RUNTIME_DIR", filepath.Join(dir, "run")), told, false},
		{"told wrongly is not passed over", configured, env("STOKER_SOCKET", none), none, true},
		{"configured", configured, env("XDG_RUNTIME_DIR", filepath.Join(dir, "run")), configured, false},
		{"configured and dead", none, env("XDG_RUNTIME_DIR", filepath.Join(dir, "run")), none, true},
	} {
		got, err := Find(tc.configured, tc.env)
		if got != tc.want || errors.Is(err, ErrNoSocket) != tc.missing || (err != nil) != tc.missing {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
	if _, err := os.Stat("/run/stoker/" + socketName); err == nil {
		t.Skip("a stoker of this machine has the first place")
	}
	if got, err := Find("", env("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))); err != nil || got != runtime {
		t.Errorf("searched: %q, %v", got, err)
	}
}
