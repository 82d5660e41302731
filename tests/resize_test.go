//go:build container

package tests

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// noticeTime is the time within which a changed limit is noticed.
const noticeTime = 5 * time.Second

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

// A lower memory limit has the running JVM give memory back before the kernel kills; a higher one is reported, and takes it back.
func TestLimitOfRunningJVM(t *testing.T) {
	p := resized(t)
	before, _ := p.tomcat()
	p.press("work.jsp", time.Minute, func(*load) bool { return p.resident() > 900 })
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

// With jvm.apply: restart the JVM has the sizes of the new limit soon, and only once.
func TestLimitRestartsJVM(t *testing.T) {
	p := resized(t, "--set", "jvm.apply=restart")
	before, _ := p.tomcat()
	p.limit("--memory", "1g", "--memory-swap", "1g")
	await(t, time.Minute, "the restart", func() bool {
		after, ok := p.tomcat()
		return ok && after.Pid != before.Pid && after.State == "RUNNING"
	})
	if out := p.must("stoker", "jvm", "explain"); !strings.Contains(out, "-Xmx512m") {
		t.Errorf("the JVM was started with other sizes:\n%s", lastOf(out, 1500))
	}
	if !p.logged("a change of its limits") {
		t.Error("the log does not name the reason")
	}
	p.wantNoKill("a cut")
}

// ZGC is told to use less.
func TestLimitOfZGC(t *testing.T) {
	p := resized(t, "--set", `jvm.user.options=["-XX:+UseZGC"]`)
	p.limit("--memory", "1536m", "--memory-swap", "1536m")
	p.awaitText(2*noticeTime, "SoftMaxHeapSize is")
	p.wantNoKill("a cut")
}
