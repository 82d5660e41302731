//go:build container

package tests

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// plainConfig is the configuration of the demo without a user.
const plainConfig = `
services:
  tomcat:
    kind: tomcat
    tomcat: {base: /srv/app}
    ready: {http: "http://127.0.0.1:8080/app/health", within: 120s}
`

// withConfig returns the flag that mounts a configuration over that of the image.
func withConfig(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stoker.yaml")
	write(t, file, text, 0o644)
	return "--volume=" + file + ":/etc/stoker/stoker.yaml:ro"
}

// With few rights and only Tomcat's folders writable, Tomcat becomes ready, the status can be read,
// and docker stop ends with 0.
func TestFewRights(t *testing.T) {
	needsImage(t, "stoker-demo")
	readOnly := []string{"--read-only", "--tmpfs=/srv/app/logs:mode=1777", "--tmpfs=/srv/app/temp:mode=1777",
		"--tmpfs=/srv/app/work:mode=1777"}
	stranger := []string{"--user=12345", withConfig(t, plainConfig)}
	noRights := []string{"--cap-drop=ALL", "--security-opt=no-new-privileges"}
	join := func(parts ...[]string) (out []string) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for _, test := range []struct {
		name  string
		flags []string
		users []string // users that may read the status, besides the container's user
	}{
		{"read-only", readOnly, []string{"0"}},
		{"user", stranger, []string{"0"}},
		{"read-only and user", join(readOnly, stranger), []string{"0", "12345"}},
		{"no capabilities", join(noRights, []string{withConfig(t, plainConfig)}), nil},
		{"all together", join(readOnly, stranger, noRights), []string{"12345"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newContainer(t, append(append([]string{"--memory=1g"}, test.flags...), "stoker-demo")...)
			c.awaitState("tomcat", "RUNNING", 90*time.Second)
			for _, user := range test.users {
				if out, err := c.execAs(user, "stoker", "status"); err != nil || !strings.Contains(out, "RUNNING") {
					t.Errorf("stoker status as user %s: %v\n%s", user, err, out)
				}
			}
			if out, err := c.exec("stoker", "logs", "-n", "5"); err != nil || out == "" {
				t.Errorf("stoker logs: %v\n%s", err, out)
			}
			if took := c.stop(); c.exitCode() != 0 || took > 8*time.Second {
				t.Errorf("docker stop gives %d after %v", c.exitCode(), took)
			}
		})
	}
}

// With Docker's default capabilities root may not inspect another user's process. Still another
// process that answers on Tomcat's port does not make Tomcat ready, not even one of the same user.
func TestReadinessKnowsWhoseSocket(t *testing.T) {
	needsImage(t, "stoker-port-taken")
	for _, user := range []string{"root", "app"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			c := newContainer(t, "--memory=1g", withConfig(t, fmt.Sprintf(`
main: tomcat
services:
  squatter: {command: [/usr/local/bin/squatter], user: %s}
  tomcat:
    kind: tomcat
    tomcat: {base: /srv/app}
    user: app
    ready: {http: "http://127.0.0.1:8080/app/health", within: 120s}
    restart: {backoff: {first: 100ms, max: 100ms}, limit: {starts: 100}}
`, user)), "stoker-port-taken")
			c.awaitState("squatter", "RUNNING", 20*time.Second)
			st, _ := c.status()
			squatter, _ := st.service("squatter")
			want := fmt.Sprintf("pid %d (squatter)", squatter.Pid)
			starting, failed, ready, from := false, "", false, time.Now()
			eventually(2*time.Minute, 10*time.Millisecond, func() bool {
				text, _ := c.exec("stoker", "status", "tomcat")
				starting = starting || strings.Contains(text, "STARTING") && strings.Contains(text, want)
				// The complete reason follows a moment after its first part.
				if m := regexp.MustCompile(`(?m)^ +reason: .*$`).FindString(text); len(m) > len(failed) {
					failed = m
				}
				ready = c.state("tomcat") == "RUNNING"
				return ready || starting && strings.Contains(failed, "8080") && strings.Contains(failed, want) && time.Since(from) > 8*time.Second
			})
			if ready {
				t.Error("Tomcat counts as RUNNING with another's socket")
			}
			if !starting {
				t.Errorf("while it starts the status does not say that the port is %s's", want)
			}
			if !strings.Contains(failed, "8080") || !strings.Contains(failed, want) {
				t.Errorf("the reason of the failure does not name the port and %s: %q", want, failed)
			}
			t.Logf("after the failure:%s", failed)
			c.must("stoker", "stop", "squatter")
			c.awaitState("tomcat", "RUNNING", 90*time.Second)
		})
	}
}

// Without a configuration file `stoker run` runs the image's Tomcat.
func TestRunWithoutAFile(t *testing.T) {
	needsImage(t, "stoker-demo")
	c := newContainer(t, "--memory=1g", "--tmpfs=/etc/stoker", "--env=CATALINA_BASE=/srv/app", "stoker-demo")
	c.awaitState("tomcat", "RUNNING", 90*time.Second)
	if out, err := c.exec("ls", "-A", "/etc/stoker"); err != nil || out != "" {
		t.Fatalf("there is a configuration: %v %q", err, out)
	}
	if took := c.stop(); c.exitCode() != 0 {
		t.Errorf("docker stop gives %d after %v", c.exitCode(), took)
	}
}
