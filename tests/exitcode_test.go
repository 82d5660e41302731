//go:build container

package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExitCodeIsTheCommands(t *testing.T) {
	for code := range 256 {
		b := newBox(t, boxOptions{args: []string{"--", "sh", "-c", fmt.Sprintf("exit %d", code)}})
		if got := b.wait(20 * time.Second); got != code {
			t.Errorf("a command that exits with %d: the code is %d", code, got)
		}
		b.remove()
	}
}

func TestExitCodeOfSignals(t *testing.T) {
	for sig := syscall.Signal(1); sig <= 31; sig++ {
		switch sig {
		case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, // end nothing
			syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH:
			continue
		}
		b := newBox(t, boxOptions{args: []string{"--", "sh", "-c", fmt.Sprintf("ulimit -c 0; kill -%d $$; sleep 60", sig)}})
		if got, want := b.wait(20*time.Second), 128+int(sig); got != want {
			t.Errorf("a command that dies of signal %d: the code is %d, not %d", sig, got, want)
		}
		b.remove()
	}
}

func TestCommandThatCannotRun(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	missing := filepath.Join(dir, "missing")
	interpreter := filepath.Join(dir, "interpreter")
	write(t, plain, "#!/bin/sh\n", 0o644)
	write(t, interpreter, "#!/nowhere/sh\n", 0o755)
	for _, test := range []struct {
		command string
		code    int
		says    []string
	}{
		{missing, 127, []string{missing, "no such file or directory"}},
		{"no-such-program", 127, []string{"no-such-program"}},
		{plain, 126, []string{plain, "permission denied"}},
		{dir, 126, []string{dir}},
		{interpreter, 127, []string{interpreter, "no such file or directory"}},
	} {
		b := newBox(t, boxOptions{args: []string{"--", test.command}})
		if got := b.wait(20 * time.Second); got != test.code {
			t.Errorf("%s: the code is %d, not %d", test.command, got, test.code)
		}
		for _, part := range test.says {
			if !strings.Contains(b.stderr.String(), part) {
				t.Errorf("%s: stderr does not say %q:\n%s", test.command, part, b.stderr.String())
			}
		}
		t.Logf("%s", strings.TrimSpace(b.stderr.String()))
	}
}

// Both forms of ENTRYPOINT run a given CMD.
func TestEntrypointWithCommand(t *testing.T) {
	needsImage(t, "stoker-demo")
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"stoker-demo", "sh", "-c", "exit 0"}, 0},
		{[]string{"stoker-demo", "sh", "-c", "exit 1"}, 1},
		{[]string{"stoker-demo", "sh", "-c", "exit 126"}, 126},
		{[]string{"stoker-demo", "sh", "-c", "exit 255"}, 255},
		{[]string{"stoker-demo", "sh", "-c", "kill -9 $$"}, 137},
		{[]string{"stoker-demo", "--", "sh", "-c", "exit 42"}, 42},
		{[]string{"--entrypoint", "stoker", "stoker-demo", "run", "--", "sh", "-c", "exit 43"}, 43},
		{[]string{"stoker-demo", "/nowhere/program"}, 127},
		{[]string{"stoker-demo", "/etc/passwd"}, 126},
	} {
		var stderr bytes.Buffer
		cmd := exec.Command("docker", append([]string{"run", "--rm"}, test.args...)...)
		cmd.Stderr = &stderr
		if got := exitCode(cmd.Run()); got != test.code {
			t.Errorf("docker run %q: the code is %d, not %d; stderr: %s", test.args, got, test.code, &stderr)
		}
		if last := test.args[len(test.args)-1]; test.code > 125 && strings.HasPrefix(last, "/") && !strings.Contains(stderr.String(), last) {
			t.Errorf("docker run %q: stderr does not name the path: %s", test.args, &stderr)
		}
	}
}

// Both forms of ENTRYPOINT run the configured Tomcat without a CMD. docker stop ends it cleanly,
// long before Docker would kill it.
func TestEntrypointWithoutCommand(t *testing.T) {
	needsImage(t, "stoker-demo")
	for _, args := range [][]string{
		{"stoker-demo"},
		{"--entrypoint", "stoker", "stoker-demo", "run", "--"},
	} {
		c := newContainer(t, append([]string{"--memory", "1g"}, args...)...)
		c.awaitState("tomcat", "RUNNING", 2*time.Minute)
		took := c.stop()
		if code := c.exitCode(); code != 0 || took > 8*time.Second {
			t.Errorf("docker run %q: docker stop gives %d after %v", args, code, took)
		}
		t.Logf("docker run %q: stopped with 0 after %v", args, took.Round(10*time.Millisecond))
	}
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
