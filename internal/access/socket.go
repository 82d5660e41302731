package access

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Socket decides who may use the API over a unix socket, by the process at its other end, and limits the connections.
type Socket struct {
	Gate    *Gate        // has the origins and the refusals
	Viewers func() []int // uids with the grant view; nil: none
	// Member returns whose process one is that has not the grants of its uid. An error: unknown.
	Member func(pid int) (Owner, error)

	places places
}

// Listener makes the listener to serve of that of the socket: with the limits of connections.
func (s *Socket) Listener(l net.Listener) net.Listener { return &socketListener{l, s} }

// Admit decides about a request over the socket: Origin and grant, in this order. Errors are a *Refusal.
func (s *Socket) Admit(r *http.Request, need Grants) (Identity, error) {
	p := processOf(r.Context())
	id, name := s.identityOf(p)
	err := s.Gate.admitOrigin(r, need)
	if err == nil && (!id.Grants.Has(need) || need == Known && p.uid == -1) {
		hint := "ask as root, or as the user that stoker runs as"
		if p.confined != "" {
			hint = "ask from outside of the services (docker exec), let a hook ask, or name the service in api.admins"
		}
		if p.owner.Session {
			hint = "ask from outside of the session (docker exec), or over TCP with a credential that has the grant"
		}
		err = refuse(http.StatusForbidden, "forbidden", hint, "%s may not do this: it needs the grant %s", name, need)
	}
	if err != nil {
		s.Gate.Add(id.Name, err, "uid", p.uid, "pid", p.pid, "method", r.Method, "path", r.URL.Path, "grant", need)
	}
	return id, err
}

// process is the one at the other end of a unix socket when it connected.
type process struct {
	uid, pid int
	// confined is why it has fewer grants than its uid; empty: it has not.
	confined string
	owner    Owner // whose it is, if it is confined
}

// Owner is the service or session that a process belongs to, which limits it to the grant view. The zero value is neither.
type Owner struct {
	Service string // one that is not in api.admins
	Session bool   // a session of the console
}

// String is the part of an identity's name that tells its processes from others of the same uid.
func (o Owner) String() string {
	switch {
	case o.Session:
		return "session"
	case o.Service != "":
		return "service " + o.Service
	}
	return "confined"
}

// ownUser reports whether it has the grants of root and of stoker's own user.
func (p process) ownUser() bool { return OwnUID(p.uid) && p.confined == "" }

// ByOwnUser reports whether root or stoker's own user has made a connection that a Socket has accepted.
func ByOwnUser(c net.Conn) bool {
	s, ok := c.(*socketConn)
	return ok && s.process.ownUser()
}

// processOf returns the one that sent a request; uid -1: it is unknown.
func processOf(ctx context.Context) process {
	if c, ok := ctx.Value(connKey{}).(*socketConn); ok {
		return c.process
	}
	return process{uid: -1}
}

// HungUp reports whether the process that sent a request has closed its connection.
func HungUp(r *http.Request) bool {
	c, ok := r.Context().Value(connKey{}).(*socketConn)
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
	uid, err := PeerUID(c)
	return err == nil && OwnUID(uid)
}

// identify reads the peer's credentials (SO_PEERCRED, unix(7)), and for root and our own uid
// whether the process is confined.
func (s *Socket) identify(c net.Conn) process {
	cred, err := credentials(c)
	if err != nil {
		return process{uid: -1}
	}
	p := process{uid: int(cred.Uid), pid: int(cred.Pid)}
	if OwnUID(p.uid) {
		err = control(c, func(fd int) error {
			p.confined, p.owner = s.confinement(fd, p.pid)
			return nil
		})
	}
	if err != nil {
		return process{uid: -1}
	}
	return p
}

// PeerUID returns the uid of the process at the other end of a unix socket when it connected or listened.
func PeerUID(c net.Conn) (int, error) {
	cred, err := credentials(c)
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}

// credentials are those of the peer process when it connected or listened.
func credentials(c net.Conn) (cred *unix.Ucred, err error) {
	err = control(c, func(fd int) (err error) {
		cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	return cred, err
}

// OwnUID reports whether a uid is root's or our own.
func OwnUID(uid int) bool { return uid == 0 || uid == os.Getuid() }

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
func (s *Socket) confinement(fd, pid int) (why string, owner Owner) {
	if pid == 0 {
		return "", Owner{}
	}
	ended := fmt.Sprintf("pid %d has ended, or /proc does not show it", pid)
	// The directory is of the process that has the pid now, the pidfd of the one that connected:
	// if both are alive at the end they are the same process, the one that was examined.
	dir, err := procfs.Open(pid)
	if err != nil {
		return ended, Owner{}
	}
	defer dir.Close()
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		defer unix.Close(pidfd)
	case err != unix.ENOPROTOOPT: // Linux < 6.5
		return ended, Owner{}
	}
	why, owner = s.restriction(pid)
	// EPERM: it is alive, and we are not root.
	if err == nil && unix.PidfdSendSignal(pidfd, 0, nil, 0) == unix.ESRCH {
		return ended, Owner{}
	}
	if _, err := dir.Readdirnames(1); err != nil {
		return ended, Owner{}
	}
	return why, owner
}

// restriction is why the process that has the pid now has fewer grants than its uid.
func (s *Socket) restriction(pid int) (why string, owner Owner) {
	owner, err := s.Member(pid)
	switch {
	case err != nil:
		return "it is not known where it comes from: " + err.Error(), Owner{}
	case owner.Session:
		return fmt.Sprintf("pid %d belongs to a session of the console", pid), owner
	case owner.Service != "":
		return fmt.Sprintf("pid %d belongs to the service %q", pid, owner.Service), owner
	}
	own, err := execshim.ReadRights(os.Getpid())
	if err != nil {
		return err.Error(), Owner{}
	}
	rights, err := execshim.ReadRights(pid)
	if err != nil {
		return err.Error(), Owner{}
	}
	if lacks := rights.Lacks(own); lacks != "" {
		return fmt.Sprintf("pid %d has fewer rights than stoker: %s", pid, lacks), Owner{}
	}
	return "", Owner{}
}

// identityOf is the one place that decides what a peer may do; description is its name for people. A process of a service has
// what the users of services have, also if it is root's.
func (s *Socket) identityOf(p process) (id Identity, description string) {
	id = Identity{Name: fmt.Sprintf("uid %d", p.uid), UID: p.uid, Pid: p.pid}
	description = id.Name
	switch {
	case p.uid == -1:
		id.Pid = -1
		return id, "an unknown process"
	case p.ownUser():
		id.Grants = All
	case OwnUID(p.uid):
		id.Grants, id.Confined = View, true
		id.Name += " (" + p.owner.String() + ")"
		description += " (" + p.confined + ")"
	case s.Viewers != nil && slices.Contains(s.Viewers(), p.uid):
		id.Grants = View
	}
	return id, description
}
