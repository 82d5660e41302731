//go:build container

package tests

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// noticeTime is the time within which a changed limit is noticed.
const noticeTime = 10 * time.Second

// limit changes the limits of the container.
func (c *container) limit(args ...string) {
	c.t.Helper()
	if out, err := exec.Command("docker", append(append([]string{"update"}, args...), c.id)...).CombinedOutput(); err != nil {
		c.t.Fatalf("docker update %q: %v: %s", args, err, out)
	}
}

// awaitText waits until the status and jvm explain, which wrap their lines, contain a text.
func (c *container) awaitText(within time.Duration, text string) {
	c.t.Helper()
	words := func(command ...string) string {
		out, _ := c.exec(command...)
		return strings.Join(strings.Fields(out), " ")
	}
	var status, explain string
	if !eventually(within, 100*time.Millisecond, func() bool {
		status, explain = words("stoker", "status", "-o", "json"), words("stoker", "jvm", "explain")
		return strings.Contains(status, text) && strings.Contains(explain, text)
	}) {
		c.t.Fatalf("status and explain do not say %q within %v:\n%s\n%s", text, within, status, lastOf(explain, 1500))
	}
}

// logged reports whether the container's output contains a text.
func (c *container) logged(text string) bool {
	out, _ := exec.Command("docker", "logs", c.id).CombinedOutput()
	return strings.Contains(string(out), text)
}

// resident returns the resident memory of the JVM in MiB.
func (p *pressed) resident() int {
	p.t.Helper()
	svc, _ := p.tomcat()
	out := p.must("grep", "VmRSS", "/proc/"+strconv.Itoa(svc.Pid)+"/status")
	kib, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(out))
	if err != nil {
		p.t.Fatalf("%q: %v", out, err)
	}
	return kib >> 10
}

// resized is a Tomcat with 2 CPUs and 2 GiB, and so with G1.
func resized(t *testing.T, args ...string) *pressed {
	t.Helper()
	needsCPUs(t, 2)
	p := newPressed(t, "2g", nil, args...)
	p.awaitState("tomcat", "RUNNING", 2*time.Minute)
	await(t, time.Minute, "the pages", p.serves)
	return p
}

// The limits of a Tomcat change when its heap is full. Not parallel to other tests, because it uses all CPUs.
func TestLimitOfFullJVM(t *testing.T) {
	t.Run("adjusted", testAdjusted)
	t.Run("restarted", testRestarted)
}

// testAdjusted: a lower memory limit has the running JVM give memory back, a higher one takes that back. During a load G1 would need its
// heap again at once.
func testAdjusted(t *testing.T) {
	t.Parallel()
	p := resized(t)
	before, _ := p.tomcat()
	p.press("work.jsp", time.Minute, func(*load) bool { return p.resident() > 700 })
	full := p.resident()
	p.limit("--memory", "1536m", "--memory-swap", "1536m")
	p.awaitText(noticeTime, "the memory limit is 1536 MiB now, and the JVM may use")
	p.awaitText(noticeTime, "runs with -Xmx1248m, a restart would give -Xmx768m")
	p.awaitText(2*noticeTime, "MaxHeapFreeRatio is 10, the JVM has collected its heap")
	if out := p.must("stoker", "events"); !strings.Contains(out, "limits-changed") {
		t.Errorf("no event: %s", lastOf(out, 600))
	}
	small := p.resident()
	t.Logf("the JVM had %d MiB and has %d", full, small)
	if small > full*2/3 {
		t.Errorf("the JVM had %d MiB and has %d", full, small)
	}
	p.limit("--memory", "900m", "--memory-swap", "900m")
	p.awaitText(noticeTime, "the memory limit is 900 MiB now, and the JVM may use")
	if !p.logged("the memory limit is below what the JVM may use") || !p.logged("the limits have changed; a restart applies it") {
		t.Error("the log does not say it")
	}
	p.wantNoKill("two cuts")
	p.limit("--memory", "3g", "--memory-swap", "3g", "--cpus", "1")
	p.awaitText(noticeTime, "the memory limit is 3 GiB now (it was 2 GiB), the number of CPUs is 1 now (it was 2)")
	await(t, noticeTime, "the flags as before", func() bool {
		out, _ := p.exec("stoker", "jvm", "flags", "--all")
		return regexp.MustCompile(`MaxHeapFreeRatio += 100 `).MatchString(out) && regexp.MustCompile(`MinHeapFreeRatio += 40 `).MatchString(out)
	})
	if after, _ := p.tomcat(); after.Pid != before.Pid {
		t.Errorf("the JVM was restarted: %d, %d", before.Pid, after.Pid)
	}
}

// testRestarted: with jvm.apply: restart a JVM that is filling its heap has the sizes of the new limit before it exceeds it.
func testRestarted(t *testing.T) {
	t.Parallel()
	p := resized(t, "--set", "jvm.apply=restart")
	before, _ := p.tomcat()
	cut := false
	if !p.press("work.jsp", time.Minute, func(*load) bool {
		if !cut && p.resident() > 800 {
			cut = true
			p.limit("--memory", "1g", "--memory-swap", "1g")
		}
		after, ok := p.tomcat()
		return cut && ok && after.Pid != before.Pid
	}) {
		t.Fatalf("the JVM was not restarted (limit lowered: %v)", cut)
	}
	p.awaitState("tomcat", "RUNNING", 2*time.Minute)
	if out := p.must("stoker", "jvm", "explain"); !strings.Contains(out, "-Xmx512m") {
		t.Errorf("the JVM was started with other sizes:\n%s", lastOf(out, 1500))
	}
	if !p.logged("a change of its limits") {
		t.Error("the log does not name the reason")
	}
	p.wantNoKill("a cut")
	if after, _ := p.tomcat(); after.Restarts != before.Restarts {
		t.Errorf("the JVM has ended by itself %d times", after.Restarts-before.Restarts)
	}
}

// The newest ZGC uses less when the limit is lowered, and may use the memory again when it is raised. The other collectors and the JVM of
// the machine are part of the unit tests.
func TestLimitOfZGC(t *testing.T) {
	t.Parallel()
	needsNamespaces(t)
	needsCPUs(t, 2)
	all := matrixJDKs(t)
	j, dir := all[len(all)-1], t.TempDir()
	if j.major() < 21 {
		lacking(t, "there is no JDK from 21 on, only "+j.version)
	}
	compileHeap(t, dir)
	write(t, dir+"/stoker.yaml", fmt.Sprintf("services: {app: {kind: java, java: {home: %s, main: Heap, classpath: [%s], args: [%[2]s]},\n"+
		"  ready: {exec: [test, -e, %[2]s/filled], within: 60s}}}\njvm: {user: {options: [-XX:+UseZGC]}}\n", j.home, dir), 0o644)
	g := newMemoryGroup(t, "1g")
	b := &box{t: t, dir: dir, socket: dir + "/s", over: make(chan struct{})}
	command := j.inside(t, dir, []string{stoker(t), "run", "--set", "api.socket=" + b.socket, "--config", dir + "/stoker.yaml"})
	b.cmd = exec.Command("sh", append([]string{"-c", `echo 0 >"$0" && exec "$@"`, g.dir + "/cgroup.procs"}, command...)...)
	b.start(boxOptions{})
	t.Cleanup(b.remove)
	b.findInit()
	b.awaitState("app", "RUNNING", time.Minute)
	soft := func() (n int) {
		out, _ := b.run("jvm", "flags", "--all", "app")
		if m := regexp.MustCompile(`SoftMaxHeapSize += (\d+) `).FindStringSubmatch(out); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		return n >> 20
	}
	full, before := g.used(), soft()
	g.limit("600m")
	await(t, noticeTime, "a lower SoftMaxHeapSize", func() bool { return soft() < before })
	after := soft()
	t.Logf("Java %s: SoftMaxHeapSize %d MiB, then %d MiB; %d MiB were in use, then %d", j.version, before, after, full, g.used())
	await(t, noticeTime, "the new SoftMaxHeapSize in the status", func() bool {
		out, _ := b.run("status", "-o", "json", "app")
		return strings.Contains(out, fmt.Sprintf("SoftMaxHeapSize is %d MiB (ZGC", after))
	})
	g.limit("1g")
	await(t, noticeTime, "SoftMaxHeapSize as before", func() bool { return soft() == before })
	if kills, peak := g.use(); kills > 0 {
		t.Errorf("%d kills; %s were in use", kills, peak)
	}
}
