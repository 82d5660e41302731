//go:build container

package tests

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pressureClients is more than Tomcat's 200 threads, so that all of them are busy.
const pressureClients = 220

// pressed is a container of the image "pressure": a real Tomcat with pages that fill the memory
// regions of the JVM.
type pressed struct {
	*container
	pages string // the URL they are below
}

// newPressed starts a container with a memory limit and no swap.
func newPressed(t testing.TB, memory string, flags []string, args ...string) *pressed {
	t.Helper()
	needsImage(t, "stoker-pressure")
	all := []string{"--memory", memory, "--memory-swap", memory, "--cpus", strconv.Itoa(min(2, runtime.NumCPU()))}
	all = append(append(all, flags...), "stoker-pressure")
	c := newContainer(t, append(all, args...)...)
	return &pressed{c, "http://" + c.inspect("{{.NetworkSettings.IPAddress}}") + ":8080/pressure/"}
}

// newSized uses the sizes of stoker, and options of the user. The back-off is short, so that many
// exits fit into a minute. STOKER_PRESSURE_JAVA is a JDK's folder that is used instead of the image's.
func newSized(t testing.TB, memory, options string) *pressed {
	t.Helper()
	flags, args := []string{"--env", "JAVA_OPTS=" + options}, []string{"--set", "services.tomcat.restart.backoff.max=1s"}
	if home := os.Getenv("STOKER_PRESSURE_JAVA"); home != "" {
		flags, args = append(flags, "-v", home+":/opt/java:ro"), append(args, "--set", "services.tomcat.tomcat.java=/opt/java")
	}
	p := newPressed(t, memory, flags, args...)
	p.awaitState("tomcat", "RUNNING", 2*time.Minute)
	await(t, time.Minute, "the pages of "+memory, p.serves)
	return p
}

// naiveOptions set the heap to 80 % of the memory, a common choice.
func naiveOptions(memory string) string {
	mib := map[string]int{"512m": 410, "1g": 819, "2g": 1638}[memory]
	return fmt.Sprintf("-Xmx%dm -Xms%[1]dm", mib)
}

// handSet are the options that a good engineer would set by hand.
func handSet(memory, collector string) string {
	caps := map[string]string{
		"512m Serial": "-Xmx256m -Xms256m -XX:MaxMetaspaceSize=96m -XX:ReservedCodeCacheSize=64m -XX:MaxDirectMemorySize=16m",
		"1g Serial":   "-Xmx512m -Xms512m -XX:MaxMetaspaceSize=128m -XX:ReservedCodeCacheSize=128m -XX:MaxDirectMemorySize=64m",
		"2g G1":       "-Xmx1248m -Xms1248m -XX:MaxMetaspaceSize=192m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=64m",
		"4g G1":       "-Xmx3276m -Xms3276m -XX:MaxMetaspaceSize=192m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=64m",
		"1g Z":        "-Xmx448m -XX:MaxMetaspaceSize=128m -XX:ReservedCodeCacheSize=128m -XX:MaxDirectMemorySize=64m",
		"2g Z":        "-Xmx1152m -XX:MaxMetaspaceSize=192m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=64m",
		"4g Z":        "-Xmx3072m -XX:MaxMetaspaceSize=192m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=64m",
	}
	return fmt.Sprintf("-XX:+Use%sGC %s", collector, caps[memory+" "+collector])
}

// newNaive starts the same Tomcat as many images do: by catalina.sh with these options alone.
func newNaive(t testing.TB, memory, options string) *pressed {
	t.Helper()
	flags := []string{"--user", "app", "--env", "JAVA_OPTS=" + options, "--entrypoint", "sh"}
	if home := os.Getenv("STOKER_PRESSURE_JAVA"); home != "" {
		flags = append(flags, "-v", home+":/opt/java:ro", "--env", "JAVA_HOME=/opt/java")
	}
	p := newPressed(t, memory, flags,
		"-c", `exec "$CATALINA_HOME/bin/catalina.sh" run`)
	if !eventually(3*time.Minute, 200*time.Millisecond, func() bool { return p.serves() || !p.alive() }) || !p.alive() {
		t.Fatalf("the naive Tomcat with %q does not serve with %s", options, memory)
	}
	return p
}

// serves reports whether the pages answer. The first request compiles them.
func (p *pressed) serves() bool {
	client := http.Client{Timeout: 30 * time.Second}
	for _, page := range []string{"work.jsp", "fill.jsp?what=stacks"} {
		resp, err := client.Get(p.pages + page)
		if err != nil {
			return false
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

// press lets all clients request a page until done holds, and reports whether it did within the
// time.
func (p *pressed) press(page string, within time.Duration, done func(*load) bool) bool {
	p.t.Helper()
	from, l := time.Now(), newLoad(p.pages+page, pressureClients)
	ok := eventually(within, 200*time.Millisecond, func() bool { return done(l) })
	answered, failed, first := l.stop()
	p.t.Logf("%s: %d answers in %v, %d of them that there is no more, %d failures (%s)",
		page, answered, time.Since(from).Round(100*time.Millisecond), l.exhausted.Load(), failed, first)
	return ok
}

// tomcat returns the status of the service; false: no answer.
func (p *pressed) tomcat() (serviceStatus, bool) {
	st, ok := p.status()
	svc, _ := st.service("tomcat")
	return svc, ok
}

// killed returns the number of OOM kills in the container's cgroup.
func (p *pressed) killed() int {
	p.t.Helper()
	out := p.must("sh", "-c", "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null; true")
	found := regexp.MustCompile(`(?m)^oom_kill (\d+)$`).FindStringSubmatch(out)
	if found == nil {
		p.t.Fatalf("the kernel does not count what its OOM killer did: %q", out)
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// wantNoKill checks that there was no OOM kill.
func (p *pressed) wantNoKill(after string) {
	p.t.Helper()
	if !p.alive() {
		p.t.Fatalf("after %s the container is gone: code %d, OOM-killed %s", after, p.exitCode(), p.inspect("{{.State.OOMKilled}}"))
	}
	if n := p.killed(); n != 0 || p.inspect("{{.State.OOMKilled}}") != "false" {
		p.t.Fatalf("after %s the kernel's OOM killer has acted %d times (peak %s); the budget:\n%s", after, n, p.peak(),
			p.must("stoker", "jvm", "explain"))
	}
}

// peak returns the peak memory of the container in MiB, page cache included.
func (p *pressed) peak() string {
	return strings.TrimSpace(p.must("sh", "-c", `n=$(cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null); echo "$((${n:-0} >> 20)) MiB"`))
}

// longLoad reports whether STOKER_LOAD=long asks for the long load tests.
func longLoad() bool { return os.Getenv("STOKER_LOAD") == "long" }
