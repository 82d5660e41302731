package training

import (
	"fmt"
	"net"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/listen"
)

// Ports are the sockets of a service whose archive is made: on loopback, where its clients do not find it.
type Ports struct {
	open []listen.Socket
}

// Sockets is service.Deps.Listen: a socket for each that is configured, and one for a Tomcat.
func (p *Ports) Sockets(s config.Service) ([]listen.Socket, error) {
	if p.open != nil {
		return p.open, nil
	}
	wanted := s.Listen
	if s.Kind == config.KindTomcat {
		wanted = []listen.Config{{Name: "http"}}
	}
	for _, c := range wanted {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot listen on a private port: %w", err)
		}
		f, err := l.(*net.TCPListener).File()
		address := l.Addr().String()
		l.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot listen on a private port: %w", err)
		}
		p.open = append(p.open, listen.Socket{Config: listen.Config{Name: c.Name, TCP: address}, File: f})
	}
	return p.open, nil
}

// Close closes them.
func (p *Ports) Close() {
	for _, s := range p.open {
		s.File.Close()
	}
}
