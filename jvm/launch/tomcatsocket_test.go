package launch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// inheriting returns the service web of kind tomcat with sockets, and the plan of a start.
func inheriting(t *testing.T, user *asuser.User, connector string, sockets ...listen.Config) (*tomcatKind, *plan) {
	t.Helper()
	dir := t.TempDir()
	for d := dir; user != nil && len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	base := filepath.Join(dir, "base")
	if err := os.MkdirAll(base+"/conf", 0o755); err != nil {
		t.Fatal(err)
	}
	xml := `<Server><Service name="Catalina">` + connector + `<Engine name="Catalina" defaultHost="localhost"/></Service></Server>`
	if err := os.WriteFile(base+"/conf/server.xml", []byte(xml), 0o644); err != nil {
		t.Fatal(err)
	}
	l := &tomcatKind{Launcher: &Launcher{shared: &Shared{Runtime: filepath.Join(dir, "run/tomcat")},
		Launcher: &service.Launcher{Name: "web", User: user, Config: config.Service{Config: supervisor.Config{Listen: sockets}}}}}
	install := tomcat.Install{Home: base, Base: base, Version: tomcat.Version{Major: 10, Minor: 1}}
	p := &plan{java: hotspot.JVM{Major: 17}, tomcat: &tomcatStart{install: install}}
	for _, c := range sockets {
		p.sockets = append(p.sockets, listen.Socket{Config: c})
	}
	l.readServer(p.tomcat, nil, nil)
	return l, p
}

func TestInheritedSocket(t *testing.T) {
	for name, c := range map[string]struct {
		connector string
		socket    listen.Config
		proof     readyProof
		copied    string
		warning   string
	}{
		"every address": {`<Connector port="8080"/>`, listen.Config{TCP: ":8080"}, readyProof{URL: "http://127.0.0.1:8080/", Port: 8080},
			`<Connector useInheritedChannel="true" bindOnInit="false" port="8080"/>`, ""},
		"the socket's address": {`<Connector port="8443" SSLEnabled="true"/>`, listen.Config{TCP: "[::1]:8443"},
			readyProof{URL: "https://[::1]:8443/", Port: 8443}, `<Connector useInheritedChannel="true" bindOnInit="false" port="8443" SSLEnabled="true"/>`, ""},
		"another address": {`<Connector port="8080" address="127.0.0.1"/>`, listen.Config{TCP: ":8080"}, readyProof{URL: "http://127.0.0.1:8080/", Port: 8080},
			`<Connector useInheritedChannel="true" bindOnInit="false" port="8080" address="127.0.0.1"/>`,
			`server.xml:1: address="127.0.0.1" does not apply: the connector takes the socket of listen, which is bound to :8080`},
		"unix": {`<Connector unixDomainSocketPath="/run/app.sock"/>`, listen.Config{Unix: "/run/app.sock"},
			readyProof{URL: "http://localhost/", Socket: "/run/app.sock"}, `<Connector useInheritedChannel="true" bindOnInit="false" unixDomainSocketPath="RUNTIME/web/socket"/>`, ""},
	} {
		l, p := inheriting(t, nil, c.connector, c.socket)
		if err := l.inherit(p); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := newProof(p.tomcat.server, nil, c.proof.Since); got != c.proof {
			t.Errorf("%s: readiness is %+v, want %+v", name, got, c.proof)
		}
		data, err := os.ReadFile(l.serverCopy())
		if want := strings.Replace(c.copied, "RUNTIME", l.shared.Runtime, 1); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, %s, want %s", name, err, data, want)
		}
		if got := strings.Join(p.warnings, "\n"); !strings.HasSuffix(got, c.warning) || c.warning == "" && got != "" {
			t.Errorf("%s: warnings %q, want %q", name, got, c.warning)
		}
		if target, _ := os.Readlink(filepath.Join(filepath.Dir(l.serverCopy()), "socket")); target != c.socket.Unix {
			t.Errorf("%s: the link is to %q", name, target)
		}
		if err := l.inherit(p); err != nil {
			t.Errorf("%s, again: %v", name, err)
		}
		l.shared.RemoveCopy("web")
		if _, err := os.Lstat(filepath.Dir(l.serverCopy())); !os.IsNotExist(err) {
			t.Errorf("%s: the folder of the copy is left: %v", name, err)
		}
	}
}

func TestInheritedSocketRefused(t *testing.T) {
	tcp := listen.Config{TCP: ":8080"}
	for name, c := range map[string]struct {
		connector string
		sockets   []listen.Config
		want      string
	}{
		"two entries": {`<Connector port="8080"/>`, []listen.Config{tcp, {TCP: ":8081"}}, "cannot pass 2 sockets to a Tomcat: a JVM can inherit one\n"},
		"no XML":      {"<", []listen.Config{tcp}, "cannot parse "},
		"APR":         {`<Connector port="8080" protocol="org.apache.coyote.http11.Http11AprProtocol"/>`, []listen.Config{tcp}, "server.xml:1: the APR connector"},
	} {
		l, p := inheriting(t, nil, c.connector, c.sockets...)
		if err := l.inherit(p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	l, p := inheriting(t, nil, `<Connector port="8080"/>`, tcp)
	l.shared.Runtime = ""
	const want = "cannot write the copy of server.xml: no folder is writable\nhint: "
	if err := l.inherit(p); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
}

// Stokers that share the folder leave each other's copies alone.
func TestCopiesOfTwoStokers(t *testing.T) {
	l, p := inheriting(t, nil, `<Connector port="8080"/>`, listen.Config{TCP: ":8080"})
	var copies []string
	for _, owner := range []string{"4026531836-1-", "4026531836-12-"} {
		l.shared.Owner = owner
		if err := l.inherit(p); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, l.serverCopy())
	}
	l.shared.RemoveCopy("web")
	if _, err := os.Stat(copies[0]); err != nil || copies[0] == copies[1] {
		t.Errorf("%q: %v", copies, err)
	}
	if _, err := os.Stat(copies[1]); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", copies[1], err)
	}
}

// The copy is the service's user's alone, and what that user puts in its place is not followed.
func TestCopyIsTheUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can act as another user")
	}
	l, p := inheriting(t, &asuser.User{Name: "4711", UID: 4711, GID: 4711}, `<Connector port="8080"/>`, listen.Config{TCP: ":8080"})
	if err := l.inherit(p); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{l.serverCopy(): 0o600, filepath.Dir(l.serverCopy()): 0o700 | fs.ModeDir} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != mode || info.Sys().(*syscall.Stat_t).Uid != 4711 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(l.serverCopy()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, l.serverCopy()); err != nil {
		t.Fatal(err)
	}
	_ = l.inherit(p)
	if data, err := os.ReadFile(secret); err != nil || string(data) != "root's" {
		t.Errorf("%q, %v", data, err)
	}
}

// Without a listening socket of stoker nothing changes.
func TestNoSocketNoCopy(t *testing.T) {
	l, p := inheriting(t, nil, `<Connector port="8080" protocol="org.apache.coyote.http11.Http11AprProtocol"/>`)
	if err := l.inherit(p); err != nil || l.serverCopy() != "" {
		t.Errorf("%v, copy %q", err, l.serverCopy())
	}
	if _, err := os.Stat(l.shared.Runtime); !os.IsNotExist(err) {
		t.Error("a folder for copies was made")
	}
}

func TestAcceptsEarly(t *testing.T) {
	sockets := []listen.Config{{Unix: "/run/s"}, {TCP: ":8080"}}
	for tcp, want := range map[string]bool{"": false, "127.0.0.1:8080": true, "127.0.0.1:8081": false, "localhost:8080": true} {
		if acceptsEarly(sockets, tcp) != want {
			t.Errorf("%q: %v, want %v", tcp, !want, want)
		}
	}
}
