package api

import (
	"context"
	"net"
	"os"
	"sync"
)

// Connections at once: of any one user that is neither root nor ours, and of all.
// The socket is open to everybody, and each connection takes a descriptor that a
// service may need to start.
const (
	maxOfUser = 16
	maxOfAll  = 128
)

// fairListener closes what goes beyond.
type fairListener struct {
	net.Listener
	mu   sync.Mutex  // guards open
	open map[int]int // by uid
}

// Accept gives the next connection that is within the limits.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, _ := peerOf(withPeer(context.Background(), conn))
		if l.take(p.uid) {
			return &fairConn{Conn: conn, l: l, uid: p.uid}, nil
		}
		conn.Close()
	}
}

// take counts a connection of uid, if there is room.
func (l *fairListener) take(uid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := 0
	for _, n := range l.open {
		all += n
	}
	trusted := uid == 0 || uid == os.Getuid()
	if all >= maxOfAll || !trusted && l.open[uid] >= maxOfUser {
		return false
	}
	l.open[uid]++
	return true
}

func (l *fairListener) give(uid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid]--; l.open[uid] == 0 {
		delete(l.open, uid)
	}
}

// fairConn gives its place back when it is closed.
type fairConn struct {
	net.Conn
	l    *fairListener
	uid  int
	once sync.Once
}

// Close closes the connection.
func (c *fairConn) Close() error {
	c.once.Do(func() { c.l.give(c.uid) })
	return c.Conn.Close()
}
