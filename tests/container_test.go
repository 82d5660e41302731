//go:build container

package tests

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// container is a Docker container of a test image.
type container struct {
	t  testing.TB
	id string
}

// newContainer runs `docker run -d ARGS...` without the image's health check, which would start
// processes. The container is removed at the end of the test.
func newContainer(t testing.TB, args ...string) *container {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("docker", append([]string{"run", "-d", "--no-healthcheck"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("cannot run a container with %q: %v: %s", args, err, &stderr)
	}
	c := &container{t, strings.TrimSpace(stdout.String())}
	t.Cleanup(c.remove)
	return c
}

func (c *container) remove() {
	if c.t.Failed() {
		out, _ := exec.Command("docker", "logs", "--tail", "30", c.id).CombinedOutput()
		c.t.Logf("the container's output ended with:\n%s", lastOf(string(out), 6000))
	}
	exec.Command("docker", "rm", "-f", c.id).Run()
}

// exec runs a command in the container.
func (c *container) exec(command ...string) (string, error) { return c.execAs("", command...) }

func (c *container) execAs(user string, command ...string) (string, error) {
	args := []string{"exec"}
	if user != "" {
		args = append(args, "--user", user)
	}
	out, err := exec.Command("docker", append(append(args, c.id), command...)...).CombinedOutput()
	return string(out), err
}

// must is exec for a command that must succeed.
func (c *container) must(command ...string) string {
	c.t.Helper()
	out, err := c.exec(command...)
	if err != nil {
		c.t.Fatalf("%q fails in the container: %v\n%s", command, err, out)
	}
	return out
}

// inspect returns a value of docker inspect.
func (c *container) inspect(format string) string {
	c.t.Helper()
	out, err := exec.Command("docker", "inspect", "-f", format, c.id).CombinedOutput()
	if err != nil {
		c.t.Fatalf("cannot inspect the container: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c *container) alive() bool { return c.inspect("{{.State.Running}}") == "true" }

func (c *container) exitCode() int {
	c.t.Helper()
	code, err := strconv.Atoi(c.inspect("{{.State.ExitCode}}"))
	if err != nil {
		c.t.Fatal(err)
	}
	return code
}

// status returns the output of `stoker status` in the container; false: no answer.
func (c *container) status() (status, bool) {
	out, err := c.exec("stoker", "status", "-o", "json")
	if err != nil {
		return status{}, false
	}
	st, err := parseStatus([]byte(out))
	return st, err == nil
}

func (c *container) state(name string) string {
	st, _ := c.status()
	svc, _ := st.service(name)
	return svc.State
}

func (c *container) awaitState(name, state string, within time.Duration) {
	c.t.Helper()
	if eventually(within, 200*time.Millisecond, func() bool { return c.state(name) == state }) {
		return
	}
	out, _ := c.exec("stoker", "status")
	c.t.Fatalf("%s is not %s within %v:\n%s", name, state, within, out)
}

// stop runs `docker stop` and returns how long it took.
func (c *container) stop() time.Duration {
	c.t.Helper()
	from := time.Now()
	if out, err := exec.Command("docker", "stop", c.id).CombinedOutput(); err != nil {
		c.t.Fatalf("cannot stop the container: %v: %s", err, out)
	}
	return time.Since(from)
}
