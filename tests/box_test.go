//go:build container

package tests

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// box is stoker as PID 1 of a new PID namespace, without Docker. It starts quickly, and the test
// can see and signal its processes.
type box struct {
	t      testing.TB
	cmd    *exec.Cmd
	dir    string // for the test's own files
	socket string
	init   int      // the pid of PID 1, seen from here
	out    *os.File // the read ends of its stdout and stderr
	err    *os.File
	stdout capture
	stderr capture
	over   chan struct{}
	code   int // once over is closed

	removed sync.Once
	before  bool // the test had already failed
}

// boxOptions change how `stoker run` is started.
type boxOptions struct {
	dir    string   // for the test's own files; empty: a new one
	config string   // the text of stoker.yaml; empty: no file
	args   []string // of run
	env    []string // added to the environment of the test
	stdin  *os.File
	raw    bool   // the test reads stdout itself
	joined bool   // stderr is the same pipe as stdout
	socket string // the path of its API; empty: in dir
	ownRun bool   // it has a /run/stoker of its own
	// program is the stoker to run; empty: the one under test.
	program string
	network *network // where it runs; nil: in that of the test
}

// newBox starts a box. It is removed at the end of the test.
func newBox(t testing.TB, o boxOptions) *box {
	t.Helper()
	needsNamespaces(t)
	b := &box{t: t, dir: o.dir, over: make(chan struct{}), before: t.Failed()}
	if b.dir == "" {
		b.dir = t.TempDir()
	}
	b.socket = cmp.Or(o.socket, filepath.Join(b.dir, "api.sock"))
	if o.program == "" {
		o.program = stoker(t)
	}
	args := []string{"-pfm", "--mount-proc", "--kill-child"}
	if o.ownRun {
		args = append(args, "sh", "-c", `mkdir -p /run/stoker && mount -t tmpfs tmpfs /run/stoker && exec "$@"`, "sh")
	}
	args = append(args, o.program, "run", "--set", "api.socket="+b.socket)
	if o.config != "" {
		file := filepath.Join(b.dir, "stoker.yaml")
		if err := os.WriteFile(file, []byte(o.config), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	args = append(append([]string{"unshare"}, args...), o.args...)
	if o.network != nil {
		args = append(o.network.enter(), args...)
	}
	b.cmd = exec.Command(args[0], args[1:]...)
	b.cmd.Env = append(os.Environ(), append(o.env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")...)
	b.cmd.Stdin = o.stdin
	b.start(o)
	t.Cleanup(b.remove)
	b.findInit()
	return b
}

// start starts the box with pipes of its own, because os/exec would read from its pipes.
func (b *box) start(o boxOptions) {
	b.t.Helper()
	var r, w [2]*os.File
	for k := range r {
		var err error
		if r[k], w[k], err = os.Pipe(); err != nil {
			b.t.Fatal(err)
		}
		defer w[k].Close()
	}
	b.out, b.err, b.cmd.Stdout, b.cmd.Stderr = r[0], r[1], w[0], w[1]
	if o.joined {
		b.cmd.Stderr = w[0]
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { b.stderr.read(b.err) }) // ends with the box
	if !o.raw {
		reading.Go(func() { b.stdout.read(b.out) }) // ends with the box
	}
	go func() { // ends with the box
		err := b.cmd.Wait()
		reading.Wait()
		b.code = exitCode(err)
		close(b.over)
	}()
}

// findInit waits until PID 1 has executed stoker.
func (b *box) findInit() {
	b.t.Helper()
	if !eventually(30*time.Second, 500*time.Microsecond, func() bool {
		for _, p := range childrenOf(b.cmd.Process.Pid) {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)); err == nil && filepath.Base(exe) == "stoker" {
				b.init = p.pid
			}
		}
		return b.init != 0 || b.ended()
	}) {
		b.t.Fatal("PID 1 has not executed stoker within 30 s")
	}
}

// remove kills the box. It may be called twice.
func (b *box) remove() { b.removed.Do(b.end) }

func (b *box) end() {
	b.cmd.Process.Kill() // --kill-child: PID 1 follows, and the namespace with it
	b.out.Close()
	b.err.Close()
	select {
	case <-b.over:
	case <-time.After(10 * time.Second):
	}
	if b.init != 0 && !eventually(10*time.Second, 2*time.Millisecond, func() bool { return gone(b.init) }) {
		b.t.Errorf("PID 1 (pid %d) does not end", b.init)
	}
	if b.t.Failed() && !b.before {
		b.t.Logf("stoker's stderr ended with:\n%s", lastOf(b.stderr.String(), 4000))
	}
}

// gone reports whether PID 1 of a namespace has ended, and with it all that were in there. Its first thread may be a zombie while
// another one still kills the rest.
func gone(init int) bool {
	p, ok := look(init)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", init))
	return !ok || err != nil || p.state == 'Z' && len(threads) <= 1
}

func (b *box) ended() bool {
	select {
	case <-b.over:
		return true
	default:
		return false
	}
}

// wait returns the exit code.
func (b *box) wait(within time.Duration) int {
	b.t.Helper()
	select {
	case <-b.over:
		return b.code
	case <-time.After(within):
		b.t.Fatalf("PID 1 did not end within %v", within)
		return -1
	}
}

// signal sends sig to PID 1.
func (b *box) signal(sig syscall.Signal) {
	b.t.Helper()
	if b.init == 0 { // kill(2) would take the test's own process group
		b.t.Fatalf("PID 1 ended before it was seen, and cannot get %v", sig)
	}
	if err := syscall.Kill(b.init, sig); err != nil {
		b.t.Fatalf("cannot send %v to PID 1 (pid %d): %v", sig, b.init, err)
	}
}

// supervisor returns the pid of the current supervisor, 0 if there is none. A child between fork
// and exec has the same command line, but it does not lead a process group in the init's session.
func (b *box) supervisor() int {
	for _, p := range childrenOf(b.init) {
		if p.state != 'Z' && len(p.args) > 1 && p.args[1] == "supervise" && p.group == p.pid && p.session != p.pid {
			return p.pid
		}
	}
	return 0
}

// run runs a stoker command against the box.
func (b *box) run(args ...string) (string, error) {
	cmd := exec.Command(stoker(b.t), args...)
	cmd.Env = append(os.Environ(), "STOKER_SOCKET="+b.socket)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// status returns the output of `stoker status`; false: no answer.
func (b *box) status() (status, bool) {
	out, err := b.run("status", "-o", "json")
	if err != nil {
		return status{}, false
	}
	st, err := parseStatus([]byte(out))
	return st, err == nil
}

func (b *box) state(name string) string {
	st, _ := b.status()
	svc, _ := st.service(name)
	return svc.State
}

func (b *box) awaitState(name, state string, within time.Duration) {
	b.t.Helper()
	if !eventually(within, 20*time.Millisecond, func() bool { return b.state(name) == state }) {
		out, _ := b.run("status")
		b.t.Fatalf("%s is not %s within %v:\n%s", name, state, within, out)
	}
}

// file returns the text of a file of the test; empty: no such file.
func (b *box) file(name string) string {
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(data)
}

// lines returns the lines of a file of the test.
func (b *box) lines(name string) []string {
	return strings.FieldsFunc(b.file(name), func(r rune) bool { return r == '\n' })
}

// exitCode returns the exit code of a command, 128+n for signal n.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return exit.ExitCode()
	}
	return -1
}

// lastOf returns the end of a text.
func lastOf(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}
