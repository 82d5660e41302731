package launch

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

func TestJavaCommand(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  config.Java
		want string
	}{
		{"jar", config.Java{Jar: "/app/app.jar"}, "java -Xmx1m | -jar /app/app.jar"},
		{"jar with arguments", config.Java{Jar: "app.jar", Args: []string{"--port", "80"}}, "java -Xmx1m | -jar app.jar --port 80"},
		{"main class", config.Java{Main: "com.example.Main", Args: []string{"-x"}}, "java -Xmx1m | com.example.Main -x"},
		{"class path", config.Java{Main: "Main", Classpath: []string{"/app/classes", "/app/lib/*"}},
			"java -Xmx1m -cp /app/classes:/app/lib/* | Main"},
	} {
		argv, main := javaCommand("java", []string{"-Xmx1m"}, tc.cfg)
		if got := strings.Join(argv[:main], " ") + " | " + strings.Join(argv[main:], " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// The proof is the URL to probe and the port that Tomcat itself must listen on, or why none is known.
func TestTomcatProof(t *testing.T) {
	connector := func(xml string) string {
		return `<Server><Service name="Catalina">` + xml + `<Engine name="Catalina" defaultHost="localhost"/></Service></Server>`
	}
	for _, tc := range []struct {
		name, ready, socket, xml string
		want                     readyProof
		unknown                  string // what Unknown holds
	}{
		{"configured", "http://127.0.0.1:9000/health", "", connector(`<Connector port="8080"/>`),
			readyProof{URL: "http://127.0.0.1:9000/health", Port: 9000}, ""},
		{"configured without a port", "http://localhost/health", "", "", readyProof{URL: "http://localhost/health", Port: 80}, ""},
		{"configured https", "https://[::1]/health", "", "", readyProof{URL: "https://[::1]/health", Port: 443}, ""},
		{"configured elsewhere", "http://10.1.2.3:8080/", "", "", readyProof{URL: "http://10.1.2.3:8080/"}, ""},
		{"configured by name", "http://app.example:8080/", "", "", readyProof{URL: "http://app.example:8080/"}, ""},
		{"configured socket", "http://localhost:8080/", "/run/t.sock", connector(`<Connector port="8080"/>`),
			readyProof{URL: "http://localhost:8080/", Socket: "/run/t.sock"}, ""},
		{"first connector", "", "", connector(`<Connector port="8081" protocol="HTTP/1.1"/><Connector port="8082"/>`),
			readyProof{URL: "http://127.0.0.1:8081/", Port: 8081}, ""},
		{"AJP is not HTTP", "", "", connector(`<Connector port="8009" protocol="AJP/1.3"/><Connector port="8083"/>`),
			readyProof{URL: "http://127.0.0.1:8083/", Port: 8083}, ""},
		{"AJP alone", "", "", connector(`<Connector port="8009" protocol="AJP/1.3"/>`), readyProof{AJP: "127.0.0.1:8009", Port: 8009}, ""},
		{"AJP at an address that is not known", "", "", connector(`<Connector port="8009" address="${where}" protocol="AJP/1.3"/>`),
			readyProof{Port: 8009}, ""},
		{"AJP, and HTTP that is not known", "", "", connector(`<Connector port="${PORT}"/><Connector port="8009" protocol="AJP/1.3"/>`),
			readyProof{AJP: "127.0.0.1:8009", Port: 8009}, ""},
		{"TLS", "", "", connector(`<Connector port="8443" SSLEnabled="true" scheme="https" secure="true"/>`),
			readyProof{URL: "https://127.0.0.1:8443/", Port: 8443}, ""},
		{"own address", "", "", connector(`<Connector port="8080" address="127.0.0.9"/>`), readyProof{URL: "http://127.0.0.9:8080/", Port: 8080},
			""},
		{"every address", "", "", connector(`<Connector port="8080" address="0.0.0.0"/>`), readyProof{URL: "http://127.0.0.1:8080/", Port: 8080},
			""},
		{"an address of IPv6", "", "", connector(`<Connector port="8080" address="::1"/>`), readyProof{URL: "http://[::1]:8080/", Port: 8080},
			""},
		{"an address by name", "", "", connector(`<Connector port="8080" address="app.example"/>`),
			readyProof{URL: "http://app.example:8080/", Port: 8080}, ""},
		{"an address that is not known", "", "", connector(`<Connector port="8080" address="${where}"/>`), readyProof{Port: 8080}, ""},
		{"a unix socket", "", "", connector(`<Connector port="8080" unixDomainSocketPath="/run/t.sock"/>`),
			readyProof{URL: "http://localhost/", Socket: "/run/t.sock"}, ""},
		{"a unix socket that is not known", "", "", connector(`<Connector unixDomainSocketPath="${sock}"/>`), readyProof{},
			`unixDomainSocketPath="${sock}"`},
		{"any port", "", "", connector(`<Connector port="0"/>`), readyProof{}, `server.xml:1: the connector has port="0"`},
		{"no number", "", "", connector(`<Connector port="80a80"/>`), readyProof{}, `"80a80"`},
		{"a reference", "", "", connector(`<Connector port="${PORT}"/>`), readyProof{}, `"${PORT}"`},
		{"one of two is known", "", "", connector(`<Connector port="${PORT}"/><Connector port="8081"/>`),
			readyProof{URL: "http://127.0.0.1:8081/", Port: 8081}, ""},
		{"no port", "", "", connector(`<Connector/>`), readyProof{}, `port=""`},
		{"off", "", "", connector(`<Connector port="-1"/>`), readyProof{}, ""},
		{"no connector", "", "", connector(""), readyProof{}, ""},
		{"perhaps no connector", "", "", `<!DOCTYPE Server [<!ENTITY c SYSTEM "http://x/c">]>` + connector("&c;"), readyProof{}, "&c;"},
		{"broken file", "", "", "<Server", readyProof{}, "cannot parse server.xml:1:"},
		{"broken file, configured", "http://localhost/health", "", "<Server", readyProof{URL: "http://localhost/health", Port: 80}, ""},
	} {
		server, err := tomcat.ParseServerXML("server.xml", []byte(tc.xml), tomcat.References{}, nil)
		ready := probe.Config{HTTP: probe.HTTP{URL: tc.ready, Socket: tc.socket}}
		l := &tomcatKind{Launcher: &Launcher{Launcher: &service.Launcher{
			Config: config.Service{Config: supervisor.Config{Ready: supervisor.Ready{Config: ready}}}}}}
		found := newProof(server, err, time.Unix(1, 0).UTC())
		var again readyProof
		if data, err := json.Marshal(found); err != nil || json.Unmarshal(data, &again) != nil || again != found {
			t.Errorf("%s: %+v becomes %+v in the state, %v", tc.name, found, again, err)
		}
		got := l.configuredProof(found)
		if unknown := got.Unknown; (tc.unknown == "") != (unknown == "") || !strings.Contains(unknown, tc.unknown) {
			t.Errorf("%s: unknown is %q, want %q", tc.name, unknown, tc.unknown)
		}
		got.Unknown, tc.want.Since = "", got.Since
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestProvingStatuses(t *testing.T) {
	got := provingStatuses()
	for code, want := range map[int]bool{199: false, 200: true, 302: true, 404: true, 499: true, 500: false, 503: false} {
		if slices.Contains(got, code) != want {
			t.Errorf("%d is accepted: %v, want %v", code, !want, want)
		}
	}
}

// A start fails if a needed application fails: a wanted one, that of ready.http, or the last one that may work.
func TestNeededApplications(t *testing.T) {
	for _, tc := range []struct {
		wanted, asked, apps, failed string // lists by blanks
		want                        string // those whose failure fails the start
	}{
		{"", "", "/app", "/app", "/app"},
		{"", "", "/ /app", "/app", ""},
		{"", "", "/ /app", "/app /", "/"},
		{"", "", "/a /b /c", "/c /a /b", "/b"},
		{"", "", "", "/app", "/app"}, // no other is known to work
		{"", "", "/other", "/app##2", ""},
		{"", "", "/app", "/app##1 /app##2", "/app##1 /app##2"},
		{"/app", "", "/ /app", "/app", "/app"},
		{"app", "", "/ /app", "/app", "/app"},
		{"/app", "", "/ /app", "/app##3", "/app##3"},
		{"/app", "", "/app /other", "/other", ""},
		{"/app", "", "", "/other", ""},
		{"/", "", "/ /app", "/ /app", "/"},
		{"/a/b", "", "/a /a/b", "/a", ""},
		{"", "/app/health", "/ /app", "/app", "/app"},
		{"", "/app/health", "/ /app", "/", ""},
		{"", "/health", "/ /app", "/app", ""},
		{"", "/health", "/ /app", "/", "/"},
		{"", "/application", "/ /app", "/app", ""},
		{"", "/a/b/c", "/a /a/b /x", "/a", ""},
		{"/other", "/app/health", "/app /other", "/app", "/app"},
	} {
		w := newTomcatWatch(watchSettings{patterns: tomcat.BuiltinPatterns(), wanted: strings.Fields(tc.wanted), probed: tc.asked,
			apps: strings.Fields(tc.apps)})
		listen := w.watchRunning(func() func([]byte) *supervisor.HealthIssue {
			return func([]byte) *supervisor.HealthIssue { return nil }
		})()
		var got []string
		for _, context := range strings.Fields(tc.failed) {
			line := []byte("Context [" + strings.TrimSuffix(context, "/") + "] startup failed due to previous errors")
			failed := w.line(line) != ""
			if failed {
				got = append(got, context)
			}
			if c := listen(line); c == nil || c.Unhealthy != failed || c.Degraded == failed || c.Cause != incident.CauseDegraded ||
				!strings.Contains(c.Text, context) {
				t.Errorf("%+v: health issue of %s: %+v", tc, context, c)
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%+v: the start fails at %q", tc, got)
		}
		listen([]byte("Server startup in [1] milliseconds"))
		if c := listen([]byte("Context [/late] startup failed due to previous errors")); c != nil {
			t.Errorf("health issue of an application that was deployed later: %+v", c)
		}
	}
	if !(&tomcatWatch{watchSettings: watchSettings{wanted: []string{"/app"}}}).needs("") {
		t.Error("an application without a name may be a wanted one")
	}
}

// The weaker sources come first: the image, the variables of the kind, and _JAVA_OPTIONS, which overrides everything in a JVM.
func TestLayersInOrder(t *testing.T) {
	l := &sources{cfg: jvm.Config{User: jvm.LayerConfig{Options: []jvm.Inline{{Option: "-Da=config"}}, Env: []string{"APP_OPTS"},
		Files: []jvm.File{{File: "/nowhere/jvm.options"}}}},
		shared: &Shared{Labels: noLabels},
		env: service.Environment{Vars: map[string]string{"APP_OPTS": "-Db=1 '-Dc=two words'", "JAVA_TOOL_OPTIONS": "-Dd=tool",
			"JDK_JAVA_OPTIONS": "-De=jdk", "_JAVA_OPTIONS": "-Df=under", "JAVA_OPTS": "-Dg=opts"}},
		kind: kindVariables{names: []string{"JAVA_OPTS"}}}
	l.serviceEnv = l.env
	in, err := l.input(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range in.User {
		got = append(got, o.String())
	}
	if want := "-Da=config|-Db=1|-Dc=two words|-Dd=tool|-De=jdk|-Dg=opts|-Df=under"; strings.Join(got, "|") != want {
		t.Errorf("%s, want %s", strings.Join(got, "|"), want)
	}
	if len(l.notes) != 1 || !strings.Contains(l.notes[0], "/nowhere/jvm.options") {
		t.Errorf("the notes are %q: a missing file of the user layer is one", l.notes)
	}
	if env := jvmEnviron(l.env.Vars, []jvm.EnvVar{{Name: "MALLOC_ARENA_MAX", Value: "2"}}); len(env) != 3 || env["APP_OPTS"] == "" ||
		env["MALLOC_ARENA_MAX"] != "2" {
		t.Errorf("the JVM gets %v: it must not read again what is on its command line", env)
	}
	l.env.Vars["JDK_JAVA_OPTIONS"] = "'open"
	if _, err := l.input(t.Context()); err == nil || !strings.Contains(err.Error(), "JDK_JAVA_OPTIONS") {
		t.Errorf("an open quote gives %v", err)
	}
	l = &sources{cfg: jvm.Config{Enforced: jvm.LayerConfig{Files: []jvm.File{{File: "/nowhere/enforced"}}}}, shared: &Shared{Labels: noLabels}}
	if _, err := l.input(t.Context()); err == nil || !strings.Contains(err.Error(), "jvm.enforced.files") {
		t.Errorf("a missing file of the enforced layer gives %v", err)
	}
}

func noLabels() map[string]string { return nil }
