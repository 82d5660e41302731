//go:build container

package tests

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/httpload"
)

// A real Tomcat takes each kind of socket, keeps it over a restart, and loses it when the service is stopped.
func TestTomcatTakesSocket(t *testing.T) {
	t.Parallel()
	needsNamespaces(t)
	for name, c := range map[string]struct {
		listen    string                                                         // the address of listen; PORT and DIR are replaced
		connector string                                                         // attributes in place of port="8080"
		options   string                                                         // of the JVM
		prepare   []string                                                       // a command
		dials     func(dir string, port int) map[string]func() (net.Conn, error) // by name
	}{
		// With this option Java itself would bind IPv4 alone.
		"both families": {"tcp: ':PORT'", `port="PORT"`, "-Djava.net.preferIPv4Stack=true", nil,
			func(_ string, port int) map[string]func() (net.Conn, error) {
				return map[string]func() (net.Conn, error){"IPv4": tcpDialer("127.0.0.1", port), "IPv6": tcpDialer("::1", port)}
			}},
		"one address": {"tcp: '127.0.0.1:PORT'", `port="PORT" address="127.0.0.1"`, "-Djava.net.preferIPv6Addresses=true", nil,
			func(_ string, port int) map[string]func() (net.Conn, error) {
				return map[string]func() (net.Conn, error){"IPv4": tcpDialer("127.0.0.1", port)}
			}},
		"TLS": {"tcp: ':PORT'", `port="PORT" SSLEnabled="true" scheme="https" secure="true"`, "-Da=b",
			[]string{"keytool", "-genkeypair", "-keystore", "DIR/keys", "-storepass", "changeit", "-keyalg", "RSA", "-dname", "CN=localhost", "-alias", "a"},
			func(_ string, port int) map[string]func() (net.Conn, error) {
				return map[string]func() (net.Conn, error){"TLS": func() (net.Conn, error) {
					return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its key was made above
				}}
			}},
		"unix": {"unix: DIR/app.sock", `unixDomainSocketPath="DIR/app.sock"`, "-Da=b", nil,
			func(dir string, _ int) map[string]func() (net.Conn, error) {
				return map[string]func() (net.Conn, error){"unix": func() (net.Conn, error) { return net.Dial("unix", dir+"/app.sock") }}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "tomcat") // short: the path of a unix socket has at most 107 bytes
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			tc := newTomcatBase(t, dir)
			quiet(t, tc.base)
			fill := strings.NewReplacer("PORT", fmt.Sprint(tc.port), "DIR", dir).Replace
			if c.prepare != nil {
				if out, err := exec.Command(c.prepare[0], strings.Fields(fill(strings.Join(c.prepare[1:], " ")))...).CombinedOutput(); err != nil {
					t.Fatalf("%q: %v: %s", c.prepare, err, out)
				}
			}
			setConnector(t, tc, fill(c.connector), name == "TLS", dir)
			b := newBox(t, boxOptions{dir: dir, ownRun: true, config: fmt.Sprintf(`
services:
  tomcat:
    kind: tomcat
    tomcat: {home: %s, base: %s}
    listen: [{name: http, %s}]
    ready: {within: 120s}
jvm: {flavor: {cpus: 2, memory: 512MiB}, user: {options: ["%s"]}}
`, tc.home, tc.base, fill(c.listen), c.options)})
			b.awaitState("tomcat", "RUNNING", 2*time.Minute)
			dials := c.dials(dir, tc.port)
			clients := map[string]*httpload.Load{}
			for family, dial := range dials {
				clients[family] = newKeepAlive(t, 1, dial)
				awaitAnswers(t, clients[family], 3)
			}
			if out, err := b.run("restart", "--wait", "tomcat"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for family, client := range clients {
				awaitAnswers(t, client, 3)
				if n := client.Stop(); n.Refused+n.Lost+n.Late > 0 {
					t.Errorf("%s: %v", family, n)
				}
			}
			if out, err := b.run("stop", "tomcat"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			b.awaitState("tomcat", "STOPPED", 20*time.Second)
			for family, dial := range dials {
				if !refuses(dial) {
					t.Errorf("%s: the socket of a stopped service is open", family)
				}
			}
		})
	}
}

func tcpDialer(host string, port int) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(port))) }
}

// setConnector replaces the connector of a server.xml. One of TLS uses the keys in dir.
func setConnector(t *testing.T, tc tomcatBase, attributes string, secure bool, dir string) {
	t.Helper()
	path := tc.base + "/conf/server.xml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inner := ""
	if secure {
		inner = fmt.Sprintf(`<SSLHostConfig><Certificate certificateKeystoreFile="%s/keys" certificateKeystorePassword="changeit"/></SSLHostConfig>`, dir)
	}
	before, rest, found := strings.Cut(string(data), fmt.Sprintf(`<Connector port="%d"`, tc.port))
	_, after, closed := strings.Cut(rest, "/>")
	if !found || !closed {
		t.Fatalf("no connector in %s:\n%s", path, data)
	}
	write(t, path, before+"<Connector "+attributes+">"+inner+"</Connector>"+after, 0o644)
}
