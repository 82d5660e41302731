// Package listen keeps the listening sockets of services: they are bound once, before a service starts, and stay open over its
// restarts, so that clients wait in the queue of the socket meanwhile. It accepts no connection, and passes no descriptor on:
// internal/proc does.
package listen

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// Config is one listening socket of a service. One of TCP and Unix is set.
type Config struct {
	// Name is what the service finds it by (LISTEN_FDNAMES): letters, digits, "-", "_", ".".
	Name string `yaml:"name"`
	// TCP is "HOST:PORT" or ":PORT" (every address, IPv6 too where there is any).
	TCP string `yaml:"tcp" check:"listenaddress"`
	// Unix is the absolute path of a unix stream socket.
	Unix string `yaml:"unix" check:"socket"`
	// Backlog is how many connections may wait to be accepted (default 1024); the kernel cuts it to net.core.somaxconn.
	Backlog int `yaml:"backlog" check:"positive"`
	// Mode is the permission of a unix socket, octal (default 0666). Clients need to write.
	Mode string `yaml:"mode" check:"mode"`
	// Owner is "user", "user:group", or ids, of a unix socket; empty: the service's user.
	Owner string `yaml:"owner" check:"user"`
}

// defaultBacklog is how many connections may wait where the configuration does not say it: more than most requests of a restart's time.
const defaultBacklog = 1024

// Address is where it listens: ":8080" or "/run/app.sock".
func (c Config) Address() string {
	if c.Unix != "" {
		return c.Unix
	}
	return c.TCP
}

// Socket is an open listening socket of a service. The file stays the Set's.
type Socket struct {
	Config
	File *os.File
}

// itemPrefix marks the items of the fd store that are sockets: listen/SERVICE/NAME.
const itemPrefix = "listen/"

// bound is what the fd store has of a socket beside its descriptor.
type bound struct {
	Config
	UID, GID int    // that own the file of a unix socket
	Dev, Ino uint64 // that file
}

// socket is one that is open.
type socket struct {
	bound
	service string
	file    *os.File
}

func (s *socket) item() string { return itemPrefix + s.service + "/" + s.Name }

// Set is the sockets of all services. Several goroutines may use it.
type Set struct {
	store  *fdstore.Store
	holder func(Config) string

	mu   sync.Mutex
	open []*socket
}

// New returns the set of the sockets that an earlier supervisor has kept. holder says what holds an address, as "is held by another
// process: pid 20 (nginx)"; empty: it cannot be seen.
func New(store *fdstore.Store, items fdstore.Items, holder func(Config) string) *Set {
	s := &Set{store: store, holder: holder}
	for _, item := range items.Names(itemPrefix) {
		file, blob, err := items.TakeFile(item)
		var b bound
		if err == nil {
			err = json.Unmarshal(blob, &b)
		}
		if err != nil { // of another version: it is bound again
			if file != nil {
				file.Close()
			}
			store.Delete(item)
			continue
		}
		s.open = append(s.open, &socket{b, path.Dir(strings.TrimPrefix(item, itemPrefix)), file})
	}
	return s
}

// Services returns the services that have open sockets, in order.
func (s *Set) Services() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, k := range s.open {
		names = append(names, k.service)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Open returns the sockets of a service in the order of its configuration, and binds those that are not open yet. It closes those of the
// service that configs does not have any more, or has with another address. uid and gid own unix sockets without an owner. After an error
// those that are open stay open.
func (s *Set) Open(service string, configs []Config, uid, gid int) ([]Socket, error) {
	out, failed, err := s.openAll(service, configs, uid, gid)
	if err == nil {
		return out, nil
	}
	err = fmt.Errorf("cannot listen on %s: %w", failed.Address(), err)
	if errors.Is(err, unix.EADDRINUSE) && s.holder != nil {
		if held := s.holder(failed); held != "" { // it calls HeldFor, which locks mu
			err = fmt.Errorf("%w: it %s", err, held)
		}
	}
	return nil, err
}

func (s *Set) openAll(service string, configs []Config, uid, gid int) (out []Socket, failed Config, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeIf(func(k *socket) bool {
		return k.service == service && (!k.reachable() || !slices.ContainsFunc(configs, func(c Config) bool {
			return c.Name == k.Name && c.Address() == k.Address()
		}))
	})
	for _, c := range configs {
		want, err := resolve(c, uid, gid)
		if err != nil {
			return nil, c, err
		}
		var k *socket
		if at := slices.IndexFunc(s.open, func(k *socket) bool { return k.service == service && k.Name == c.Name }); at < 0 {
			k, err = s.bind(service, want)
		} else {
			k = s.open[at]
			err = s.adjust(k, want)
		}
		if err != nil {
			return nil, c, err
		}
		out = append(out, Socket{c, k.file})
	}
	return out, Config{}, nil
}

// Close closes the sockets of a service: new clients are refused from here on.
func (s *Set) Close(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeIf(func(k *socket) bool { return k.service == service })
}

// HeldFor returns the service that a socket is kept open for; empty: it is none of the set. link is the socket as /proc/PID/fd shows it:
// "socket:[INODE]".
func (s *Set) HeldFor(link string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.open {
		var st unix.Stat_t
		if unix.Fstat(k.fd(), &st) == nil && link == fmt.Sprintf("socket:[%d]", st.Ino) {
			return k.service
		}
	}
	return ""
}

// Queue is the state of an open socket.
type Queue struct {
	Name, Address string
	Waiting       int // connections that are not accepted yet
	Backlog       int // how many may wait
}

// Full reports whether the kernel drops or blocks the next connection.
func (q Queue) Full() bool { return q.Waiting > q.Backlog }

// Status returns the queues of the open sockets of a service, in the order in which they were opened. The error says why the kernel does
// not show them.
func (s *Set) Status(service string) (out []Queue, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.open {
		if k.service != service {
			continue
		}
		q := Queue{Name: k.Name, Address: k.Address()}
		if q.Waiting, q.Backlog, err = k.queue(); err != nil {
			return nil, fmt.Errorf("cannot see the queue of %s: %w", q.Address, err)
		}
		out = append(out, q)
	}
	return out, nil
}

// closeIf closes the sockets that a condition is true of.
func (s *Set) closeIf(condition func(*socket) bool) {
	s.open = slices.DeleteFunc(s.open, func(k *socket) bool {
		if !condition(k) {
			return false
		}
		s.store.Delete(k.item())
		k.close()
		return true
	})
}

// put keeps a socket in the fd store.
func (s *Set) put(k *socket) error {
	blob, err := json.Marshal(k.bound)
	if err == nil {
		err = s.store.PutFile(k.item(), blob, k.file)
	}
	if err != nil {
		return fmt.Errorf("the next supervisor would not have it: %w", err)
	}
	return nil
}
