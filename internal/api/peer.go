package api

import (
	"context"
	"net"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a unix socket.
type peer struct{ uid, pid int }

// peerKey is the context's key of a peer.
type peerKey struct{}

// withPeer asks the kernel who connected (SO_PEERCRED, unix(7)).
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if fair, ok := c.(*fairConn); ok {
		c = fair.Conn
	}
	unixConn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer{int(cred.Uid), int(cred.Pid)})
}

// peerOf gives the peer of a request; false: unknown, and then nobody.
func peerOf(ctx context.Context) (peer, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		p.uid = -1
	}
	return p, ok
}
