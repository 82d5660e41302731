package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// socketName is the file in each folder of Folders.
const socketName = "stoker.sock"

// folder is a place for the socket.
type folder struct {
	path    string
	private bool // anybody may write beside it: it must be ours alone
}

// folders are the places for the socket of uid, best first. With a read-only
// root and a user of its own only the last is writable.
func folders(uid int, env func(string) string) []folder {
	out := []folder{{path: "/run/stoker"}}
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		out = append(out, folder{path: filepath.Join(dir, "stoker")})
	}
	return append(out, folder{path: fmt.Sprintf("/dev/shm/stoker-%d", uid), private: true})
}

// Listen opens the socket: at path if that is not empty, else in the first
// folder that can be written. Who may do what is decided by the peer's uid, not
// by the mode of the socket.
func Listen(path string, env func(string) string) (net.Listener, string, error) {
	if path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, "", fmt.Errorf("cannot open the API's socket %s: %w", path, err)
		}
		l, err := listen(path)
		return l, path, err
	}
	var tried []string
	for _, f := range folders(os.Getuid(), env) {
		path := filepath.Join(f.path, socketName)
		err := f.prepare()
		var l net.Listener
		if err == nil {
			l, err = listen(path)
		}
		if err == nil {
			return l, path, nil
		}
		tried = append(tried, err.Error())
	}
	return nil, "", fmt.Errorf("cannot open the API's socket anywhere: %s", strings.Join(tried, "; "))
}

// RuntimeFolder gives a folder of stoker's own for what need not outlive the
// container: below the first of the socket's places that can be written. Who uses it
// makes it. Empty: there is none.
func RuntimeFolder(name string, env func(string) string) string {
	for _, f := range folders(os.Getuid(), env) {
		if f.prepare() == nil && syscall.Access(f.path, 2) == nil { // W_OK
			return filepath.Join(f.path, name)
		}
	}
	return ""
}

// prepare makes the folder, and refuses one in a shared place that is not ours.
func (f folder) prepare() error {
	mode := os.FileMode(0o755)
	if f.private {
		mode = 0o700
	}
	if err := os.MkdirAll(f.path, mode); err != nil {
		return err
	}
	if !f.private {
		return nil
	}
	info, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Getuid() || info.Mode().Perm() != mode {
		return fmt.Errorf("%s is not a folder of uid %d with mode 0700", f.path, os.Getuid())
	}
	return nil
}

// listen binds, over a socket that a dead supervisor left.
func listen(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("cannot listen on %s: another stoker answers there", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("cannot listen on %s: it is there, and no socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, errors.Unwrap(err))
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // a successor may have bound anew
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// ErrNoSocket says that no stoker was found.
var ErrNoSocket = errors.New("no stoker answers here")

// Find looks for the socket of a stoker that answers: STOKER_SOCKET, the
// configured path, the folders of our own uid and, as root, of every uid.
func Find(configured string, env func(string) string) (string, error) {
	if path := env("STOKER_SOCKET"); path != "" {
		return path, dial(path)
	}
	if configured != "" {
		return configured, dial(configured)
	}
	var tried []string
	candidates := folders(os.Getuid(), env)
	if os.Getuid() == 0 {
		shared, _ := filepath.Glob("/dev/shm/stoker-*") // its pattern is right
		for _, path := range shared {
			candidates = append(candidates, folder{path: path})
		}
	}
	for _, f := range candidates {
		path := filepath.Join(f.path, socketName)
		err := dial(path)
		if err == nil {
			return path, nil
		}
		tried = append(tried, path)
	}
	return "", fmt.Errorf("%w (looked at %s)", ErrNoSocket, strings.Join(tried, ", "))
}

func dial(path string) error {
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoSocket, path, errors.Unwrap(err))
	}
	return conn.Close()
}
