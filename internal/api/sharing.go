package api

import (
	"net"
	"net/http"

	"github.com/stoker-init/stoker/internal/access"
)

// sharingListener serves the connections of own users by another server, and returns those of others.
type sharingListener struct {
	net.Listener
	own *http.Server
}

// Accept returns the next connection that is not of an own user.
func (l *sharingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !access.ByOwnUser(conn) {
			return conn, err
		}
		one := &singleListener{addr: l.Addr(), conn: conn}
		_ = l.own.Serve(one) // returns at once, with net.ErrClosed
		if one.conn != nil {
			one.conn.Close() // the server is closed
		}
	}
}

// singleListener is the listener of one connection.
type singleListener struct {
	addr net.Addr
	conn net.Conn // nil: it was accepted
}

// Accept returns the connection, once.
func (l *singleListener) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

// Close does nothing: the connection is its server's.
func (l *singleListener) Close() error { return nil }

// Addr is that of the listener that accepted the connection.
func (l *singleListener) Addr() net.Addr { return l.addr }
