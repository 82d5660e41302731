package api

import (
	"net"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/headroom"
)

// Connections at once: of one uid without the grant admin, of all such uids, and in total. The
// socket is world-writable, and each connection takes a descriptor that a service may need. The
// rest beyond maxOfOthers is for admins.
const (
	maxOfUser   = 16
	maxOfOthers = 96
	maxOfAll    = 128
)

// maxStreams is how many requests a connection of HTTP/2 has at once.
const maxStreams = 8

// serviceFiles is how many descriptors other uids leave free, so that a service can start.
const serviceFiles = 8

// connLimiter counts the open connections by uid.
type connLimiter struct {
	mu   sync.Mutex // guards open
	open map[int]int
}

// adminConns is the key of all connections of admins.
const adminConns = -2

func connKey(p peer) int {
	if p.ownUser() {
		return adminConns
	}
	return p.uid
}

// acquire counts a connection if there is room.
func (l *connLimiter) acquire(p peer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	others := 0
	for key, n := range l.open {
		if key != adminConns {
			others += n
		}
	}
	key := connKey(p)
	if others+l.open[adminConns] >= maxOfAll || key != adminConns && (l.open[key] >= maxOfUser || others >= maxOfOthers) {
		return false
	}
	l.open[key]++
	return true
}

func (l *connLimiter) release(p peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := connKey(p)
	if l.open[key]--; l.open[key] == 0 {
		delete(l.open, key)
	}
}

// limitedListener closes connections beyond the limits, and those of other uids while
// descriptors are short.
type limitedListener struct {
	net.Listener
	limits   *connLimiter
	identify func(net.Conn) peer
}

// Accept returns the next connection within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := l.identify(conn)
		if (p.ownUser() || headroom.DescriptorsFor(serviceFiles) == nil) && l.limits.acquire(p) {
			return &limitedConn{Conn: conn, limits: l.limits, peer: p}, nil
		}
		conn.Close()
	}
}

// limitedConn releases its place when it is closed.
type limitedConn struct {
	net.Conn
	limits *connLimiter
	peer   peer
	once   sync.Once
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	c.once.Do(func() { c.limits.release(c.peer) })
	return c.Conn.Close()
}

// SyscallConn returns the socket.
func (c *limitedConn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, net.ErrClosed
	}
	return s.SyscallConn()
}
