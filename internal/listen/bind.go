package listen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// ParseMode reads the permission of a unix socket: octal digits, with or without 0 or 0o before them, at most 0777.
func ParseMode(text string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%.60q is not the mode of a socket", text)
	}
	return uint32(n), nil
}

// resolve fills in what a configuration leaves out.
func resolve(c Config, uid, gid int) (bound, error) {
	b := bound{Config: c}
	b.Backlog = cmp.Or(c.Backlog, defaultBacklog)
	if c.Unix == "" {
		return b, nil
	}
	b.UID, b.GID, b.Mode = uid, gid, cmp.Or(c.Mode, "0666")
	if c.Owner != "" {
		u, err := asuser.Lookup(c.Owner)
		if err != nil {
			return b, err
		}
		b.UID, b.GID = int(u.UID), int(u.GID)
	}
	return b, nil
}

// bind opens a socket and keeps it.
func (s *Set) bind(service string, want bound) (k *socket, err error) {
	if want.Unix != "" {
		if err := removeStale(want.Unix); err != nil {
			return nil, err
		}
	}
	k = &socket{want, service, nil}
	if k.file, err = want.listen(); err != nil {
		return nil, err
	}
	if want.Unix != "" {
		err = k.setOwner()
	}
	if err == nil {
		err = unix.Listen(k.fd(), k.Backlog) // Go's is net.core.somaxconn
	}
	if err == nil {
		err = s.put(k)
	}
	if err != nil {
		k.close()
		return nil, err
	}
	s.open = append(s.open, k)
	return k, nil
}

// adjust gives an open socket another backlog, owner and mode.
func (s *Set) adjust(k *socket, want bound) error {
	want.Dev, want.Ino = k.Dev, k.Ino
	had := k.bound
	k.bound = want
	err := unix.Listen(k.fd(), k.Backlog) // the last process may have changed it for everyone, or have ended it by shutdown(2)
	if had != want {
		if err == nil && k.Unix != "" {
			err = k.setOwner()
		}
		if err == nil {
			err = s.put(k)
		}
	}
	if err != nil {
		k.bound = had
		return err
	}
	return unix.SetNonblock(k.fd(), false)
}

// listen binds. A literal address of one family is of that family alone.
func (b bound) listen() (*os.File, error) {
	network, address := "unix", b.Unix
	if b.Unix == "" {
		network, address = "tcp", b.TCP
		switch host, _, _ := net.SplitHostPort(b.TCP); {
		case strings.Contains(host, ":"):
			network = "tcp6"
		case host != "":
			network = "tcp4"
		}
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // programs expect a socket of TCP
	config.Control = func(_, _ string, c syscall.RawConn) error {
		if b.Unix == "" {
			return nil
		}
		mode, err := ParseMode(b.Mode)
		if err == nil { // the file begins with it, less the umask, and belongs to stoker's user
			err = c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), mode) })
		}
		return err
	}
	l, err := config.Listen(context.Background(), network, address)
	switch err = kernelError(err); {
	case errors.Is(err, unix.EACCES) && b.Unix == "":
		return nil, fmt.Errorf("%w (ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE)", err)
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("%w (the folder must exist)", err)
	case err != nil:
		return nil, err
	}
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	file, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	return file, unix.SetNonblock(int(file.Fd()), false)
}

// kernelError is the kernel's error without the address or path, which the caller names.
func kernelError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// removeStale removes the file of a unix socket at which nothing listens any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return kernelError(err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("it is there, and no socket; remove it, or choose another path")
	}
	conn, err := net.Dial("unix", path) // does not wait: a full queue is EAGAIN
	switch {
	case err == nil:
		conn.Close()
		return unix.EADDRINUSE
	case errors.Is(err, unix.EAGAIN):
		return unix.EADDRINUSE
	case errors.Is(err, unix.ECONNREFUSED):
		return kernelError(os.Remove(path))
	}
	return fmt.Errorf("a socket is there: %w", kernelError(err))
}

func (k *socket) fd() int { return int(k.file.Fd()) }

// setOwner gives the file of a unix socket its mode and owner, and remembers the file. It acts on an open file that it has checked: others
// may be able to replace the path.
func (k *socket) setOwner() error {
	fd, err := unix.Open(k.Unix, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Nlink != 1 { // a hard link may be to a socket of others
		return errors.New("something else has replaced it, or it has a second hard link")
	}
	k.Dev, k.Ino = st.Dev, st.Ino
	mode, err := ParseMode(k.Mode)
	if err != nil {
		return err
	}
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode); err != nil { // fchmod(2) takes no O_PATH
		return fmt.Errorf("cannot set its mode %s: %w", k.Mode, err)
	}
	if int(st.Uid) != k.UID || int(st.Gid) != k.GID {
		if err := unix.Fchownat(fd, "", k.UID, k.GID, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("cannot give it to user %d, group %d: %w (needs CAP_CHOWN)", k.UID, k.GID, err)
		}
	}
	return nil
}

// reachable reports whether clients still find the socket: the file of a unix socket may be gone.
func (k *socket) reachable() bool {
	var st unix.Stat_t
	return k.Unix == "" || unix.Lstat(k.Unix, &st) == nil && st.Dev == k.Dev && st.Ino == k.Ino
}

// close ends the queue, whichever process has the socket open, and removes the file of a unix socket.
func (k *socket) close() {
	_ = unix.Shutdown(k.fd(), unix.SHUT_RDWR)
	if k.Unix != "" && k.reachable() {
		_ = os.Remove(k.Unix)
	}
	k.file.Close()
}

// queue counts the connections that wait.
func (k *socket) queue() (waiting, backlog int, err error) {
	if k.Unix == "" {
		info, err := unix.GetsockoptTCPInfo(k.fd(), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return 0, 0, err
		}
		return int(info.Unacked), int(info.Sacked), nil // of a socket that listens they are these two: tcp_get_info
	}
	backlog = k.Backlog
	if text, err := untrusted.ReadFile("/proc/sys/net/core/somaxconn", 32); err == nil {
		if most, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			backlog = min(backlog, most)
		}
	}
	waiting, err = procfs.UnixWaiting(os.Getpid(), k.Unix)
	return waiting, backlog, err
}
