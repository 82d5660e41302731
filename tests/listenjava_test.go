//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
	"github.com/stoker-init/stoker/internal/httpload"
)

// A service of kind java takes its socket as System.inheritedChannel(), over restarts and kill -9.
func TestJavaInheritsSocket(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"java", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacking(t, tool+" is missing")
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("javac", "-d", dir, "testdata/Inherited.java").CombinedOutput(); err != nil {
		t.Fatalf("cannot compile the program: %v\n%s", err, out)
	}
	port := freeport.For(t)
	l := &listening{listeningOptions: listeningOptions{port: port}, box: newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  app:
    kind: java
    java: {main: Inherited, classpath: [%[1]s], args: [%[1]s/accepts]}
    listen: [{name: http, tcp: "127.0.0.1:%[2]d"}]
    ready: {file: %[1]s/accepts, every: 20ms}
    restart: {backoff: {first: 50ms, max: 50ms}, limit: {starts: 1000}}
jvm: {flavor: {cpus: 1, memory: 384MiB}}
`, dir, port)})}
	l.awaitState("app", "RUNNING", 30*time.Second)
	javas := l.javas()
	if len(javas) != 1 {
		t.Fatalf("%d JVMs run", len(javas))
	}
	// another returns when another process than the last one answers.
	last := ""
	another := func() {
		t.Helper()
		await(t, 30*time.Second, "an answer of another process", func() bool {
			answer, err := l.ask()
			changed := err == nil && answer != last
			if changed {
				last = answer
			}
			return changed
		})
	}
	another()
	svc, err := newAPIClient(l.socket).service("app")
	if want := fmt.Sprintf("http %d\n", svc.Pid); err != nil || last != want {
		t.Errorf("the answer is %q (%v), want %q", last, err, want)
	}
	const rounds, many = 2, 16
	c := l.newClients(many, nil)
	for range rounds {
		l.timed("restart", "app")
		another()
	}
	c.stop(t, "restarts", 0)
	c = l.newClients(many, nil)
	for range rounds {
		for _, pid := range l.javas() {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		another()
	}
	c.stop(t, "kill -9", many*rounds)
	l.timed("stop", "app")
	l.wantRefused("stopped")
}

// slowPage says that a request is inside, and answers it later.
const slowPage = `<% java.io.File.createTempFile("inside", null);
Thread.sleep(1500); %>done`

// A container with a real Tomcat is stopped and started by Docker, under clients: requests that are inside are answered, the exit code is
// 0, and the socket is gone with the container and there again with it. STOKER_DOCKER_STOPS is how often.
func TestDockerStopOfListeningTomcat(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	tc := newTomcatBase(t, t.TempDir())
	quiet(t, tc.base)
	write(t, filepath.Join(tc.base, "webapps/app/slow.jsp"), slowPage, 0o644)
	// In the network of this machine, where a port without a socket refuses.
	c := newContainer(t, "--network", "host", "-v", stoker(t)+":/usr/local/bin/stoker:ro", "-v", tc.base+":"+tc.base, withConfig(t, fmt.Sprintf(`
services:
  tomcat:
    kind: tomcat
    tomcat: {base: %s}
    listen: [{name: http, tcp: "127.0.0.1:%d"}]
    ready: {within: 120s}
    stop: {timeout: 8s}
jvm: {flavor: {cpus: 2, memory: 512MiB}}
`, tc.base, tc.port)), "stoker-demo")
	dial := tcpDialer("127.0.0.1", tc.port)
	slow := httpload.Options{Dial: dial, Path: "/app/slow.jsp", Clients: 4, Within: time.Minute, Requests: 1}
	for range number(t, "STOKER_DOCKER_STOPS", 1) {
		c.awaitState("tomcat", "RUNNING", 2*time.Minute)
		if seen := httpload.Start(slow).Wait(); seen.Answered != slow.Clients { // compiles the page
			t.Fatal(seen)
		}
		inside := func() []string { files, _ := filepath.Glob(tc.base + "/temp/inside*"); return files }
		for _, file := range inside() {
			os.Remove(file)
		}
		load := newKeepAlive(t, 16, dial)
		awaitAnswers(t, load, 200)
		requests := httpload.Start(slow)
		await(t, 10*time.Second, "requests inside", func() bool { return len(inside()) == slow.Clients })
		load.Take()
		took := c.stop()
		if code := c.exitCode(); code != 0 || !refuses(dial) {
			t.Errorf("the container ends with %d; its socket is gone: %v", code, refuses(dial))
		}
		if seen := requests.Wait(); seen.Answered != slow.Clients {
			t.Errorf("requests inside: %v", seen)
		}
		t.Logf("docker stop took %v; the other clients: %v", took.Round(time.Millisecond), load.Stop())
		if out, err := exec.Command("docker", "start", c.id).CombinedOutput(); err != nil {
			t.Fatalf("docker start: %v: %s", err, out)
		}
	}
	c.awaitState("tomcat", "RUNNING", 2*time.Minute)
	awaitAnswers(t, newKeepAlive(t, 1, dial), 1)
}
