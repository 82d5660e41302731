//go:build container

package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hasAgent reports whether Tomcat's JVM has a Java agent.
func (p *plugged) hasAgent() bool {
	p.t.Helper()
	return slices.ContainsFunc(p.jvm(), func(arg string) bool { return strings.HasPrefix(arg, "-javaagent:") })
}

// TestJaCoCo: enabling restarts Tomcat once and registers the JVM when it is ready. A dump, read by
// JaCoCo's own library, has the coverage of a request. Disabling restarts once more and leaves
// nothing.
func TestJaCoCo(t *testing.T) {
	t.Parallel()
	var jars []string
	for _, name := range []string{"org.jacoco.core", "asm", "asm-commons", "asm-tree", "asm-analysis"} {
		jars = append(jars, "/usr/share/java/"+name+".jar")
	}
	p := newPlugged(t, "jacoco", map[string]string{"lib/jacocoagent.jar": jacocoAgent(t)})
	show := javaProgram(t, "../internal/jacoco/testdata/Show.java", jars...)
	r := newRegistry(t, p)
	p.wantState("inactive", "manifest")
	from := p.last()
	p.enable("register_url=unix:///shared/registry.sock:/agents", "includes=org.apache.jsp.*", "instance=one", "dump_dir=/shared/dumps")
	r.await(t, "PUT /agents/100001/one", `"version": "1.2.3"`, "127.0.0.1:6300", "RUNNING")
	p.wantStarts(from, 1)
	p.wantState("active")
	if !p.hasAgent() || !p.listens(6300) {
		t.Errorf("the JVM has no agent: %q", p.jvm())
	}

	p.request("/app/index.jsp")
	if out := p.must("stoker", "plugin", "run", "jacoco", "dump", "-o", "/shared/one.exec"); numberIn(t, out, 0) == 0 {
		t.Errorf("no probe is hit: %s", out)
	}
	covered := show(filepath.Join(p.shared, "one.exec"))
	if !strings.Contains(covered, "session 100001.1.2.3 ") || !strings.Contains(covered, "class org/apache/jsp/index_jsp ") ||
		strings.Contains(covered, "index_jsp 0/") {
		t.Errorf("JaCoCo reads:\n%s", covered)
	}
	p.must("stoker", "plugin", "run", "jacoco", "reset")
	if out := p.must("stoker", "plugin", "run", "jacoco", "dump"); numberIn(t, out, 0) != 0 {
		t.Errorf("after the reset: %s", out)
	}

	p.request("/app/index.jsp")
	p.must("stoker", "restart", "tomcat")
	r.await(t, "DELETE /agents/100001/one")
	r.await(t, "PUT /agents/100001/one", "RUNNING")
	p.ready()
	if dumps, _ := filepath.Glob(filepath.Join(p.shared, "dumps", "100001-1.2.3-one-*.exec")); len(dumps) != 1 ||
		!strings.Contains(show(dumps[0]), "index_jsp") {
		t.Errorf("the last dumps are %q", dumps)
	}

	from = p.last()
	p.disable()
	r.await(t, "DELETE /agents/100001/one")
	p.wantStarts(from, 1)
	r.none(t, "PUT")
	if p.hasAgent() || p.listens(6300) {
		t.Errorf("the agent is still there: %q", p.jvm())
	}
}

// TestJaCoCoPortTaken: if the port of the agent is taken, the plugin fails and the application
// runs.
func TestJaCoCoPortTaken(t *testing.T) {
	t.Parallel()
	p := newPlugged(t, "jacoco", map[string]string{"lib/jacocoagent.jar": jacocoAgent(t)})
	if out, err := exec.Command("docker", "exec", "-d", p.id, "perl", "-MIO::Socket::INET", "-e",
		`$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:6300", Listen => 1, ReuseAddr => 1) or die; 1 while !-e "/shared/over" && select(undef, undef, undef, 0.1) >= 0`).CombinedOutput(); err != nil {
		t.Fatalf("cannot take the port: %v: %s", err, out)
	}
	if !eventually(10*time.Second, 50*time.Millisecond, func() bool { return p.listens(6300) }) {
		t.Fatal("the port is not taken")
	}
	p.must("stoker", "plugin", "enable", "jacoco")
	if !eventually(2*time.Minute, 200*time.Millisecond, func() bool { state, _ := p.pluginState(); return state == "failed" }) {
		t.Fatal("the plugin has not failed")
	}
	p.ready()
	p.wantState("failed", "Address already in use")
	if p.hasAgent() {
		t.Errorf("the JVM that runs has the agent: %q", p.jvm())
	}
	p.request("/app/index.jsp")

	if err := os.WriteFile(filepath.Join(p.shared, "over"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !eventually(10*time.Second, 50*time.Millisecond, func() bool { return !p.listens(6300) }) {
		t.Fatal("the port is not given back")
	}
	p.enable()
	p.wantState("active")
	if !p.hasAgent() || !p.listens(6300) {
		t.Errorf("switched on again the JVM has no agent: %q", p.jvm())
	}
}
