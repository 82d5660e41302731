//go:build container

package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// plugged is a container of the demo image, a real Tomcat, with a copy of one of the repository's
// plugins, disabled.
type plugged struct {
	*container
	plugin string
	shared string // mounted as /shared
}

// newPlugged starts such a container. files are added to the plugin by name; args go to docker run.
func newPlugged(t *testing.T, plugin string, files map[string]string, args ...string) *plugged {
	t.Helper()
	needsImage(t, "stoker-demo")
	plugins, shared := t.TempDir(), t.TempDir()
	for _, cmd := range [][]string{{"cp", "-r", "../plugins/" + plugin, plugins}, {"chmod", "-R", "u=rwX,go=rX", plugins},
		{"chmod", "1777", shared}} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", cmd, err, out)
		}
	}
	for name, path := range files {
		if out, err := exec.Command("install", "-D", "-m", "644", path, filepath.Join(plugins, plugin, name)).CombinedOutput(); err != nil {
			t.Fatalf("cannot install %s: %v: %s", name, err, out)
		}
	}
	config := withConfig(t, `
labels: {appid: "100001", version: "1.2.3"}
services:
  tomcat:
    kind: tomcat
    tomcat: {base: /srv/app}
    user: app
    ready: {http: "http://127.0.0.1:8080/app/health", within: 120s}
    restart: {policy: always, backoff: {first: 200ms}}
jvm: {flavor: {memory: 512MiB}}
`)
	c := newContainer(t, append(append([]string{"-m", "1g", "-v", plugins + ":/etc/stoker/plugins:ro", "-v", shared + ":/shared",
		config}, args...), "stoker-demo")...)
	c.awaitState("tomcat", "RUNNING", 2*time.Minute)
	return &plugged{c, plugin, shared}
}

// enable enables the plugin with parameters and waits for Tomcat.
func (p *plugged) enable(params ...string) {
	p.t.Helper()
	args := []string{"stoker", "plugin", "enable"}
	for _, s := range params {
		args = append(args, "--set", s)
	}
	p.must(append(args, p.plugin)...)
	p.ready()
}

func (p *plugged) disable() {
	p.t.Helper()
	p.must("stoker", "plugin", "disable", p.plugin)
	p.ready()
}

// ready waits until the application answers.
func (p *plugged) ready() {
	p.t.Helper()
	p.awaitState("tomcat", "RUNNING", 2*time.Minute)
}

// pluginState returns the state of the plugin and why it is not active.
func (p *plugged) pluginState() (state, why string) {
	p.t.Helper()
	var shown struct{ State, Why string }
	if err := json.Unmarshal([]byte(p.must("stoker", "plugin", "show", "-o", "json", p.plugin)), &shown); err != nil {
		p.t.Fatal(err)
	}
	return shown.State, shown.Why
}

func (p *plugged) wantState(want string, words ...string) {
	p.t.Helper()
	if state, why := p.pluginState(); state != want || !containsAll(why, words) {
		p.t.Errorf("the plugin is %s: %s; want %s with %q", state, why, want, words)
	}
}

// event is one of `stoker events -o json`.
type event struct {
	ID      uint64
	Kind    string
	Service string
	Start   uint64
	Reason  string
	Hook    *struct {
		Event, Name, Plugin, Why string
		OK                       bool
		Annotations              map[string]string
	}
}

// events returns the events after a sequence number.
func (p *plugged) events(after uint64) (out []event) {
	p.t.Helper()
	dec := json.NewDecoder(strings.NewReader(p.must("stoker", "events", "-n", "2000", "-o", "json")))
	for {
		var e event
		if err := dec.Decode(&e); err == io.EOF {
			return out
		} else if err != nil {
			p.t.Fatal(err)
		}
		if e.ID > after {
			out = append(out, e)
		}
	}
}

// last returns the sequence number of the latest event.
func (p *plugged) last() uint64 {
	p.t.Helper()
	all := p.events(0)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].ID
}

// wantStarts checks the number of starts after an event.
func (p *plugged) wantStarts(after uint64, want int) {
	p.t.Helper()
	n := 0
	for _, e := range p.events(after) {
		if e.Kind == "started" && e.Service == "tomcat" {
			n++
		}
	}
	if n != want {
		p.t.Errorf("%d starts of Tomcat, want %d", n, want)
	}
}

// jvm returns the command line of Tomcat's JVM.
func (p *plugged) jvm() []string {
	p.t.Helper()
	st, _ := p.status()
	svc, _ := st.service("tomcat")
	return strings.Split(p.must("cat", fmt.Sprintf("/proc/%d/cmdline", svc.Pid)), "\x00")
}

// listens reports whether a process in the container listens on a TCP port.
func (p *plugged) listens(port int) bool {
	p.t.Helper()
	want := fmt.Sprintf(":%04X ", port)
	for _, line := range strings.Split(p.must("cat", "/proc/net/tcp", "/proc/net/tcp6"), "\n") {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1]+" ", want) && f[3] == "0A" {
			return true
		}
	}
	return false
}

// request sends a request to the application, so that JaCoCo has coverage.
func (p *plugged) request(path string) {
	p.t.Helper()
	p.must("perl", "-MIO::Socket::INET", "-e", `$s = IO::Socket::INET->new("127.0.0.1:8080") or die $!;
		print $s "GET $ARGV[0] HTTP/1.0\r\n\r\n"; die "no answer" unless <$s> =~ / 200 /`, path)
}

// registry is an HTTP server on a unix socket in the shared folder that records requests.
type registry struct {
	mu    sync.Mutex
	asked []string // method, path and body of each request, and the state of Tomcat then
	state func() string
}

func newRegistry(t *testing.T, p *plugged) *registry {
	t.Helper()
	r := &registry{state: func() string { return p.state("tomcat") }}
	l, err := net.Listen("unix", filepath.Join(p.shared, "registry.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r}
	go server.Serve(l) // ends with the test
	t.Cleanup(func() { server.Close() })
	return r
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	line := req.Method + " " + req.URL.Path + " " + string(body) + " " + r.state()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, line)
}

// await waits for a request and drops those before it.
func (r *registry) await(t *testing.T, words ...string) {
	t.Helper()
	if !eventually(2*time.Minute, 50*time.Millisecond, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		k := slices.IndexFunc(r.asked, func(line string) bool { return containsAll(line, words) })
		if k >= 0 {
			r.asked = r.asked[k+1:]
		}
		return k >= 0
	}) {
		r.mu.Lock()
		defer r.mu.Unlock()
		t.Fatalf("the registry was not asked with %q; but: %q", words, r.asked)
	}
}

// none checks that there was no further request.
func (r *registry) none(t *testing.T, method string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.asked, func(line string) bool { return strings.HasPrefix(line, method) }) {
		t.Errorf("the registry was asked: %q", r.asked)
	}
}

// numberIn returns the n-th number of a text, counted from 0.
func numberIn(t *testing.T, text string, n int) int {
	t.Helper()
	all := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if n >= len(all) {
		t.Fatalf("no number %d in %q", n, text)
	}
	v, err := strconv.Atoi(all[n])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// javaProgram compiles a Java program and returns a function that runs it.
func javaProgram(t *testing.T, source string, classpath ...string) func(args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		lacking(t, "javac is missing")
	}
	dir := t.TempDir()
	path := strings.Join(append([]string{dir}, classpath...), ":")
	if out, err := exec.Command("javac", "-d", dir, "-cp", path, source).CombinedOutput(); err != nil {
		t.Fatalf("cannot compile %s: %v: %s", source, err, out)
	}
	return func(args ...string) string {
		t.Helper()
		name := strings.TrimSuffix(filepath.Base(source), ".java")
		out, err := exec.Command("java", append([]string{"-cp", path, name}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
		return string(out)
	}
}

// jacocoAgent returns the path of the agent of Debian's package.
func jacocoAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jacocoagent.jar")
	if _, err := os.Stat("/usr/share/java/org.jacoco.agent.jar"); err != nil {
		lacking(t, "libjacoco-java is missing")
	}
	if out, err := exec.Command("sh", "../scripts/jacoco.sh", path).CombinedOutput(); err != nil {
		t.Fatalf("cannot get the agent: %v: %s", err, out)
	}
	return path
}
