package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a unix socket when it connected.
type peer struct {
	uid, pid int
	// confined is why it has fewer grants than its uid; empty: it has not.
	confined string
	service  string // that it belongs to, where it is confined; empty: none, or unknown
}

// ownUser reports whether it has the grants of root and of stoker's own user.
func (p peer) ownUser() bool { return ownUID(p.uid) && p.confined == "" }

// requestConn is the context key of a connection.
type requestConn struct{}

// withConn adds a connection to the context of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(access.WithConn(ctx, c), requestConn{}, c)
}

// byOwnUser reports whether the peer of a connection has the grants of root and of stoker's own user.
func byOwnUser(c net.Conn) bool {
	l, ok := c.(*limitedConn)
	return ok && l.peer.ownUser()
}

// peerOf returns the peer of a request; false: unknown, with uid -1.
func peerOf(ctx context.Context) (peer, bool) {
	if c, ok := ctx.Value(requestConn{}).(*limitedConn); ok {
		return c.peer, true
	}
	return peer{uid: -1}, false
}

// hungUp reports whether the peer of a request has closed its connection.
func hungUp(ctx context.Context) bool {
	c, ok := ctx.Value(requestConn{}).(*limitedConn)
	if !ok {
		return false
	}
	var gone bool
	err := control(c.Conn, func(fd int) error {
		p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP, both directions are closed, is always polled
		_, err := unix.Poll(p, 0)
		gone = p[0].Revents&unix.POLLHUP != 0
		return err
	})
	return gone && err == nil
}

// OwnUser reports whether the peer of a connection is root, or has our own uid.
func OwnUser(c net.Conn) bool {
	cred, err := credentials(c)
	return err == nil && ownUID(int(cred.Uid))
}

// identify reads the peer's credentials (SO_PEERCRED, unix(7)), and for root and our own uid
// whether the process is confined.
func (s *Server) identify(c net.Conn) peer {
	cred, err := credentials(c)
	if err != nil {
		return peer{uid: -1}
	}
	p := peer{uid: int(cred.Uid), pid: int(cred.Pid)}
	if ownUID(p.uid) {
		err = control(c, func(fd int) error {
			p.confined, p.service = s.confinement(fd, p.pid)
			return nil
		})
	}
	if err != nil {
		return peer{uid: -1}
	}
	return p
}

// credentials are those of the peer process when it connected or listened.
func credentials(c net.Conn) (cred *unix.Ucred, err error) {
	err = control(c, func(fd int) (err error) {
		cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	return cred, err
}

// ownUID reports whether a uid is root's or our own.
func ownUID(uid int) bool { return uid == 0 || uid == os.Getuid() }

// control calls f with the descriptor of a connection.
func control(c net.Conn, f func(fd int) error) error {
	unixConn, ok := c.(*net.UnixConn)
	if !ok {
		return net.ErrClosed
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}

// confinement is why a peer has fewer grants than its uid, and the service that it belongs to; empty: it has not. An unknown origin
// is a reason too: a process may connect, pass the connection on and end. A peer outside of our
// PID namespace (pid 0) is on the host or in a container that shares the socket: it belongs to no
// service, and its uid decides.
func (s *Server) confinement(fd, pid int) (why, service string) {
	if pid == 0 {
		return "", ""
	}
	ended := fmt.Sprintf("pid %d has ended, or /proc does not show it", pid)
	// The directory is of the process that has the pid now, the pidfd of the one that connected:
	// if both are alive at the end they are the same process, the one that was examined.
	dir, err := procfs.Open(pid)
	if err != nil {
		return ended, ""
	}
	defer dir.Close()
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		defer unix.Close(pidfd)
	case err != unix.ENOPROTOOPT: // Linux < 6.5
		return ended, ""
	}
	why, service = s.restriction(pid)
	// EPERM: it is alive, and we are not root.
	if err == nil && unix.PidfdSendSignal(pidfd, 0, nil, 0) == unix.ESRCH {
		return ended, ""
	}
	if _, err := dir.Readdirnames(1); err != nil {
		return ended, ""
	}
	return why, service
}

// restriction is confinement of the process that has the pid now.
func (s *Server) restriction(pid int) (why, service string) {
	service, err := s.opts.Member(pid)
	switch {
	case err != nil:
		return "it is not known where it comes from: " + err.Error(), ""
	case service != "":
		return fmt.Sprintf("pid %d belongs to the service %q", pid, service), service
	}
	own, err := execshim.ReadRights(os.Getpid())
	if err != nil {
		return err.Error(), ""
	}
	rights, err := execshim.ReadRights(pid)
	if err != nil {
		return err.Error(), ""
	}
	if lacks := rights.Lacks(own); lacks != "" {
		return fmt.Sprintf("pid %d has fewer rights than stoker: %s", pid, lacks), ""
	}
	return "", ""
}

// identityOf is the one place that decides what a peer may do; description is its name for people. A process of a service has
// what the users of services have, also if it is root's.
func (s *Server) identityOf(p peer) (id access.Identity, description string) {
	id = access.Identity{Name: fmt.Sprintf("uid %d", p.uid), UID: p.uid, Pid: p.pid}
	description = id.Name
	switch {
	case p.uid == -1:
		id.Pid = -1
		return id, "an unknown process"
	case p.ownUser():
		id.Grants = access.All
	case ownUID(p.uid):
		id.Grants, id.Confined = access.View, true
		id.Name += " (confined)"
		if p.service != "" {
			id.Name = description + " (service " + p.service + ")"
		}
		description += " (" + p.confined + ")"
	case s.opts.Viewers != nil && slices.Contains(s.opts.Viewers(), p.uid):
		id.Grants = access.View
	}
	return id, description
}
