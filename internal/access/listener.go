package access

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/headroom"
)

// Connections at once. Pending ones have not sent a credential: the oldest makes room for a new one, so that whoever holds them open
// keeps no other out.
const (
	maxPendingOfPeer = 64
	maxPending       = 96
	maxOfPeer        = 64
	maxAdmitted      = 128
)

// serviceFiles is how many descriptors clients leave free, so that a service can start.
const serviceFiles = 8

// limits counts the connections of a listener.
type limits struct {
	mu       sync.Mutex     // guards the fields below
	pending  list.List      // of *Conn, the oldest first
	admitted map[string]int // by peer
	all      int            // admitted ones
}

// limitedListener accepts connections within limits.
type limitedListener struct {
	net.Listener
	limits *limits
}

// Accept returns the next connection that there are descriptors for.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if headroom.DescriptorsFor(serviceFiles) == nil {
			return l.limits.add(conn), nil
		}
		conn.Close()
	}
}

// add counts a connection as pending.
func (l *limits) add(c net.Conn) *Conn {
	conn := &Conn{Conn: c, peer: peerKey(c.RemoteAddr()), limits: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	conn.place = l.pending.PushBack(conn)
	var oldest *Conn // of the peer
	n := 0
	for e := l.pending.Front(); e != nil; e = e.Next() {
		if other := e.Value.(*Conn); other.peer == conn.peer {
			if n++; oldest == nil {
				oldest = other
			}
		}
	}
	if n <= maxPendingOfPeer {
		oldest = nil
		if l.pending.Len() > maxPending {
			oldest = l.pending.Front().Value.(*Conn)
		}
	}
	if oldest != nil {
		l.pending.Remove(oldest.place)
		oldest.place = nil
		oldest.Conn.Close() // its server goroutine sees that, and calls Close
	}
	return conn
}

// Conn is a connection of a TCP client.
type Conn struct {
	net.Conn
	peer   string
	limits *limits
	place  *list.Element // in limits.pending; nil: it is not pending. limits.mu guards it
	admits bool          // it counts as admitted. limits.mu guards it
}

// admit counts the connection as one of a client with a credential. False: there are too many.
func (c *Conn) admit() bool {
	l := c.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.admits {
		return true
	}
	if c.place == nil || l.all >= maxAdmitted || l.admitted[c.peer] >= maxOfPeer {
		return false
	}
	l.pending.Remove(c.place)
	c.place, c.admits = nil, true
	l.all++
	l.admitted[c.peer]++
	return true
}

// Close closes the connection, and releases its place.
func (c *Conn) Close() error {
	l := c.limits
	l.mu.Lock()
	if c.place != nil {
		l.pending.Remove(c.place)
		c.place = nil
	}
	if c.admits {
		c.admits = false
		l.all--
		if l.admitted[c.peer]--; l.admitted[c.peer] == 0 {
			delete(l.admitted, c.peer)
		}
	}
	l.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn returns the socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return syscallConn(c.Conn) }

func syscallConn(c net.Conn) (syscall.RawConn, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, net.ErrClosed
	}
	return s.SyscallConn()
}

// connKey is the context key of a *Conn or *socketConn.
type connKey struct{}

// WithConn adds a connection that a listener of this package accepted to the context of its requests.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// ConnOf returns the connection of a request; nil: WithConn has not seen it.
func ConnOf(r *http.Request) net.Conn {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	return c
}

// OverTCP reports whether a request came over TCP.
func OverTCP(r *http.Request) bool { return connOf(r) != nil }

func connOf(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}
