package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// readyProof is how Tomcat proves its readiness where no path is configured. It depends on the command line and the files of its start, so
// it is saved with the service.
type readyProof struct {
	Since time.Time `json:"since"` // time of the start
	// URL is the root of an HTTP connector, and AJP the address of an AJP one. If both are empty, readiness is the startup message.
	URL    string `json:"url,omitempty"`
	AJP    string `json:"ajp,omitempty"`
	Socket string `json:"socket,omitempty"` // unix socket for URL, which Tomcat itself must listen on
	Port   int    `json:"port,omitempty"`   // port that Tomcat itself must listen on; 0: unknown
	// Unknown is why no port or socket is known; empty: one is known, or there is none.
	Unknown string `json:"unknown,omitempty"`
}

// newProof prefers an HTTP connector to an AJP one, and that to any listening port.
func newProof(server tomcat.ServerXML, err error, since time.Time) readyProof {
	p := readyProof{Since: since}
	if err != nil {
		p.Unknown = err.Error()
		return p
	}
	unknown := server.Notes
	for _, c := range server.Connectors {
		scheme := "http"
		if c.TLS {
			scheme = "https"
		}
		switch host, known := connectorHost(c); {
		case c.Port.Set && c.Port.Number < 0 && c.Socket == "": // Tomcat does not start it
		case c.HTTP() && filepath.IsAbs(c.Socket):
			return readyProof{Since: since, URL: scheme + "://localhost/", Socket: c.Socket}
		case c.Socket != "" || !c.Port.Set || c.Port.Number == 0:
			unknown = append(unknown, unknownConnector(server.File, c))
		case c.HTTP() && known:
			url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(c.Port.Number)) + "/"
			return readyProof{Since: since, URL: url, Port: c.Port.Number}
		case p.Port == 0:
			p.Port = c.Port.Number
			if known {
				p.AJP = net.JoinHostPort(host, strconv.Itoa(p.Port))
			}
		}
	}
	if p.Port == 0 && len(unknown) > 0 {
		p.Unknown = "the port is not known: " + unknown[0]
		if more := len(unknown) - 1; more > 0 {
			p.Unknown += fmt.Sprintf("; and %d more", more)
		}
	}
	return p
}

// unknownConnector returns why the address of a connector is unknown.
func unknownConnector(file string, c tomcat.Connector) string {
	name, value := "port", c.Port.Text
	if c.Socket != "" {
		name, value = "unixDomainSocketPath", c.Socket
	}
	return fmt.Sprintf("%s:%d: the connector has %s=%q", file, c.Line, name, value)
}

// connectorHost returns the host that a connector listens on, if it is known.
func connectorHost(c tomcat.Connector) (host string, known bool) {
	ip := net.ParseIP(c.Address)
	switch {
	case c.Address == "", ip != nil && ip.IsUnspecified():
		return "127.0.0.1", true
	case strings.ContainsAny(c.Address, "$ /"):
		return "", false
	}
	return c.Address, true
}

// launchWithProof returns a launch with three readiness checks: Tomcat itself listens, it answers as expected, and every needed
// application is deployed.
func (l *tomcatKind) launchWithProof(s *tomcatStart) (*supervisor.Launch, error) {
	out, err := l.base()
	if err != nil {
		return nil, err
	}
	apps, _ := s.install.Applications(s.server)
	settings := watchSettings{patterns: l.patternsOf(s.install.Home), base: s.install.Base, wanted: l.Config.Tomcat.Contexts,
		options: s.options, apps: apps, since: s.proof.Since, serverErr: s.serverErr, holder: l.Manager.PortHolder}
	if u, err := url.Parse(l.Config.Ready.HTTP.URL); err == nil && l.Config.Ready.HTTP.URL != "" {
		settings.probed = u.Path
	}
	w := newTomcatWatch(settings)
	proof := l.configuredProof(s.proof)
	if proof.Port > 0 {
		out.Port = proof.Port
	}
	out.Ready = l.probe(proof, out.Ready, w)
	out.OnStartupLine, out.Explain, out.WatchLogFile, out.WatchOutput = w.line, w.explain, watchTomcatLogs(s.install.Base),
		w.watchRunning(out.WatchOutput)
	return out, nil
}

// configuredProof returns p, or with ready.http set the port of its URL if that is local.
func (l *tomcatKind) configuredProof(p readyProof) readyProof {
	configured := l.Config.Ready.HTTP.URL
	if configured == "" {
		return p
	}
	p = readyProof{Since: p.Since, URL: configured, Socket: l.Config.Ready.HTTP.Socket}
	if u, err := url.Parse(configured); err == nil && p.Socket == "" {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			p.Port = probe.PortOf(u)
		}
	}
	return p
}

// provingStatuses returns the accepted statuses where no path is configured, 200 to 499: the root of a Tomcat without a ROOT application
// answers 404, which is proof enough.
func provingStatuses() []int {
	out := make([]int, 300)
	for k := range out {
		out[k] = 200 + k
	}
	return out
}

var errNotStarted = errors.New("Tomcat has not said yet that it has started")

// probe checks once whether Tomcat is ready. configured is the configured check; nil: none.
func (l *tomcatKind) probe(proof readyProof, configured probe.Checker, w *tomcatWatch) probe.Checker {
	ready := l.Config.Ready
	root := probe.Config{HTTP: probe.HTTP{URL: proof.URL, Socket: proof.Socket, Status: provingStatuses(),
		CertFile: ready.HTTP.CertFile, KeyFile: ready.HTTP.KeyFile}}.New(nil)
	return probe.Checker(func(ctx context.Context, p probe.Process) error {
		own, ok := p.(*proc.Process)
		switch {
		case !ok:
			return errors.New("cannot see what it listens on")
		case proof.Port > 0:
			certain, err := own.OwnsListener(proof.Port)
			if err != nil {
				return err
			}
			if !certain {
				l.ownerUnknown.Do(func() {
					l.log.Warn("cannot identify the process that listens; its user is the service's, which is accepted as proof", "port", proof.Port)
				})
			}
		case proof.Socket != "" && configured == nil:
			if err := own.OwnsSocketFile(proof.Socket); err != nil {
				return err
			}
		}
		switch {
		case configured != nil && !w.started() && acceptsEarly(l.Config.Listen, l.Config.Ready.TCP):
			return errNotStarted
		case configured != nil:
			return configured(ctx, p)
		case root != nil:
			return root(ctx, p)
		case proof.AJP != "":
			return tomcat.PingAJP(ctx, proof.AJP)
		case !w.started():
			if proof.Unknown != "" {
				return fmt.Errorf("%w; %s", errNotStarted, proof.Unknown)
			}
			return errNotStarted
		case proof.Unknown != "":
			return own.Listens()
		}
		return nil
	})
}
