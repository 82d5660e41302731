package kube_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// commandLine makes a command of stoker that reaches the box as one of another machine does: with a token file, or with the client
// certificate of the box.
func (b *box) commandLine(ctx context.Context, t *testing.T, token string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := product()
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{args[0], "--url", b.url("")}
	if b.tls != nil {
		flags = append(flags, "--ca", b.tls.ca)
	}
	if b.mtls {
		flags = append(flags, "--cert", b.tls.clientCert, "--key", b.tls.clientKey)
	} else {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--token-file", file)
	}
	cmd := exec.CommandContext(ctx, program, append(flags, args[1:]...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	return cmd
}

// TestCommandLine runs `stoker exec --url`.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}, "mtls": {mtls: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, o)
			for _, c := range []struct {
				token          string // empty: one that may
				args           []string
				stdin          string
				code           int
				stdout, stderr string // stderr: a part
			}{
				{"", []string{"--", "sh", "-c", "echo out; echo err >&2; exit 7"}, "", 7, "out\n", "err\n"},
				{"", []string{"-i", "--", "sort"}, "b\na\n", 0, "a\nb\n", ""},
				{"", []string{"--", "sh", "-c", "kill -KILL $$"}, "", 137, "", ""},
				{"", []string{"--", "no-such-program"}, "", 127, "", "no-such-program"},
				{"", []string{"--user", "root", "--", "true"}, "", 3, "", "needs the grant admin"},
				{viewToken, []string{"--", "true"}, "", 3, "", "it needs the grant exec"},
				{strings.Repeat("B", 43), []string{"--", "true"}, "", 3, "", "the token is not known"},
			} {
				if b.mtls && c.token != "" {
					continue
				}
				cmd := b.commandLine(within(t), t, cmp.Or(c.token, token), append([]string{"exec"}, c.args...)...)
				cmd.Stdin = strings.NewReader(c.stdin)
				code, stdout, stderr := run(t, cmd)
				if code != c.code || stdout != c.stdout || !strings.Contains(stderr, c.stderr) {
					t.Errorf("%q: code %d, stdout %q, stderr %q; want %d, %q, %q", c.args, code, stdout, stderr, c.code, c.stdout, c.stderr)
				}
			}
			b.commandLineOverKill(t)
		})
	}
}

// commandLineOverKill kills the supervisor between two halves of the input: the command goes on, and both arrive once.
func (b *box) commandLineOverKill(t *testing.T) {
	t.Helper()
	const half = 1 << 20
	want, err := io.ReadAll(noise(2 * half))
	if err != nil {
		t.Fatal(err)
	}
	cmd := b.commandLine(within(t), t, token, "exec", "-i", "--", "cat")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = in.Write(want[:half]) }() // ends when all is read, or with the command
	got := make([]byte, half)
	if _, err := io.ReadFull(out, got); err != nil {
		t.Fatal(err)
	}
	old := b.supervisor()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when all is read, or with the command
		_, _ = in.Write(want[half:])
		in.Close()
	}()
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !bytes.Equal(append(got, rest...), want) {
		t.Errorf("%v, %d bytes, want %d; stderr %q", err, half+len(rest), 2*half, stderr.String())
	}
	if b.supervisor() == old {
		t.Error("the supervisor was not killed")
	}
}
