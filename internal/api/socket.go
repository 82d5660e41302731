package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/trust"
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
// folder that can be written and that others cannot change. The
// peer decides what is permitted, not the mode of the socket.
func Listen(path string, env func(string) string) (net.Listener, string, error) {
	if path != "" {
		if err := folderOf(path, env).prepare(); err != nil {
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

// folderOf is the folder of a configured path, or of one that Listen has given before.
func folderOf(path string, env func(string) string) folder {
	dir := filepath.Dir(path)
	for _, f := range folders(os.Getuid(), env) {
		if f.path == dir {
			return f
		}
	}
	return folder{path: dir}
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

// prepare makes the folder. It refuses one that others than root and we could change or
// replace: they could have us change the mode of a file of their choice, or answer in our
// place; and one in a shared place that is not ours.
func (f folder) prepare() error {
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
	if err := os.Chmod(path, 0o666); err != nil { // by its path: others cannot replace it in this folder
		l.Close()
		return nil, err
	}
	return l, nil
}

// ErrNoSocket says that no stoker was found.
var ErrNoSocket = errors.New("no stoker answers here")

// Find gives a client of a stoker that answers: at STOKER_SOCKET, at the configured path,
// in the folders of our own uid and, as root, of every uid. What STOKER_SOCKET names is
// taken as it is; elsewhere the folder and the process that answers have to belong to
// root, to us, or to the user of the container's first process.
func Find(configured string, env func(string) string) (*Client, error) {
	if path := env("STOKER_SOCKET"); path != "" {
		c := NewClient(path)
		return c, noAnswer(path, c.try())
	}
	if configured != "" {
		c, err := found(configured)
		return c, noAnswer(configured, err)
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
		c, err := found(path)
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

// noAnswer says that no stoker answers at a path; nil: one does.
func noAnswer(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrNoSocket, path, err)
}

// found gives a client of what answers at a path that was found and not named by the
// caller.
func found(path string) (*Client, error) {
	c := NewClient(path)
	c.strict = true
	info, err := os.Stat(path)
	if err != nil {
		return c, errors.Unwrap(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !listensHere(int(st.Uid)) {
		return c, &untrustedError{fmt.Sprintf("it belongs to uid %d", st.Uid)}
	}
	if err := trust.Folder(filepath.Dir(path), int(st.Uid)); err != nil {
		return c, &untrustedError{err.Error()}
	}
	return c, c.try()
}

// untrustedError says why a socket is not spoken to.
type untrustedError struct{ why string }

func (e *untrustedError) Error() string { return "it is not trusted: " + e.why }

// listensHere says whether a stoker may run as a user: root, we, or the user of the
// container's first process.
func listensHere(uid int) bool {
	if ownUID(uid) {
		return true
	}
	owner, err := procfs.Owner(1)
	return err == nil && owner == uid
}
