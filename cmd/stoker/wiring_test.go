package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/tomcat"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// gate is a reader of our log that reads nothing until it is opened.
type gate struct {
	bytes.Buffer
	entered chan struct{}
	open    chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return g.Buffer.Write(p)
}

func TestLogQueueDoesNotBlock(t *testing.T) {
	g := &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
	q := newLogQueue(g)
	fmt.Fprintln(q, "first")
	<-g.entered // it is being written: the queue itself is empty
	size := cap(q.entries)
	for k := range size + 10 {
		fmt.Fprintf(q, "line %d\n", k)
	}
	from := time.Now()
	q.flush(10 * time.Millisecond)
	if took := time.Since(from); took > 5*time.Second {
		t.Errorf("a flush of 10 ms took %v", took)
	}
	close(g.open)
	q.flush(10 * time.Second)
	text := g.String()
	if !strings.HasPrefix(text, "first\nline 10\n") {
		t.Errorf("the oldest lines are still there: %.60q", text)
	}
	if want := fmt.Sprintf("(lines of stoker's own log were dropped before this one: stderr is not read) line %d\n", size+9); !strings.HasSuffix(text, want) {
		t.Errorf("it ends with %q, want %q", text[max(0, len(text)-len(want)):], want)
	}
	if n := strings.Count(text, "\n"); n != size+1 {
		t.Errorf("%d lines are left, want %d", n, size+1)
	}
}

func TestLogQueueKeepsOrder(t *testing.T) {
	var b bytes.Buffer
	q := newLogQueue(&b)
	log := hclog.New(&hclog.LoggerOptions{Name: "stoker", Output: q, DisableTime: true})
	for k := range 100 {
		log.Info("line", "number", k)
	}
	q.flush(10 * time.Second)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 100 || lines[99] != "[INFO]  stoker: line: number=99" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestJavaCommand(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  config.Java
		want string
	}{
		{"jar", config.Java{Jar: "/app/app.jar"}, "java -Xmx1m -jar /app/app.jar"},
		{"jar with arguments", config.Java{Jar: "app.jar", Args: []string{"--port", "80"}}, "java -Xmx1m -jar app.jar --port 80"},
		{"main class", config.Java{Main: "com.example.Main", Args: []string{"-x"}}, "java -Xmx1m com.example.Main -x"},
		{"class path", config.Java{Main: "Main", Classpath: []string{"/app/classes", "/app/lib/*"}}, "java -Xmx1m -cp /app/classes:/app/lib/* Main"},
	} {
		if got := strings.Join(javaCommand("java", []string{"-Xmx1m"}, tc.cfg), " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestTomcatTarget(t *testing.T) {
	connector := func(xml string) string {
		return `<Server><Service name="Catalina">` + xml + `<Engine name="Catalina" defaultHost="localhost"/></Service></Server>`
	}
	for _, tc := range []struct {
		name, ready, xml string
		url              string
		port             int
	}{
		{"configured", "http://127.0.0.1:9000/health", connector(`<Connector port="8080"/>`), "http://127.0.0.1:9000/health", 9000},
		{"configured without a port", "http://localhost/health", "", "http://localhost/health", 80},
		{"configured https", "https://[::1]/health", "", "https://[::1]/health", 443},
		{"configured elsewhere", "http://10.1.2.3:8080/", "", "http://10.1.2.3:8080/", 0},
		{"configured by name", "http://app.example:8080/", "", "http://app.example:8080/", 0},
		{"first connector", "", connector(`<Connector port="8081" protocol="HTTP/1.1"/><Connector port="8082"/>`), "http://127.0.0.1:8081/", 8081},
		{"AJP is not HTTP", "", connector(`<Connector port="8009" protocol="AJP/1.3"/><Connector port="8083"/>`), "http://127.0.0.1:8083/", 8083},
		{"TLS", "", connector(`<Connector port="8443" SSLEnabled="true" scheme="https" secure="true"/>`), "https://127.0.0.1:8443/", 8443},
		{"own address", "", connector(`<Connector port="8080" address="127.0.0.9"/>`), "http://127.0.0.9:8080/", 8080},
		{"every address", "", connector(`<Connector port="8080" address="0.0.0.0"/>`), "http://127.0.0.1:8080/", 8080},
		{"an address of IPv6", "", connector(`<Connector port="8080" address="::1"/>`), "http://[::1]:8080/", 8080},
		{"any port", "", connector(`<Connector port="0"/>`), "", 0},
		{"no connector", "", connector(""), "", 0},
		{"broken file", "", "<Server", "", 0},
	} {
		server, err := tomcat.ParseServerXML("server.xml", []byte(tc.xml), nil)
		if err != nil {
			server = tomcat.ServerXML{}
		}
		l := &tomcatLauncher{processLauncher: &processLauncher{service: config.Service{Config: supervisor.Config{Ready: supervisor.Ready{Look: supervisor.Look{HTTP: tc.ready}}}}}}
		url, port := l.target(&tomcatSetup{server: server})
		if url != tc.url || port != tc.port {
			t.Errorf("%s: %q %d, want %q %d", tc.name, url, port, tc.url, tc.port)
		}
	}
}

func TestAnswersOfAnUnknownPath(t *testing.T) {
	got := answers()
	for code, want := range map[int]bool{199: false, 200: true, 302: true, 404: true, 499: true, 500: false, 503: false} {
		if slices.Contains(got, code) != want {
			t.Errorf("%d counts: %v, want %v", code, !want, want)
		}
	}
}

func TestWatchWantsContexts(t *testing.T) {
	for _, tc := range []struct {
		wanted  []string
		context string
		want    bool
	}{
		{nil, "/app", true},
		{[]string{"/app"}, "/app", true},
		{[]string{"app"}, "/app", true},
		{[]string{"/app"}, "/other", false},
		{[]string{""}, "", true},
		{[]string{"/"}, "", true},
		{[]string{""}, "/app", false},
		{[]string{"/a/b"}, "/a", false},
	} {
		if got := (&tomcatWatch{wanted: tc.wanted}).wants(tc.context); got != tc.want {
			t.Errorf("%q of %q: %v, want %v", tc.context, tc.wanted, got, tc.want)
		}
	}
}

func TestCommandName(t *testing.T) {
	for argv, want := range map[string]string{"/bin/sh": "sh", "java": "java", "./Run.sh": "un.sh", "/opt/-x": "x", "/opt/你好": "command",
		"/": "command", "a_b.c-d": "a_b.c-d", strings.Repeat("a", 100): strings.Repeat("a", 64)} {
		if got := commandName([]string{argv}); got != want {
			t.Errorf("%q: %q, want %q", argv, got, want)
		}
	}
}

// The weaker sources come first: what the image says, what the variables of the
// kind say, and _JAVA_OPTIONS, which no JVM lets anything beat.
func TestLayersInOrder(t *testing.T) {
	l := &layers{cfg: jvm.Config{User: jvm.LayerConfig{Options: []jvm.Inline{{Option: "-Da=config"}}, Env: []string{"APP_OPTS"}, Files: []jvm.File{{File: "/nowhere/jvm.options"}}}},
		world: sourceWorld{labels: noLabels},
		env:   environment{vars: map[string]string{"APP_OPTS": "-Db=1 '-Dc=two words'", "JAVA_TOOL_OPTIONS": "-Dd=tool", "JDK_JAVA_OPTIONS": "-De=jdk", "_JAVA_OPTIONS": "-Df=under"}},
		words: []namedWords{{name: "JAVA_OPTS", words: []string{"-Dg=opts"}}}}
	l.outside = l.env
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
	if env := jvmEnviron(l.env.vars, []jvm.EnvVar{{Name: "MALLOC_ARENA_MAX", Value: "2"}}); len(env) != 2 || env["APP_OPTS"] == "" || env["MALLOC_ARENA_MAX"] != "2" {
		t.Errorf("the JVM gets %v: it must not read again what is on its command line", env)
	}
	l.env.vars["JDK_JAVA_OPTIONS"] = "'open"
	if _, err := l.input(t.Context()); err == nil || !strings.Contains(err.Error(), "JDK_JAVA_OPTIONS") {
		t.Errorf("an open quote gives %v", err)
	}
	l = &layers{cfg: jvm.Config{Enforced: jvm.LayerConfig{Files: []jvm.File{{File: "/nowhere/enforced"}}}}, world: sourceWorld{labels: noLabels}}
	if _, err := l.input(t.Context()); err == nil || !strings.Contains(err.Error(), "jvm.enforced.files") {
		t.Errorf("a missing file of the enforced layer gives %v", err)
	}
}

func noLabels() map[string]string { return nil }

func TestEnviron(t *testing.T) {
	list := []string{"A=1", "B=x=y", "A=2", "NOVALUE", "C="}
	if got := strings.Join(environList(environMap(list)), " "); got != "A=2 B=x=y C=" {
		t.Errorf("%q", got)
	}
}

func TestPrintVersion(t *testing.T) {
	var b strings.Builder
	if err := printVersion(&b, "table", nil); err != nil || b.String() != "stoker dev\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if err := printVersion(failing{}, "table", nil); err == nil {
		t.Error("an output that cannot be written is no error")
	}
}

// failing is a closed output.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadyPort(t *testing.T) {
	for _, c := range []struct {
		look supervisor.Look
		want int
	}{
		{supervisor.Look{}, 0},
		{supervisor.Look{HTTP: "http://127.0.0.1:8080/health"}, 8080},
		{supervisor.Look{HTTP: "https://localhost/"}, 443},
		{supervisor.Look{HTTP: "http://localhost/", Socket: "/run/app.sock"}, 0},
		{supervisor.Look{TCP: "127.0.0.1:5432"}, 5432},
		{supervisor.Look{TCP: "127.0.0.1"}, 0},
		{supervisor.Look{HTTP: "http://127.0.0.1:8080/", TCP: "127.0.0.1:5432"}, 8080},
	} {
		if got := readyPort(c.look); got != c.want {
			t.Errorf("%+v: %d, want %d", c.look, got, c.want)
		}
	}
}
