package access

import (
	"net"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/headroom"
)

// Connections of a socket at once: of one uid without the grant admin, of all such uids, and in total. The
// socket is world-writable, and each connection takes a descriptor that a service may need. The
// rest beyond maxOfOthers is for admins.
const (
	maxOfUser   = 16
	maxOfOthers = 96
	MaxOfSocket = 128
)

// places counts the open connections of a socket by uid.
type places struct {
	mu   sync.Mutex // guards open
	open map[int]int
}

// adminConns is the key of all connections of admins.
const adminConns = -2

func placeKey(p process) int {
	if p.ownUser() {
		return adminConns
	}
	return p.uid
}

// acquire counts a connection if there is room.
func (l *places) acquire(p process) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	others := 0
	for key, n := range l.open {
		if key != adminConns {
			others += n
		}
	}
	key := placeKey(p)
	if others+l.open[adminConns] >= MaxOfSocket || key != adminConns && (l.open[key] >= maxOfUser || others >= maxOfOthers) {
		return false
	}
	if l.open == nil {
		l.open = map[int]int{}
	}
	l.open[key]++
	return true
}

func (l *places) release(p process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := placeKey(p)
	if l.open[key]--; l.open[key] == 0 {
		delete(l.open, key)
	}
}

// socketListener closes connections beyond the limits, and those of other uids while
// descriptors are short.
type socketListener struct {
	net.Listener
	socket *Socket
}

// Accept returns the next connection within the limits.
func (l *socketListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := l.socket.identify(conn)
		if (p.ownUser() || headroom.DescriptorsFor(serviceFiles) == nil) && l.socket.places.acquire(p) {
			return &socketConn{Conn: conn, places: &l.socket.places, process: p}, nil
		}
		conn.Close()
	}
}

// socketConn releases its place when it is closed.
type socketConn struct {
	net.Conn
	places  *places
	process process
	once    sync.Once
}

// Close closes the connection.
func (c *socketConn) Close() error {
	c.once.Do(func() { c.places.release(c.process) })
	return c.Conn.Close()
}

// SyscallConn returns the socket.
func (c *socketConn) SyscallConn() (syscall.RawConn, error) { return syscallConn(c.Conn) }
