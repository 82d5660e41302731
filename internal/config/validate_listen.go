package config

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// maxSocketName bounds the name of a socket, in bytes, as systemd does.
const maxSocketName = 255

// listener is a configured socket.
type listener struct {
	listen.Config
	service, path string
}

// listeners checks the sockets of all services.
func (v *validator) listeners() {
	var earlier []listener
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		s := v.raw.Services[name]
		at := ServicePath(name, "listen")
		for i, c := range s.Listen {
			l := listener{c, name, layeredyaml.Index(at, i)}
			v.listenerName(l, s.Listen[:i])
			v.listenerKind(l, v.cfg.Services[name].Kind, i)
			v.listenerAddress(l, earlier)
			earlier = append(earlier, l)
		}
		v.probeOfSocket(ServicePath(name, "ready.tcp"), s.Ready.Config, s.Listen)
		v.probeOfSocket(ServicePath(name, "live.tcp"), s.Live.Config, s.Listen)
	}
}

func (v *validator) listenerName(l listener, before []listen.Config) {
	at := layeredyaml.Join(l.path, "name")
	switch {
	case l.Name == "":
		v.Missing(at, "write name: http", "a socket needs a name: the service finds it by that (LISTEN_FDNAMES)")
	case len(l.Name) > maxSocketName:
		v.Bad(at, "", "the name has %d bytes, and %d are allowed", len(l.Name), maxSocketName)
	case strings.Trim(l.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "":
		v.Bad(at, "use letters, digits, _ . -", "%s is not the name of a socket", layeredyaml.Quote("", l.Name))
	case slices.ContainsFunc(before, func(c listen.Config) bool { return c.Name == l.Name }):
		v.Bad(at, "give it another name", "there is another socket %s", layeredyaml.Quote("", l.Name))
	}
}

// listenerKind checks what belongs to one kind of socket, and of service, and to no other.
func (v *validator) listenerKind(l listener, kind string, i int) {
	tcp, path := layeredyaml.Join(l.path, "tcp"), layeredyaml.Join(l.path, "unix")
	switch {
	case v.Refused(tcp, path):
		return
	case l.TCP != "" && l.Unix != "":
		v.Bad(path, "remove one of the two", "tcp and unix are both set")
	case l.TCP == "" && l.Unix == "":
		v.Missing(l.path, `set tcp: ":8080" or unix: /run/app.sock`, "a socket needs an address")
	case kind == KindTomcat && i > 0:
		v.Bad(l.path, "remove it: one connector takes over a socket", "a service of kind tomcat has one socket at most")
	}
	for key, text := range map[string]string{"mode": l.Mode, "owner": l.Owner} {
		if text != "" && l.Unix == "" {
			v.Bad(layeredyaml.Join(l.path, key), "remove it", "only a unix socket has a file with %s", key)
		}
	}
}

// listenerAddress refuses two sockets that the kernel does not bind together.
func (v *validator) listenerAddress(l listener, earlier []listener) {
	at := l.addressPath()
	for _, other := range earlier {
		if l.collides(other) && !v.AlreadyReported(at) {
			v.Bad(at, "choose another one", "%s of service %s listens there too%s", layeredyaml.Quote("", other.Name), other.service,
				v.Where(other.addressPath()))
		}
	}
	if api := v.cfg.API.Listen; l.collides(listener{Config: listen.Config{TCP: api}}) {
		v.Bad(at, "choose another one", "stoker's API listens there%s", v.Where("api.listen"))
	}
}

// addressPath is the path of its address.
func (l listener) addressPath() string {
	if l.Unix != "" {
		return layeredyaml.Join(l.path, "unix")
	}
	return layeredyaml.Join(l.path, "tcp")
}

// collides reports whether two sockets have an address in common.
func (l listener) collides(other listener) bool {
	if l.Unix != "" || other.Unix != "" {
		return l.Unix == other.Unix
	}
	host, port, ok := splitListen(l.TCP)
	otherHost, otherPort, otherOK := splitListen(other.TCP)
	if !ok || !otherOK || port != otherPort {
		return false
	}
	both := !host.IsValid() || !otherHost.IsValid() // of both families
	return both || host.Is4() == otherHost.Is4() && (host == otherHost || host.IsUnspecified() || otherHost.IsUnspecified())
}

// splitListen splits "HOST:PORT". Without a host, which means every address, host is not valid.
func splitListen(text string) (host netip.Addr, port uint64, ok bool) {
	h, p, err := net.SplitHostPort(text)
	if err != nil {
		return host, 0, false
	}
	port, err = strconv.ParseUint(p, 10, 16)
	if err == nil && h != "" {
		host, err = netip.ParseAddr(h)
	}
	return host, port, err == nil && port > 0
}

// listenAddress checks the address of a TCP socket. Names are refused: what they mean may change over a restart.
func (v *validator) listenAddress(path, text string) {
	if _, _, ok := splitListen(text); !ok {
		v.Bad(path, orNotExpanded(path, text, `write ":8080" for every address, or 127.0.0.1:8080`), "%s is not an IP address and a port",
			layeredyaml.Quote(path, text))
	}
}

// probeOfSocket warns of a probe that stoker's own socket answers.
func (v *validator) probeOfSocket(path string, p probe.Config, sockets []listen.Config) {
	_, asked, err := net.SplitHostPort(p.TCP)
	if err != nil || v.AlreadyReported(path) {
		return
	}
	for _, s := range sockets {
		if _, port, ok := splitListen(s.TCP); ok && strconv.FormatUint(port, 10) == asked {
			v.Warn(path, "probe by http, file or exec", "it says nothing: stoker keeps that port open while the service does not run")
		}
	}
}
