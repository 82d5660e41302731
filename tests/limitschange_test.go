//go:build container

package tests

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// docker update on a running container: the event, its hook, the log and stoker limits have the new limits within 5 s.
func TestLimitsChangeInDocker(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	needsCPUs(t, 2)
	dir := t.TempDir()
	write(t, dir+"/stoker.yaml", `
services:
  app: {command: [sleep, "1000"]}
hooks:
  limits-changed:
    - {name: note, command: [sh, -c, 'echo "hook: $STOKER_REASON" >>/tmp/hook']}
`, 0o644)
	c := newContainer(t, "--memory", "512m", "--memory-swap", "2g", "--cpus", "2", "-v", dir+":/limits:ro", "--entrypoint", "stoker",
		"stoker-demo", "run", "--config", "/limits/stoker.yaml")
	c.awaitState("app", "RUNNING", 20*time.Second)
	pass(3 * time.Second) // the watch begins two seconds after the services
	for _, step := range []struct{ flags, event, limits string }{
		{"--memory 1g", "memory 512 MiB -> 1 GiB", `\[2,\d+,2,1024,1024,\[\]\]`},
		{"--cpus 0.5", "CPUs 2 -> 1, CPU quota 2 -> 0.5", `\[0.5,\d+,1,1024,1024,\[\]\]`},
		{"--memory 256m --cpus 1.5", "memory 1 GiB -> 256 MiB, CPUs 1 -> 2, CPU quota 0.5 -> 1.5", `\[1.5,\d+,2,256,256,\[\]\]`},
		{"--pids-limit 200", "processes none -> 200", `\[1.5,\d+,2,256,256,\[\]\]`},
	} {
		args := append(append([]string{"update"}, strings.Fields(step.flags)...), c.id)
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %q: %v: %s", args, err, out)
		}
		await(t, 5*time.Second, "the event and the hook of "+step.flags, func() bool {
			events, hook := c.must("stoker", "events", "--kind", "limits-changed"), c.must("sh", "-c", "cat /tmp/hook || true")
			return strings.Contains(events, step.event) && strings.Contains(hook, "hook: "+step.event+"\n")
		})
		wantLimits(t, parseLimits(t, c.must("stoker", "limits", "-o", "json")), step.limits)
		await(t, 10*time.Second, "the line of "+step.event+" in Docker's log", func() bool {
			out, _ := exec.Command("docker", "logs", c.id).CombinedOutput()
			return strings.Contains(string(out), `changes="`+step.event+`"`)
		})
	}
	// A change that the supervisor has missed.
	supervisor := `kill -%s "$(grep -lz '^supervise$' /proc/[0-9]*/cmdline | tr -dc 0-9)"`
	c.must("sh", "-c", fmt.Sprintf(supervisor, "STOP"))
	c.limit("--memory", "300m")
	c.must("sh", "-c", fmt.Sprintf(supervisor, "KILL"))
	await(t, 10*time.Second, "the event of a missed change", func() bool {
		out, _ := c.exec("stoker", "events", "--kind", "limits-changed")
		return strings.Contains(out, "memory 256 MiB -> 300 MiB")
	})
	if n := strings.Count(c.must("stoker", "events", "--kind", "limits-changed"), "limits-changed"); n != 5 {
		t.Errorf("%d events of 5 changes", n)
	}
}
