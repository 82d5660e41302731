// Package listen keeps the listening sockets of services: they are bound once, before a service starts, and stay open over its
// restarts, so that clients wait in the queue of the socket meanwhile.
package listen

import (
	"errors"
	"os"
)

// Config is one listening socket of a service. One of TCP and Unix is set.
type Config struct {
	// Name is what the service finds it by (LISTEN_FDNAMES): letters, digits, "-", "_", ".".
	Name string `yaml:"name"`
	// TCP is "HOST:PORT" or ":PORT" (every address, IPv6 too where there is any).
	TCP string `yaml:"tcp"`
	// Unix is the absolute path of a unix stream socket.
	Unix string `yaml:"unix" check:"absolute"`
	// Backlog is how many connections may wait to be accepted (default 1024); the kernel cuts it to net.core.somaxconn.
	Backlog int `yaml:"backlog" default:"1024" check:"positive"`
	// Mode is the permission of a unix socket, octal (default 0666).
	Mode string `yaml:"mode" check:"umask"`
	// Owner is "user", "user:group", or ids, of a unix socket; empty: the service's user.
	Owner string `yaml:"owner" check:"user"`
}

// Socket is an open listening socket of a service. The file stays the Set's.
type Socket struct {
	Config
	File *os.File
}

// Set is the sockets of all services. Several goroutines may use it.
type Set struct{}

// Open returns the sockets of a service in the order of its configuration, and binds those that are not open yet. It closes those of the
// service that configs does not have any more.
func (s *Set) Open(service string, configs []Config, uid, gid int) ([]Socket, error) {
	if len(configs) == 0 {
		return nil, nil
	}
	return nil, errors.New("cannot listen: not built yet")
}

// Close closes the sockets of a service: new clients are refused from here on.
func (s *Set) Close(service string) {}
