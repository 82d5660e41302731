//go:build container

package tests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// TestTomcatRestarts restarts a Tomcat that takes its socket from stoker, under 16 clients with kept-alive connections: no connection is
// refused, and a planned restart loses no request. STOKER_RESTARTS=full repeats more often, and with the pairs of scripts/matrix.sh.
func TestTomcatRestarts(t *testing.T) {
	t.Parallel()
	needsNamespaces(t)
	n := restartCounts{restarts: 1, kills: 1, switches: 2}
	if os.Getenv("STOKER_RESTARTS") == "full" {
		n = restartCounts{restarts: 20, kills: 20, switches: 5}
		for _, p := range matrixPairs(t) {
			t.Run(p.java+" with "+p.tomcat, func(t *testing.T) { restarts(t, p.restartBox(t), n) })
		}
	}
	t.Run("this machine's", func(t *testing.T) { restarts(t, newRestartBox(t), n) })
}

// restartCounts is how often each kind of restart is done.
type restartCounts struct{ restarts, kills, switches int }

// restartBox is a box with a Tomcat and a plugin that gives it an option.
type restartBox struct {
	*box
	port int
}

// restartConfig is the configuration of a Tomcat that takes its socket from stoker. service has further lines of the service.
func restartConfig(home, base, plugins string, port int, service string) string {
	return fmt.Sprintf(`
services:
  tomcat:
    kind: tomcat
    tomcat: {home: %s, base: %s}
    listen: [{name: http, tcp: ":%d"}]
    ready: {within: 120s}
    stop: {timeout: 8s}
    restart: {backoff: {first: 100ms, factor: 1, max: 100ms}, limit: {starts: 1000}}
%s
plugins: {dir: %s}
jvm: {flavor: {cpus: 2, memory: 512MiB}}
`, home, base, port, service, plugins)
}

// switchedPlugin writes a plugin whose option is part of the command line while it is enabled.
func switchedPlugin(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir+"/switched/jvm.d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/switched/plugin.yaml", "name: switched\nversion: \"1.0\"\ndescription: an option\nenabled: false\n", 0o644)
	write(t, dir+"/switched/jvm.d/50-option.opts", "-Dswitched=1\n", 0o644)
}

// newRestartBox starts a Tomcat of this machine.
func newRestartBox(t *testing.T) *restartBox {
	dir := t.TempDir()
	tc := newTomcatBase(t, dir)
	quiet(t, tc.base)
	switchedPlugin(t, dir+"/plugins")
	config := restartConfig(tc.home, tc.base, dir+"/plugins", tc.port, "")
	b := &restartBox{newBox(t, boxOptions{dir: dir, ownRun: true, config: config, env: []string{"XDG_STATE_HOME=" + dir}}), tc.port}
	b.awaitState("tomcat", "RUNNING", 2*time.Minute)
	return b
}

// quiet turns off what a second Tomcat in the same network namespace would collide with.
func quiet(t *testing.T, base string) {
	t.Helper()
	if out, err := exec.Command("sed", "-i", `s/port="8005"/port="-1"/`, base+"/conf/server.xml").CombinedOutput(); err != nil {
		t.Fatalf("cannot turn off the shutdown port: %v: %s", err, out)
	}
}

// restartBox starts the Tomcat of a pair, as another user than root, in the network namespace of the test.
func (p *matrixPair) restartBox(t *testing.T) *restartBox {
	seed := t.TempDir()
	srv, port := seed+"/srv", freeport.For(t)
	home, outside := p.found(t, "/usr/share/tomcat[0-9]*")
	java, _ := p.found(t, fmt.Sprintf("/usr/lib/jvm/java-%d-openjdk-*", p.major()))
	switchedPlugin(t, srv+"/plugins")
	for _, cmd := range [][]string{
		{"sh", "../scripts/base.sh", outside, srv + "/base"},
		{"cp", "-r", "../testdata/webapp", srv + "/base/webapps/app"},
		{"sed", "-i", fmt.Sprintf(`s/port="8080"/port="%d"/`, port), srv + "/base/conf/server.xml"},
		{"chmod", "-R", "a+rX", seed},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", cmd, err, out)
		}
	}
	quiet(t, srv+"/base")
	write(t, srv+"/stoker.yaml", restartConfig(home, "/srv/base, java: "+java, "/srv/plugins", port, "    user: app\n"), 0o644)
	b := &restartBox{&box{t: t, dir: t.TempDir(), over: make(chan struct{})}, port}
	b.cmd = exec.Command("unshare", "-pfm", "--mount-proc", "--kill-child", "sh", "-c", mountRoot, "sh", seed+":"+p.lower, b.dir, stoker(t))
	b.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	b.start(boxOptions{})
	t.Cleanup(b.remove)
	if b.findInit(); b.init == 0 {
		t.Fatalf("stoker does not start: %s", b.stderr.String())
	}
	b.socket = fmt.Sprintf("/proc/%d/root/run/stoker/stoker.sock", b.init)
	b.awaitState("tomcat", "RUNNING", 2*time.Minute)
	return b
}

func (b *restartBox) dial() (net.Conn, error) {
	return net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", b.port), 30*time.Second)
}

// jvm returns the pid of the running Tomcat as seen from here; 0: it does not run.
func (b *restartBox) jvm() int {
	if all := b.javas(); len(all) == 1 {
		return all[0]
	}
	return 0
}

// next waits until another process than the one with a pid is RUNNING.
func (b *restartBox) next(before int) {
	b.t.Helper()
	if !eventually(time.Minute, 20*time.Millisecond, func() bool {
		now := b.jvm()
		return now != 0 && now != before && b.state("tomcat") == "RUNNING"
	}) {
		out, _ := b.run("status")
		b.t.Fatalf("Tomcat is not RUNNING again:\n%s", out)
	}
}

func (b *restartBox) must(args ...string) {
	b.t.Helper()
	if out, err := b.run(args...); err != nil {
		b.t.Fatalf("stoker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// restarts runs the three kinds of restarts. Between two, the clients are answered for a while.
func restarts(t *testing.T, b *restartBox, n restartCounts) {
	l := newKeepAlive(t, 16, b.dial)
	awaitAnswers(t, l, 500)
	l.Take()
	repeat := func(name string, rounds int, restart func(before int)) {
		t.Helper()
		for range rounds {
			before := b.jvm()
			restart(before)
			b.next(before)
			awaitAnswers(t, l, 500)
		}
		seen := l.Take()
		t.Logf("%d x %s: %v", rounds, name, seen)
		if seen.Refused+seen.Late > 0 {
			t.Errorf("%d x %s: %d connections were refused, %d requests late", rounds, name, seen.Refused, seen.Late)
		}
		if planned := name != "kill -9"; planned && seen.Lost+seen.Reset > 0 {
			t.Errorf("%d x %s: %d requests were lost, %d reset", rounds, name, seen.Lost, seen.Reset)
		}
	}
	repeat("stoker restart", n.restarts, func(int) { b.must("restart", "--wait", "tomcat") })
	next := "enable"
	repeat("plugin switch", n.switches, func(int) {
		b.must("plugin", next, "switched")
		next = map[string]string{"enable": "disable", "disable": "enable"}[next]
	})
	repeat("kill -9", n.kills, func(before int) {
		l.Killing()
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	})
	if got, want := b.stderr.count("Destroying ProtocolHandler"), n.restarts+n.switches; got != want {
		t.Errorf("%d planned stops have %d last lines of Tomcat", want, got)
	}
	if n := b.stderr.count("Socket accept failed"); n > 0 {
		t.Errorf("%d planned stops closed the socket of an acceptor that accepts", n)
	}
	l.Stop()
	b.signal(syscall.SIGTERM)
	b.wait(20 * time.Second)
	if !refuses(b.dial) {
		t.Error("the socket is still open after the container's stop")
	}
}
