package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// The test binary is the init, the supervisor and the test: real processes need all three.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == execshim.Command:
		os.Exit(execshim.Run())
	case os.Args[0] == "test-init":
		sigs := pid1.Catch()
		os.Exit(pid1.Run(sigs, pid1.Options{Args: append([]string{"test-supervisor"}, os.Args[1:]...), Env: os.Environ(), Log: os.Stderr}))
	case os.Args[0] == "test-supervisor":
		perform(os.Args[1], os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// testHost starts sessions with a small environment.
type testHost struct{ m *proc.Manager }

func (h testHost) Prepare(spec Spec) (Launch, error) {
	return Launch{User: "tester", Spec: proc.Spec{Argv: spec.Command, Dir: "/",
		Env: append([]string{"PATH=" + os.Getenv("PATH"), "TERM=dumb", "PS1=> "}, spec.Env...)}}, nil
}

func (h testHost) Start(ctx context.Context, spec proc.Spec) (Process, error) {
	p, err := h.m.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (h testHost) OOMKills() (uint64, bool) { return 0, true }

// stage is what a script works with: the part of the supervisor.
type stage struct {
	*Manager
	m     *proc.Manager
	lives int
	dir   string
	gate  *access.Gate // of take-over only
}

// testConfig is the configuration of the tests.
func testConfig() Config {
	return Config{Enabled: true, Sessions: 16, SessionsPerClient: 8, Keep: time.Minute, Idle: time.Minute, MaxTime: time.Hour,
		Scrollback: "256KiB", Env: []string{"DIR", "X_*"}}
}

func tester() access.Identity {
	return access.Identity{Name: "token test", Grants: access.Exec, UID: -1, Pid: -1}
}

// scripts are the parts that the supervisor plays.
func scripts() map[string]func(*stage) {
	return map[string]func(*stage){"ends": playEnds, "hidden": playHidden, "output": playOutput, "input": playInput,
		"links": playLinks, "many": playMany, "kill-pipe": playKilled, "kill-tty": playKilled, "bench": playBench, "resume": playResume,
		"few": playFew, "tail": playTail, "idle": playIdle, "take-over": playTakeOver}
}

// perform runs a script as the supervisor.
func perform(name, dir string) {
	pid1.Catch()
	m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{Warn: func(s string) { fmt.Fprintln(os.Stderr, s) }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	m.Adopted()
	processes := map[string]Process{}
	for _, p := range rec.Processes {
		processes[p.ID()] = p
	}
	s := &stage{m: m, lives: rec.Starts, dir: dir}
	o := Options{Config: testConfig(), Host: testHost{m}, Store: m.FDStore(), Items: rec.Items, Processes: processes,
		Log: hclog.New(&hclog.LoggerOptions{Output: os.Stderr})}
	if name == "take-over" {
		s.gate = &access.Gate{}
		s.readTokens()
		o.Checker, o.Auditor = s.gate, saying{s}
	}
	s.Manager = New(o)
	scripts()[name](s)
	m.Final(0, 100*time.Millisecond)
	<-m.Gone()
	os.Exit(0)
}

// say notes a fact for the test.
func (s *stage) say(format string, args ...any) {
	f, _ := os.OpenFile(s.dir+"/said", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	fmt.Fprintf(f, format+"\n", args...)
	f.Close()
}

// want fails the test unless ok.
func (s *stage) want(ok bool, format string, args ...any) {
	if !ok {
		s.say("FAIL "+format, args...)
	}
}

// sh is the Spec of a shell command without a terminal.
func (s *stage) sh(script string) Spec {
	return Spec{Command: []string{"/bin/sh", "-c", script}, Env: []string{"DIR=" + s.dir}}
}

// open opens a session and holds it.
func (s *stage) open(spec Spec) (*Session, *Link) {
	sess, err := s.Open(context.Background(), spec, tester())
	if err == nil {
		var l *Link
		if l, err = sess.Attach(tester(), Attach{Mode: Hold, From: Everything()}); err == nil {
			return sess, l
		}
	}
	s.say("FAIL cannot open %q: %v", spec.Command, err)
	s.m.Final(1, 0)
	<-s.m.Gone()
	panic("gone")
}

// all reads a link to its end.
func (s *stage) all(l *Link) (stdout, stderr string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out [3]strings.Builder
	for {
		c, err := l.Next(ctx)
		if err == nil {
			out[c.Stream].Write(c.Data)
			continue
		}
		s.want(errors.Is(err, io.EOF), "the end of the output is %v", err)
		return out[1].String(), out[2].String()
	}
}

// until reads a link until a text comes.
func (s *stage) until(l *Link, text string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out strings.Builder
	for !strings.Contains(out.String(), text) {
		c, err := l.Next(ctx)
		if err != nil {
			s.say("FAIL no %q in %q: %v", text, out.String(), err)
			break
		}
		out.Write(c.Data)
	}
	return out.String()
}

// await waits until a condition is met.
func (s *stage) await(what string, ok func() bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(until) {
			s.say("FAIL %s", what)
			return
		}
	}
}

// exit waits for the end of a session.
func (s *stage) exit(sess *Session) Exit {
	select {
	case <-sess.Done():
		return *sess.Info().Exit
	case <-time.After(20 * time.Second):
		s.say("FAIL %s does not end", sess.ID())
		return Exit{}
	}
}

// die is a kill -9 of the supervisor.
func die() {
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

// alive reports whether a process runs.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// container runs a script below an init of its own and returns what it said.
func container(t testing.TB, script string, env ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"bash", "-c", `exec -a test-init "$0" "$@"`, exe, script, dir}
	if os.Getuid() == 0 {
		args = append([]string{"unshare", "-pfm", "--mount-proc", "--kill-child"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stderr, os.Stderr, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(9*time.Minute, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if !timer.Stop() {
		t.Error("it did not end within 9 minutes")
	}
	data, _ := os.ReadFile(filepath.Join(dir, "said"))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "FAIL") {
			t.Error(line)
		}
	}
	if err != nil || !slices.Contains(lines, "end") {
		t.Errorf("%v, said %.2000q", err, lines)
	}
	return lines
}
