package kube_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

const (
	v4 = "v4.channel.k8s.io"
	v5 = "v5.channel.k8s.io"
)

// call is one exec by client-go.
type call struct {
	protocol string // empty: v5
	stdin    io.Reader
	tty      bool
	sizes    remotecommand.TerminalSizeQueue
	env      []string
	noStderr bool
	stdout   io.Writer // nil: result.stdout
}

// result is what a call gave.
type result struct {
	stdout, stderr bytes.Buffer
	code           int
	err            error // other than an exit code
}

// exec runs a command.
func (b *box) exec(ctx context.Context, c call, command ...string) *result {
	query := url.Values{"command": command, "container": {"app"}, "stdout": {"true"}, "env": c.env}
	r := &result{}
	options := remotecommand.StreamOptions{Stdin: c.stdin, Stdout: &r.stdout, Tty: c.tty, TerminalSizeQueue: c.sizes}
	if c.stdout != nil {
		options.Stdout = c.stdout
	}
	if c.stdin != nil {
		query.Set("stdin", "true")
	}
	if c.tty {
		query.Set("tty", "true")
	} else if !c.noStderr {
		query.Set("stderr", "true")
		options.Stderr = &r.stderr
	}
	if c.protocol == "" {
		c.protocol = v5
	}
	target := b.url("/api/v1/namespaces/default/pods/web/exec?" + query.Encode())
	executor, err := remotecommand.NewWebSocketExecutorForProtocols(b.config(), "GET", target, c.protocol)
	if err != nil {
		b.t.Fatal(err)
	}
	err = executor.StreamWithContext(ctx, options)
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		r.code = exit.Code
	} else {
		r.err = err
	}
	return r
}

// check compares a result; want of output is exact.
func (r *result) check(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.err != nil || r.code != code || r.stdout.String() != stdout || r.stderr.String() != stderr {
		t.Errorf("code %d, stdout %.200q, stderr %.200q, error %v; want code %d, stdout %.200q, stderr %.200q",
			r.code, r.stdout.String(), r.stderr.String(), r.err, code, stdout, stderr)
	}
}

// everyWay runs a test over TCP, TLS and TLS with client certificates, in both protocols.
func everyWay(t *testing.T, test func(t *testing.T, b *box, protocol string)) {
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}, "mtls": {mtls: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, o)
			for _, protocol := range []string{v5, v4} {
				t.Run(protocol[:2], func(t *testing.T) { test(t, b, protocol) })
			}
		})
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, b *box, protocol string) {
		for _, c := range []struct {
			name           string
			script         string
			code           int
			stdout, stderr string
		}{
			{"success", "echo out", 0, "out\n", ""},
			{"apart", "echo out; echo err >&2", 0, "out\n", "err\n"},
			{"exit code", "exit 7", 7, "", ""},
			{"highest code", "exit 255", 255, "", ""},
			{"signal", "kill -KILL $$", 137, "", ""},
			{"not text", `printf '\377\000\001'`, 0, "\xff\x00\x01", ""},
			{"no stdin", "cat", 0, "", ""},
			{"term", "kill -TERM $$", 143, "", ""},
		} {
			b.exec(within(t), call{protocol: protocol}, "sh", "-c", c.script).check(t, c.code, c.stdout, c.stderr)
			if t.Failed() {
				t.Fatal(c.name)
			}
		}
		b.exec(within(t), call{protocol: protocol}, "printf", "%s|", "a b", "", "$HOME", "ü", "\n").check(t, 0, "a b||$HOME|ü|\n|", "")
		if r := b.exec(within(t), call{protocol: protocol}, "/no/such/program"); r.code != 127 && r.err == nil {
			t.Errorf("a missing program: code %d, %v", r.code, r.err)
		}
	})
}

// sizes is a queue of sizes of a terminal.
type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	if size, ok := <-s; ok {
		return &size
	}
	return nil
}

// screen is output that a test waits for.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(deadline); !strings.Contains(s.String(), text); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q on the screen: %q", text, s.String())
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, b *box, protocol string) {
		keys, keyboard := io.Pipe()
		size, s := make(sizes, 2), &screen{}
		size <- remotecommand.TerminalSize{Width: 100, Height: 30}
		done := make(chan *result, 1)
		go func() { // ends with the shell
			done <- b.exec(within(t), call{protocol: protocol, tty: true, stdin: keys, sizes: size, stdout: s}, "sh")
		}()
		say := func(line, want string) {
			t.Helper()
			if _, err := io.WriteString(keyboard, line); err != nil {
				t.Fatal(err)
			}
			s.await(t, want)
		}
		say("PS1=; stty size; test -t 0 -a -t 1 -a -t 2 && echo term''inal\r", "terminal\r\n")
		s.await(t, "30 100\r\n")
		size <- remotecommand.TerminalSize{Width: 120, Height: 40}
		// The size may come after the next key.
		say("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.01; done; echo resi''zed\r", "resized\r\n")
		say("sh -c 'echo sta\"\"rted; exec sleep 1000'\r", "started\r\n")
		say("\x03", "^C")
		say("echo interrupted $?\r", "interrupted 130\r\n")
		say("echo err''or >&2\r", "error\r\n")
		say("exit 3\r", "exit 3\r\n")
		r := <-done
		close(size)
		keyboard.Close()
		if r.err != nil || r.code != 3 {
			t.Errorf("code %d, %v; screen %q", r.code, r.err, s.String())
		}
	})
}

// noise is an endless reader of reproducible bytes.
func noise(size int64) io.Reader {
	var seed [32]byte
	copy(seed[:], "noise")
	return io.LimitReader(rand.NewChaCha8(seed), size)
}

// TestRoundTrip sends binary data through cat. Its end is the half-close of v5; v4 has none.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, b *box, protocol string) {
		const size = 64 << 20
		want := sha256.New()
		if _, err := io.Copy(want, noise(size)); err != nil {
			t.Fatal(err)
		}
		got := sha256.New()
		command := []string{"cat"}
		if protocol == v4 {
			command = []string{"head", "-c", fmt.Sprint(size)}
		}
		r := b.exec(within(t), call{protocol: protocol, stdin: noise(size), stdout: got}, command...)
		r.check(t, 0, "", "")
		if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Error("other bytes came back")
		}
	})
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	b.exec(within(t), call{stdin: strings.NewReader("3\n1\n2\n")}, "sort").check(t, 0, "1\n2\n3\n", "")
	b.exec(within(t), call{stdin: strings.NewReader("")}, "wc", "-c").check(t, 0, "0\n", "")
	// The output goes on after the end of the input.
	b.exec(within(t), call{stdin: strings.NewReader("x")}, "sh", "-c", "cat; sleep 0.3; echo later; exit 4").check(t, 4, "xlater\n", "")
	// A program that does not read its input ends all the same.
	b.exec(within(t), call{stdin: noise(1 << 20)}, "echo", "done").check(t, 0, "done\n", "")
	// Without stderr=true there is none.
	b.exec(within(t), call{noStderr: true}, "sh", "-c", "echo out; echo err >&2").check(t, 0, "out\n", "")
}

// TestDisconnect checks that a lost client ends all processes of its session.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, b *box, protocol string) {
		for _, tty := range []bool{false, true} {
			// Each has a text of its own: children in the same group, in a group and in a session of their own, and deaf ones.
			mark := fmt.Sprintf("9%s%v%d", protocol[:2], tty, b.init)
			script := fmt.Sprintf(`: %[1]s; trap '' HUP; sh -c 'trap "" HUP TERM; : %[1]s; while :; do sleep 1; done' &
				setsid sh -c ': %[1]s; while :; do sleep 1; done' & setsid -f sh -c 'trap "" HUP TERM; : %[1]s; while :; do sleep 1; done'
				echo ready; while :; do sleep 1; done`, mark)
			ctx, lose := context.WithCancel(t.Context())
			s, done := &screen{}, make(chan *result, 1)
			keys, keyboard := io.Pipe()
			go func() {
				done <- b.exec(ctx, call{protocol: protocol, tty: tty, stdin: keys, stdout: s}, "sh", "-c", script)
			}() // ends with ctx
			s.await(t, "ready")
			poll(t, "all processes run", func() bool { return running(mark) >= 4 })
			lose()
			keyboard.Close()
			<-done
			pollFor(t, 5*time.Second, "the processes of the session end", func() bool { return running(mark) == 0 })
		}
	})
}

// TestBackgroundChild checks that a child that keeps the output open does not hold the session.
func TestBackgroundChild(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	for _, tty := range []bool{false, true} {
		for _, child := range []string{"sleep 4321%d &", "(trap '' HUP; exec sleep 4321%d) &", "setsid -f sleep 4321%d;"} {
			mark := fmt.Sprintf("%d", b.init)
			began := time.Now()
			r := b.exec(within(t), call{tty: tty}, "sh", "-c", strings.ReplaceAll(child, "%d", mark)+" echo out; exit 5")
			took := time.Since(began)
			if r.err != nil || r.code != 5 || strings.TrimSpace(r.stdout.String()) != "out" || took > 4*time.Second {
				t.Errorf("%q, terminal %v: code %d, %q, %v after %v", child, tty, r.code, r.stdout.String(), r.err, took)
			}
			pollFor(t, 5*time.Second, "the child ends", func() bool { return running("4321"+mark) == 0 })
		}
	}
}

// TestManyAtOnce runs 50 sessions at a time.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, b *box, protocol string) {
		var all sync.WaitGroup
		for k := range 50 {
			all.Go(func() { // ends with its session
				const lines = 2000
				var want strings.Builder
				for line := range lines {
					fmt.Fprintf(&want, "%d-%d\n", k, line+1)
				}
				script := fmt.Sprintf("seq -f %d-%%.0f %d; cat; exit %d", k, lines, k)
				if protocol == v4 {
					script = strings.Replace(script, "cat", "head -c 5", 1)
				}
				input := fmt.Sprintf("in%03d", k)
				b.exec(within(t), call{protocol: protocol, stdin: strings.NewReader(input)}, "sh", "-c", script).check(t, k, want.String()+input, "")
			})
		}
		all.Wait()
	})
}
