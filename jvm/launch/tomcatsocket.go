package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/wholefile"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// serverCopy returns the path of the server.xml with which a Tomcat starts that takes a socket of stoker; empty: it starts with its own.
func (l *tomcatKind) serverCopy() string {
	if len(l.Config.Listen) == 0 && l.training() == nil {
		return ""
	}
	return filepath.Join(l.shared.copyFolder(l.Name), "server.xml")
}

func (s *Shared) copyFolder(service string) string { return filepath.Join(s.Runtime, s.Owner+service) }

// gracefulStop returns how long a Tomcat that stops waits for connections to be closed. Idle ones are closed only by their clients, so it
// is short.
func (l *tomcatKind) gracefulStop() time.Duration {
	const most = time.Second
	if requests := l.Config.Stop.Requests; requests != nil {
		return min(*requests, most)
	}
	return most
}

// inherit writes the server.xml of a Tomcat that takes a socket of stoker.
func (l *tomcatKind) inherit(p *plan) error {
	s := p.tomcat
	switch {
	case len(p.sockets) == 0:
		return nil
	case len(p.sockets) > 1:
		return fmt.Errorf("cannot pass %d sockets to a Tomcat: a JVM can inherit one\nhint: leave one entry in listen", len(p.sockets))
	case s.serverErr != nil:
		return s.serverErr
	}
	socket, file := p.sockets[0].Config, l.serverCopy()
	host, port, _ := net.SplitHostPort(socket.TCP)
	number, _ := strconv.Atoi(port)
	how := tomcat.Rendering{Port: number, Socket: socket.Unix, JavaMajor: p.java.Major, GracefulStop: l.gracefulStop()}
	private := l.training() != nil
	if private {
		how = tomcat.Rendering{Private: true, JavaMajor: p.java.Major}
	}
	at, err := s.server.Inheriting(how)
	if err != nil && private { // with its own ports, which are free in an image build
		p.report.argv = slices.DeleteFunc(p.report.argv, func(arg string) bool { return arg == "-config" || arg == file })
		p.sockets = nil
		return nil // a Tomcat in the way is in its output
	}
	if err != nil {
		return err
	}
	connector := &s.server.Connectors[at]
	if socket.Unix != "" {
		how.SocketPath = filepath.Join(filepath.Dir(file), "socket")
	} else if had := connector.Address; had != "" && had != host && !private {
		p.warnings = append(p.warnings, fmt.Sprintf("%s:%d: address=%q does not apply: the connector takes the socket of listen, "+
			"which is bound to %s", s.server.File, connector.Line, had, socket.TCP))
	}
	data, err := s.install.RenderServerXML(s.serverData, s.server, how)
	if err != nil {
		return err
	}
	if private {
		connector.Socket = ""
	}
	connector.Address, connector.Port = host, tomcat.Port{Number: number, Set: socket.Unix == "", Text: port}
	return l.asUser(func() error { return writeCopy(file, data, how) })
}

// writeCopy writes the server.xml of a start, and a link to its unix socket.
func writeCopy(file string, data []byte, how tomcat.Rendering) error {
	err := wholefile.Write(file, 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot write the copy of server.xml: %w", err)
	}
	if how.SocketPath == "" {
		return nil
	}
	if err := os.Remove(how.SocketPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace the link to the socket: %w", err)
	}
	return os.Symlink(how.Socket, how.SocketPath)
}

// asUser calls f as the service's user, after it has made the folder of its server.xml, which is that user's alone.
func (l *tomcatKind) asUser(f func() error) error {
	if l.shared.Runtime == "" {
		return errors.New("cannot write the copy of server.xml: no folder is writable\nhint: make /run/stoker writable, such as by a tmpfs")
	}
	dir := filepath.Dir(l.serverCopy())
	err := os.MkdirAll(l.shared.Runtime, 0o711)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make the folder of the copy of server.xml: %w", err)
	}
	if l.User == nil || os.Geteuid() != 0 {
		return f()
	}
	if err := os.Lchown(dir, int(l.User.UID), int(l.User.GID)); err != nil {
		return fmt.Errorf("cannot give the folder of the copy of server.xml to %s: %w", l.User.Name, err)
	}
	return l.User.Identity().Do(f)
}

// RemoveCopy removes what was written for the starts of a service.
func (s *Shared) RemoveCopy(service string) {
	if s.Runtime != "" {
		_ = os.RemoveAll(s.copyFolder(service)) // the container's end removes it too
	}
}

// acceptsEarly reports whether a TCP probe says nothing: the socket at its port is stoker's, which is open before Tomcat accepts.
func acceptsEarly(sockets []listen.Config, tcp string) bool {
	_, port, _ := net.SplitHostPort(tcp)
	for _, c := range sockets {
		if _, p, _ := net.SplitHostPort(c.TCP); port != "" && p == port {
			return true
		}
	}
	return false
}
