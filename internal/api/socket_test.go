package api

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	paths := func(all []socketFolder) string {
		var out []string
		for _, f := range all {
			out = append(out, f.path)
		}
		return strings.Join(out, " ")
	}
	if got, want := paths(socketFolders(12345, env("XDG_RUNTIME_DIR", "/run/user/12345"))),
		"/run/stoker /run/user/12345/stoker /dev/shm/stoker-12345"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, relative := range []string{"", "run", "./run"} {
		if got, want := paths(socketFolders(0, env("XDG_RUNTIME_DIR", relative))), "/run/stoker /dev/shm/stoker-0"; got != want {
			t.Errorf("XDG_RUNTIME_DIR=%q: %s, want %s", relative, got, want)
		}
	}
}

func TestPrivateFolder(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) socketFolder { return socketFolder{path: filepath.Join(dir, name), private: true} }
	for _, step := range []error{
		os.Mkdir(at("open").path, 0o700), os.Chmod(at("open").path, 0o755),
		os.Mkdir(at("ours").path, 0o700), os.Symlink(at("ours").path, at("link").path), os.WriteFile(at("file").path, nil, 0o700),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	for name, fine := range map[string]bool{"new": true, "ours": true, "open": false, "link": false, "file": false} {
		if err := at(name).create(); (err == nil) != fine {
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
		if err := at("ours").create(); err == nil {
			t.Error("a folder of another user is accepted")
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
	named, configured := filepath.Join(dir, "named"), filepath.Join(dir, "configured")
	runtime := filepath.Join(dir, "run", "stoker", socketName)
	open(named)
	open(configured)
	open(runtime)
	none := filepath.Join(dir, "none")
	for _, tc := range []struct {
		name, configured string
		env              func(string) string
		want             string
		missing          bool
	}{
		{"STOKER_SOCKET", configured, env("STOKER_SOCKET", named, "XDG_RUNTIME_DIR", filepath.Join(dir, "run")), named, false},
		{"a wrong STOKER_SOCKET is an error", configured, env("STOKER_SOCKET", none), none, true},
		{"configured", configured, env("XDG_RUNTIME_DIR", filepath.Join(dir, "run")), configured, false},
		{"configured and dead", none, env("XDG_RUNTIME_DIR", filepath.Join(dir, "run")), none, true},
	} {
		got, err := Find(tc.configured, tc.env)
		if got.Socket() != tc.want || errors.Is(err, ErrNoSocket) != tc.missing || (err != nil) != tc.missing {
			t.Errorf("%s: %q, %v", tc.name, got.Socket(), err)
		}
	}
	if _, err := os.Stat("/run/stoker/" + socketName); err == nil {
		t.Skip("a stoker of this machine has the first place")
	}
	if got, err := Find("", env("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))); err != nil || got.Socket() != runtime {
		t.Errorf("searched: %v, %v", got, err)
	}
}

// TestListenInForeignFolder: a socket is not opened where another user could replace it.
func TestListenInForeignFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give folders away")
	}
	dir := t.TempDir()
	for name, build := range map[string]func(path string) error{
		"of another user":       func(path string) error { return os.Chown(path, 4711, -1) },
		"open to others":        func(path string) error { return os.Chmod(path, 0o777) },
		"below of another user": func(path string) error { return os.Chown(dir, 4711, -1) },
	} {
		folder := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(folder, 0o755), build(folder)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Join(folder, "api.sock"), filepath.Join(folder, "deeper", "api.sock")} {
			if _, _, err := Listen(path, env()); err == nil || !strings.Contains(err.Error(), "can be changed by") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%s: %v was made in it, %v", name, left, err)
		}
		if err := os.Chown(dir, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	sticky := filepath.Join(dir, "sticky")
	if err := errors.Join(os.Mkdir(sticky, 0o755), os.Chmod(sticky, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	l, _, err := Listen(filepath.Join(sticky, "api.sock"), env())
	if err != nil {
		t.Fatalf("where the sticky bit protects it: %v", err)
	}
	l.Close()
}

// listenAs listens as a user; the kernel takes the uid from the thread that calls
// listen(2).
func listenAs(t *testing.T, uid int, path string) {
	t.Helper()
	ready := make(chan error)
	go func() { // ends with its thread
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			ready <- errno
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		ready <- errors.Join(err, unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 5))
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
}

// TestFindTrustsOnlyStoker: a client does not use a socket of another user.
func TestFindTrustsOnlyStoker(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be deceived here")
	}
	const stranger = 4711
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	foreign, ours := filepath.Join(dir, "foreign"), filepath.Join(dir, "ours")
	if err := errors.Join(os.Mkdir(foreign, 0o755), os.Chown(foreign, stranger, -1), os.Mkdir(ours, 0o755)); err != nil {
		t.Fatal(err)
	}
	own, _, err := Listen(filepath.Join(ours, "real"), env())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	listenAs(t, stranger, filepath.Join(foreign, "fake"))
	if err := errors.Join(os.Symlink(filepath.Join(ours, "real"), filepath.Join(foreign, "link")),
		os.Link(filepath.Join(foreign, "fake"), filepath.Join(ours, "moved")),
		os.Link(filepath.Join(foreign, "fake"), filepath.Join(ours, "given")), os.Chmod(ours, 0o777)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(foreign, "fake"): "it belongs to uid 4711",
		filepath.Join(foreign, "link"): "can be changed by its owner",
		filepath.Join(ours, "moved"):   "it belongs to uid 4711",
		filepath.Join(ours, "real"):    "can be changed by others",
	} {
		if _, err := Find(path, env()); !errors.Is(err, ErrNoSocket) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if err := errors.Join(os.Chmod(ours, 0o755), os.Lchown(filepath.Join(ours, "given"), 0, -1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(filepath.Join(ours, "real"), env()); err != nil {
		t.Errorf("our own: %v", err)
	}
	if _, err := Find(filepath.Join(ours, "given"), env()); err == nil || !strings.Contains(err.Error(), "uid 4711 listens there") {
		t.Errorf("what another listens at: %v", err)
	}
	if c, err := Find("", env("STOKER_SOCKET", filepath.Join(foreign, "fake"))); err != nil {
		t.Errorf("what was named: %v, %v", c, err)
	}
}

// Where others connect faster than they are accepted a command waits for its turn.
func TestFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	for {
		conn, err := net.Dial("unix", path)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	tried := make(chan error, 1)
	go func() { tried <- NewClient(path).connect() }() // ends when it was let in
	select {
	case err := <-tried:
		t.Fatalf("the command has not waited: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	conn, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(conn)
	if err := <-tried; err != nil {
		t.Errorf("the command was not let in: %v", err)
	}
}

// TestTurnedAway: a request whose connection is closed, because descriptors are short, is repeated.
func TestTurnedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the server
		for range 3 {
			if conn, err := l.Accept(); err == nil {
				conn.Close()
			}
		}
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	}()
	defer l.Close()
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}
