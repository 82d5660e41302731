package api

import (
	"net"
	"sync"

	"github.com/stoker-init/stoker/internal/headroom"
)

// Connections at once: of any one user that is no admin, of all of those, and of all.
// The socket is open to everybody, and each connection takes a descriptor that a
// service may need to start. What is left beyond maxOfOthers is for admins.
const (
	maxOfUser   = 16
	maxOfOthers = 96
	maxOfAll    = 128
)

// serviceFiles is how many descriptors a connection of others leaves besides those that
// are kept for operators: a service can be started again.
const serviceFiles = 8

// limiter counts the connections that are open.
type limiter struct {
	mu     sync.Mutex  // guards what follows
	open   map[int]int // of others than admins, by uid
	others int
	admins int
}

// take counts a connection, if there is room.
func (l *limiter) take(p peer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.others+l.admins >= maxOfAll:
		return false
	case p.trusted():
		l.admins++
		return true
	case l.open[p.uid] >= maxOfUser || l.others >= maxOfOthers:
		return false
	}
	l.open[p.uid]++
	l.others++
	return true
}

func (l *limiter) give(p peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.trusted() {
		l.admins--
		return
	}
	l.others--
	if l.open[p.uid]--; l.open[p.uid] == 0 {
		delete(l.open, p.uid)
	}
}

// fairListener closes what goes beyond the limits, and where descriptors are short
// whatever is no admin's.
type fairListener struct {
	net.Listener
	limits   *limiter
	identify func(net.Conn) peer
}

// Accept gives the next connection that is within the limits.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := l.identify(conn)
		if (p.trusted() || headroom.DescriptorsFor(serviceFiles) == nil) && l.limits.take(p) {
			return &fairConn{Conn: conn, limits: l.limits, peer: p}, nil
		}
		conn.Close()
	}
}

// fairConn gives its place back when it is closed.
type fairConn struct {
	net.Conn
	limits *limiter
	peer   peer
	once   sync.Once
}

// Close closes the connection.
func (c *fairConn) Close() error {
	c.once.Do(func() { c.limits.give(c.peer) })
	return c.Conn.Close()
}
