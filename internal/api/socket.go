package api

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/trust"
)

// socketName is the file in each folder of Folders.
const socketName = "stoker.sock"

// socketFolder is a folder for the socket.
type socketFolder struct {
	path    string
	private bool // below a world-writable folder: it must be ours, with mode 0700
}

// socketFolders are the folders for the socket of uid, best first. With a read-only root and a
// uid other than 0 only the last is writable.
func socketFolders(uid int, env func(string) string) []socketFolder {
	out := []socketFolder{{path: "/run/stoker"}}
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		out = append(out, socketFolder{path: filepath.Join(dir, "stoker")})
	}
	return append(out, socketFolder{path: fmt.Sprintf("/dev/shm/stoker-%d", uid), private: true})
}

// Listen opens the socket: at path if that is not empty, else in the first
// folder that can be written and that others cannot change. The
// peer decides what is permitted, not the mode of the socket.
func Listen(path string, env func(string) string) (net.Listener, string, error) {
	candidates := []string{path}
	if path == "" {
		candidates = nil
		for _, f := range socketFolders(os.Getuid(), env) {
			candidates = append(candidates, filepath.Join(f.path, socketName))
		}
	}
	var tried []string
	for _, path := range candidates {
		err := folderOf(path, env).create()
		var l net.Listener
		if err == nil {
			l, err = listen(path)
		}
		if err == nil {
			return l, path, nil
		}
		tried = append(tried, err.Error())
	}
	return nil, "", fmt.Errorf("cannot open the API's socket: %s", strings.Join(tried, "; "))
}

func folderOf(path string, env func(string) string) socketFolder {
	dir := filepath.Dir(path)
	for _, f := range socketFolders(os.Getuid(), env) {
		if f.path == dir {
			return f
		}
	}
	return socketFolder{path: dir}
}

// RuntimeFolder returns the path of a folder for files that need not outlive the container,
// below the first writable folder of the socket. The caller creates it. Empty: there is none.
func RuntimeFolder(name string, env func(string) string) string {
	for _, f := range socketFolders(os.Getuid(), env) {
		if f.create() == nil && syscall.Access(f.path, 2) == nil { // W_OK
			return filepath.Join(f.path, name)
		}
	}
	return ""
}

// create makes the folder. It rejects one that another user could change or replace: that user
// could redirect our chmod, or answer in our place. A private folder must be ours.
func (f socketFolder) create() error {
	mode := os.FileMode(0o755)
	if f.private {
		mode = 0o700
	}
	above := f.path
	for above != "/" && above != "." {
		if _, err := os.Lstat(above); !errors.Is(err, os.ErrNotExist) {
			break
		}
		above = filepath.Dir(above)
	}
	if err := trust.Folder(above, os.Getuid()); err != nil {
		return err
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

// listen binds, and replaces the socket of a dead supervisor.
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
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the next supervisor may have bound it again
	if err := os.Chmod(path, 0o666); err != nil { // by its path: others cannot replace it in this folder
		l.Close()
		return nil, err
	}
	return l, nil
}

// ErrNoSocket is returned when no stoker is found.
var ErrNoSocket = errors.New("no stoker answers here")

// RemoteHint is what to check when no stoker answers at a URL.
const RemoteHint = "is it the address of api.listen of the configuration there?"

// Find returns a client of a stoker that answers: at STOKER_SOCKET, at the configured path, in
// the folders of our own uid and, as root, of every uid. STOKER_SOCKET is trusted; elsewhere the
// folder and the listening process must belong to root, to us, or to the user of PID 1.
func Find(configured string, env func(string) string) (*Client, error) {
	if path := env("STOKER_SOCKET"); path != "" {
		c := NewClient(path)
		return c, noSocket(path, c.connect())
	}
	if configured != "" {
		c, err := openTrusted(configured)
		return c, noSocket(configured, err)
	}
	var tried []string
	candidates := socketFolders(os.Getuid(), env)
	if os.Getuid() == 0 {
		shared, _ := filepath.Glob("/dev/shm/stoker-*") // its pattern is right
		for _, path := range shared {
			candidates = append(candidates, socketFolder{path: path})
		}
	}
	for _, f := range candidates {
		path := filepath.Join(f.path, socketName)
		c, err := openTrusted(path)
		if err == nil {
			return c, nil
		}
		if untrusted := new(untrustedError); errors.As(err, &untrusted) {
			path += ": " + err.Error()
		}
		if !slices.Contains(tried, path) {
			tried = append(tried, path)
		}
	}
	return nil, fmt.Errorf("%w (looked at %s)", ErrNoSocket, strings.Join(tried, ", "))
}

func isURL(path string) bool { return strings.Contains(path, "://") }

// noSocket is the error for a path where no stoker answers; nil for no error.
func noSocket(path string, err error) error {
	if err == nil {
		return nil
	}
	if asked := new(url.Error); errors.As(err, &asked) {
		err = asked.Err
	}
	err = fmt.Errorf("%w: %s: %w", ErrNoSocket, path, err)
	if isURL(path) {
		return &HintedError{err, RemoteHint}
	}
	return err
}

// openTrusted returns a client for a path that the caller did not name, after checking who owns
// it.
func openTrusted(path string) (*Client, error) {
	c := NewClient(path)
	c.strict = true
	info, err := os.Stat(path)
	if err != nil {
		return c, errors.Unwrap(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !mayBeStoker(int(st.Uid)) {
		return c, &untrustedError{fmt.Sprintf("it belongs to uid %d", st.Uid)}
	}
	if err := trust.Folder(filepath.Dir(path), int(st.Uid)); err != nil {
		return c, &untrustedError{err.Error()}
	}
	return c, c.connect()
}

// untrustedError is why a socket is not used.
type untrustedError struct{ why string }

func (e *untrustedError) Error() string { return "it is not trusted: " + e.why }

// mayBeStoker reports whether a stoker may run as this uid: root, ours, or the one of PID 1.
func mayBeStoker(uid int) bool {
	if access.OwnUID(uid) {
		return true
	}
	owner, err := procfs.Owner(1)
	return err == nil && owner == uid
}

// Config is the api section of the configuration.
type Config struct {
	// Socket is the path of the unix socket; empty: the first writable of
	// the list in Candidates.
	Socket string `yaml:"socket" change:"container" check:"socket"`
	// Admins are the services whose processes have the grants of their uid; processes of other
	// services have view at most, also as root.
	Admins []string `yaml:"admins"`
	// The rest is about TCP.
	access.Config `yaml:",inline"`
}
