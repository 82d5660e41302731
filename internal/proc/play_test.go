package proc

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/pid1"
	"golang.org/x/sys/unix"
)

// The test binary plays the init, the supervisor (a script by name) and the exec
// shim as well as the test.
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

// stage is what a script works with: the part of the supervisor.
type stage struct {
	m      *Manager
	rec    *Recovered
	dir    string
	output logs.Options // of what sh starts
	merge  bool         // its streams, too
}

// perform runs a script as the supervisor.
func perform(name, dir string) {
	pid1.Catch()
	opts := Options{Warn: func(s string) { fmt.Fprintln(os.Stderr, "warning:", s) }}
	sc, ok := scripts[name]
	if !ok {
		sc, ok = outputScripts()[name]
	}
	for _, more := range []map[string]play{surroundingScripts, memberScripts, cutScripts(), terminalScripts} {
		if !ok {
			sc, ok = more[name]
		}
	}
	if sc.opts != nil {
		sc.opts(&opts, dir)
	}
	m, rec, err := Connect(initproto.SocketFD, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	if ok && name != "kills" && name != "adopt" && !strings.HasPrefix(name, "cut") { // those say so themselves, at their moment
		m.Adopted()
	}
	s := &stage{m: m, rec: rec, dir: dir}
	code := sc.play(s)
	m.Logs.Flush(2 * time.Second)
	m.Final(code, 100*time.Millisecond)
	<-m.Gone()
	os.Exit(0)
}

type play struct {
	opts func(*Options, string)
	play func(*stage) int
}

// say notes a fact for the test.
func (s *stage) say(format string, args ...any) {
	f, _ := os.OpenFile(s.dir+"/said", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	fmt.Fprintf(f, format+"\n", args...)
	f.Close()
}

// die is a kill -9 of the supervisor at this very place.
func die() {
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

// sh starts a shell command whose output is captured in log "out".
func (s *stage) sh(id, script string) *Process {
	l, err := s.m.Logs.Open("out", s.output)
	if err != nil {
		s.say("log: %v", err)
	}
	p, err := s.m.Start(context.Background(), Spec{ID: id, Argv: []string{"/bin/sh", "-c", script}, Env: os.Environ(),
		Stdio: Stdio{Mode: Capture, Log: l, Merge: s.merge}})
	if err != nil {
		s.say("start %s: %v", id, err)
		os.Exit(1)
	}
	return p
}

// status waits for the end of p.
func status(p *Process) int {
	<-p.Exited()
	x, _ := p.Exit()
	p.Done()
	return x.Status()
}

// process finds an adopted process.
func (s *stage) process(id string) *Process {
	for _, p := range s.rec.Processes {
		if p.ID() == id {
			return p
		}
	}
	return nil
}

// first says whether this is the first supervisor of the container.
func (s *stage) first() bool { return s.rec.Starts == 1 }

// result is what a container left behind.
type result struct {
	code           int
	said           string
	stdout, stderr string
	dir            string
}

// playCommand makes the command of a script under an init that is PID 1 when we
// are root. "-u", UID makes the init another user; "-n", SOFT:HARD limits its
// open files; "-c", -NAME takes a capability from it; "-s", NAME puts a
// set-user-ID copy of a program into the directory; "-w" a script there that
// waits for a file.
func playCommand(t testing.TB, name, dir string, how ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// What we are started with must not reach a child: ignored and blocked signals.
	cmd := exec.Command("env", "--ignore-signal=HUP,INT,PIPE,USR1,TSTP,TTOU", "--block-signal=TERM,USR2,WINCH", "bash", "-c",
		`exec -a test-init "$0" "$@"`, exe, name, dir)
	for k := 0; k < len(how); k += 2 {
		switch how[k] {
		case "-u":
			os.Chmod(dir, 0o777)
			os.Chmod(filepath.Dir(dir), 0o755)
			exe := copyOf(t, exe)
			cmd = exec.Command("bash", "-c", `exec prlimit --nofile=1024 setpriv --reuid `+how[k+1]+
				` --regid 1000 --clear-groups bash -c 'exec -a test-init "$0" "$@"' "$@"`, "-", exe, name, dir)
		case "-c":
			cmd = exec.Command("setpriv", append([]string{"--bounding-set", how[k+1]}, cmd.Args...)...)
		case "-s":
			installSetuid(t, dir, how[k+1])
		case "-w":
			os.WriteFile(dir+"/wait", []byte("while [ ! -s $1 ]; do sleep 0.01; done\n"), 0o644)
		case "-n":
			cmd = exec.Command("prlimit", append([]string{"--nofile=" + how[k+1]}, cmd.Args...)...)
		}
	}
	if os.Getuid() == 0 && name != "init-killed" { // the kernel would kill everything
		cmd = exec.Command("unshare", append([]string{"-pf", "--mount-proc", "--kill-child"}, cmd.Args...)...)
	}
	return cmd
}

// runPlay runs a script; how is playCommand's.
func runPlay(t testing.TB, name string, how ...string) result {
	t.Helper()
	dir := t.TempDir()
	cmd := playCommand(t, name, dir, how...)
	var out, errs strings.Builder
	cmd.Stderr = &errs
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if name == "stalled" {
		waitFile(dir + "/read")
	}
	io.Copy(&out, stdout)
	cmd.Wait()
	said, _ := os.ReadFile(filepath.Join(dir, "said"))
	r := result{cmd.ProcessState.ExitCode(), string(said), out.String(), errs.String(), dir}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("code %d\nsaid:\n%s\nstderr:\n%s", r.code, r.said, r.stderr)
		}
	})
	return r
}

// installSetuid copies a program of the machine into dir, with root's rights.
func installSetuid(t testing.TB, dir, name string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(dir+"/"+name, data, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir+"/"+name, 0o755|os.ModeSetuid)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyOf puts the test binary where every user can execute it.
func copyOf(t testing.TB, exe string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "proc-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	data, err := os.ReadFile(exe)
	if err == nil {
		err = os.WriteFile(dir+"/play", data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir + "/play"
}

// want checks what the script said, line by line.
func (r result) want(t testing.TB, lines ...string) {
	t.Helper()
	if want := strings.Join(lines, "\n") + "\n"; r.said != want {
		t.Errorf("said %q, want %q", r.said, want)
	}
}
