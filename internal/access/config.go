package access

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Config is the part of the api section of the configuration that is about TCP.
type Config struct {
	Listen       string              `yaml:"listen"`                  // ADDRESS:PORT; empty: there is no TCP
	TLS          TLS                 `yaml:"tls"`                     // required where others than this machine can connect
	Tokens       string              `yaml:"tokens" check:"absolute"` // the token file
	Certificates map[string][]string `yaml:"certificates"`            // common names of client certificates: their grants
	Origins      []string            `yaml:"origins"`                 // beside the page's own
	Hosts        []string            `yaml:"hosts"`                   // what clients call this listener; empty: by its address
}

// TLS names the files of TLS, which are read again when they change.
type TLS struct {
	Certificate string `yaml:"certificate" check:"absolute"` // PEM, with its intermediates
	Key         string `yaml:"key" check:"absolute"`
	Clients     string `yaml:"clients" check:"absolute"` // authorities of client certificates; empty: clients need none
}

// Files are the files to watch.
func (c Config) Files() []string {
	return slices.DeleteFunc([]string{c.Tokens, c.TLS.Certificate, c.TLS.Key, c.TLS.Clients}, func(path string) bool { return path == "" })
}

// Problem is what is wrong with a field of a Config.
type Problem struct{ Field, Why, Hint string }

// Validate returns all that is wrong with it. It reads no file.
func (c Config) Validate() (out []Problem) {
	bad := func(field, hint, format string, args ...any) {
		out = append(out, Problem{field, fmt.Sprintf(format, args...), hint})
	}
	if c.Listen == "" {
		for field, set := range map[string]bool{"tls": c.TLS != TLS{}, "tokens": c.Tokens != "", "certificates": len(c.Certificates) > 0,
			"origins": len(c.Origins) > 0, "hosts": len(c.Hosts) > 0} {
			if set {
				bad(field, `set api.listen, for example "127.0.0.1:9443"`, "has no effect without api.listen")
			}
		}
		slices.SortFunc(out, func(a, b Problem) int { return strings.Compare(a.Field, b.Field) })
		return out
	}
	host, port, err := net.SplitHostPort(c.Listen)
	number, numberErr := strconv.ParseUint(port, 10, 16)
	_, addressErr := netip.ParseAddr(host)
	switch {
	case err != nil || numberErr != nil || number == 0 || host != "" && host != "localhost" && addressErr != nil:
		bad("listen", `write "127.0.0.1:9443", or ":9443" for every address`, "is not the address and port of a listener")
	case !c.TLS.on() && !c.loopback():
		bad("listen", "set api.tls.certificate and api.tls.key, or listen on 127.0.0.1",
			"other machines can connect to it, and without TLS they would send their tokens in clear text")
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") || c.TLS.Clients != "" && !c.TLS.on() {
		bad("tls", "set both api.tls.certificate and api.tls.key", "is not complete")
	}
	if c.Tokens == "" && c.TLS.Clients == "" {
		bad("listen", "set api.tokens (stoker console token NAME makes one) or api.tls.clients", "no client could have a credential")
	}
	if len(c.Certificates) > 0 && c.TLS.Clients == "" {
		bad("certificates", "set api.tls.clients to the file of their authorities", "client certificates cannot be checked")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Certificates)) {
		if _, err := ParseGrants(c.Certificates[name]); err != nil {
			bad("certificates", "", "of %q: %v", name, err)
		}
	}
	for k, origin := range c.Origins {
		if _, ok := parseOrigin(origin); !ok {
			bad(fmt.Sprintf("origins[%d]", k), `write "https://ops.example", with the port if it is not the usual one, and no path`,
				"is not an exact origin")
		}
	}
	for k, name := range c.Hosts {
		if u, err := url.Parse("//" + name); err != nil || u.Host != name || u.Hostname() == "" || strings.ContainsAny(name, "*@/?# ") {
			bad(fmt.Sprintf("hosts[%d]", k), `write "ops.example:9443"`, "is not a host name with its port")
		}
	}
	return out
}

func (t TLS) on() bool { return t.Certificate != "" && t.Key != "" }

// Scheme is that of the URLs of the listener.
func (c Config) Scheme() string {
	if c.TLS.on() {
		return "https"
	}
	return "http"
}

// loopback reports whether only this machine, or this network namespace, can connect.
func (c Config) loopback() bool {
	host, _, _ := net.SplitHostPort(c.Listen)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// parseOrigin returns an origin as browsers write it.
func parseOrigin(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Contains(u.Host, "*") ||
		u.User != nil || !strings.EqualFold(text, u.Scheme+"://"+u.Host) {
		return "", false
	}
	return u.Scheme + "://" + trimPort(u.Host, u.Scheme), true
}

// trimPort returns a host in lower case, without the port that its scheme has anyway.
func trimPort(host, scheme string) string {
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	return strings.TrimSuffix(strings.ToLower(host), port)
}

// hostAllowed reports whether a Host header names this listener; local is the address that the client has connected to. Any other name may
// be one that a hostile page has pointed at this machine; localhost cannot.
func (c Config) hostAllowed(host string, local net.Addr) bool {
	name := trimPort(host, c.Scheme())
	if len(c.Hosts) > 0 {
		return slices.ContainsFunc(c.Hosts, func(h string) bool { return trimPort(h, c.Scheme()) == name })
	}
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return false
	}
	at := netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap(), tcp.AddrPort().Port())
	own := []string{at.String(), net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))}
	return slices.ContainsFunc(own, func(h string) bool { return trimPort(h, c.Scheme()) == name })
}

// originAllowed reports whether a page of an origin may send requests; host is that of the request, if its Host was checked, else empty.
func (c Config) originAllowed(origin, host string) bool {
	got, ok := parseOrigin(origin)
	if !ok {
		return false
	}
	if host != "" && got == c.Scheme()+"://"+trimPort(host, c.Scheme()) {
		return true
	}
	return slices.ContainsFunc(c.Origins, func(o string) bool { allowed, ok := parseOrigin(o); return ok && allowed == got })
}

// urls are the beginnings of the URLs by which clients reach the listener.
func (c Config) urls() []string {
	names := c.Hosts
	if host, port, _ := net.SplitHostPort(c.Listen); len(names) == 0 {
		addr, err := netip.ParseAddr(host)
		switch {
		case host == "" || err == nil && addr.IsUnspecified():
			names = localHosts(port)
		case c.loopback():
			names = []string{net.JoinHostPort("localhost", port)}
		default:
			names = []string{c.Listen}
		}
	}
	var out []string
	for _, name := range names {
		out = append(out, c.Scheme()+"://"+trimPort(name, c.Scheme()))
	}
	return out
}

// localHosts are the addresses of this machine that others may know.
func localHosts(port string) (out []string) {
	addrs, _ := net.InterfaceAddrs() // none: only the loopback
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, net.JoinHostPort(n.IP.String(), port))
		}
	}
	return append(out, net.JoinHostPort("localhost", port))
}
