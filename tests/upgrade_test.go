//go:build container

package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowWriter is writerScript at 1 MB/s, so that no line is lost for lack of speed.
func slowWriter() string { return strings.ReplaceAll(writerScript, "10e6", "1e6") }

// versions is the output of `stoker version -o json`.
type versions struct {
	Version string `json:"version"`
	Running *struct {
		Supervisor struct {
			Version  string `json:"version"`
			Protocol int    `json:"protocol"`
			Pid      int    `json:"pid"`
			Path     string `json:"path"`
		} `json:"supervisor"`
		Fallback *struct {
			Version string `json:"version"`
			Reason  string `json:"reason"`
		} `json:"fallback"`
	} `json:"running"`
}

// versions retries until a supervisor answers.
func (b *box) versions() versions {
	b.t.Helper()
	var v versions
	await(b.t, 20*time.Second, "an answer about the versions", func() bool {
		out, err := b.run("version", "-o", "json")
		v = versions{}
		return err == nil && json.Unmarshal([]byte(out), &v) == nil && v.Running != nil
	})
	return v
}

// goProgram returns the go command that built the program under test.
func goProgram(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("../scripts/go.sh").Output()
	if err != nil {
		lacking(t, "there is no Go to build with")
	}
	return strings.TrimSpace(string(out))
}

// build builds a program with linker variables.
func build(t testing.TB, dir, pkg string, env []string, vars string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stoker")
	cmd := exec.Command(goProgram(t), "build", "-buildvcs=false", "-ldflags", "-s -w "+vars, "-o", out, pkg)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, text)
	}
	return out
}

// other builds the current source with another version.
func other(t testing.TB) string {
	t.Helper()
	return build(t, "..", "./cmd/stoker", nil, "-X main.version=other")
}

// brokenSource behaves like stoker until it is the supervisor.
const brokenSource = `package main

import (
	"fmt"
	"os"
	"time"
)

var mode string

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		if mode == "mute" {
			time.Sleep(time.Hour)
		}
		fmt.Println(map[string]string{"stranger": "1.2.3"}[mode] + "{\"version\": \"broken\"}")
		return
	}
	if mode == "hangs" {
		time.Sleep(time.Hour)
	}
	os.Exit(3)
}
`

func broken(t testing.TB, mode string, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": brokenSource, "go.mod": "module broken\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return build(t, dir, ".", env, "-X main.mode="+mode)
}

// writing is a box with a service that writes numbered lines, which are checked.
type writing struct {
	*box
	lines numbered
	pid   int
	read  chan struct{}
}

func newWriting(t *testing.T) *writing {
	dir := t.TempDir()
	w := &writing{read: make(chan struct{})}
	w.box = newBox(t, boxOptions{dir: dir, raw: true, config: fmt.Sprintf("services: {writer: {command: [%s]}}\n",
		script(t, dir, "writer.pl", slowWriter()))})
	go func() { w.lines.follow(w.out); close(w.read) }() // ends with the box
	w.awaitState("writer", "RUNNING", 10*time.Second)
	w.pid = w.servicePid("writer")
	return w
}

func (b *box) servicePid(name string) int {
	b.t.Helper()
	svc, err := newAPIClient(b.socket).service(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return svc.Pid
}

// check checks that the service has the same process and every line came once.
func (w *writing) check() {
	w.t.Helper()
	if now := w.servicePid("writer"); now != w.pid {
		w.t.Errorf("the service was pid %d and is %d", w.pid, now)
	}
	if out, err := w.run("stop", "writer"); err != nil {
		w.t.Fatalf("cannot stop the writer: %v: %s", err, out)
	}
	var total uint64
	var most, noise, rate float64
	var long int
	if n, err := fmt.Sscan(w.file("written"), &total, &most, &noise, &long, &rate); n != 5 {
		w.t.Fatalf("the writer's report is %q: %v", w.file("written"), err)
	}
	eventually(10*time.Second, 10*time.Millisecond, func() bool { return w.lines.lastLine() >= total })
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	l := &w.lines
	w.t.Logf("%d lines at %.2f MB/s, the longest write %.1f ms; read %d, %d missing, %d repeated, %d broken", total, rate, most, l.read,
		l.missing, l.repeated, len(l.broken))
	if l.read != total || l.missing != 0 || l.repeated != 0 || len(l.broken) != 0 {
		w.t.Errorf("of %d lines %d were read, %d are missing, %d came twice, broken are %q", total, l.read, l.missing, l.repeated, l.broken)
	}
	if most > 500 {
		w.t.Errorf("a write took %.1f ms", most)
	}
}

// Upgrade to another version and back while a service writes.
func TestUpgradeToAnotherVersionAndBack(t *testing.T) {
	next := other(t)
	w := newWriting(t)
	here := w.versions()
	if out, err := w.run("upgrade", "--check", next); err != nil || !strings.Contains(out, "candidate:  other, protocol 2, from "+next) {
		t.Errorf("--check: %v\n%s", err, out)
	}
	out, err := w.run("upgrade", next)
	if err != nil || !strings.Contains(out, "stoker other supervises now (it was "+here.Version+")") {
		t.Errorf("upgrade: %v\n%s", err, out)
	}
	w.wantSupervisor("other")
	pass(time.Second) // the new supervisor works for a while
	syscall.Kill(w.supervisor(), syscall.SIGKILL)
	w.wantSupervisor("other") // still the new version after a kill
	syscall.Kill(w.supervisor(), syscall.SIGKILL)
	v := w.versions()
	if v.Running.Supervisor.Version != here.Version || v.Running.Fallback == nil || v.Running.Fallback.Version != "other" ||
		v.Running.Fallback.Reason != "ended 2 times within its first minute, the last time with killed by signal 9 (killed)" {
		t.Errorf("after it died twice: %+v", v.Running)
	}
	// And an upgrade to the same version.
	if out, err := w.run("upgrade", stoker(t)); err != nil {
		t.Errorf("upgrade: %v\n%s", err, out)
	}
	if v := w.versions(); v.Running.Supervisor.Path != stoker(t) || v.Running.Fallback != nil {
		t.Errorf("after an upgrade to the same: %+v", v.Running)
	}
	if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", w.supervisor())); string(name) != "stoker\n" {
		t.Errorf("ps calls the supervisor %q", name)
	}
	w.check()
	w.signal(syscall.SIGTERM)
	if code := w.wait(15 * time.Second); code != 0 {
		t.Errorf("the container's code is %d", code)
	}
}

// wantSupervisor waits until one of that version answers.
func (b *box) wantSupervisor(version string) {
	b.t.Helper()
	await(b.t, 10*time.Second, "a supervisor of version "+version, func() bool {
		out, err := b.run("status", "-o", "json")
		var st struct {
			Version string `json:"version"`
		}
		return err == nil && json.Unmarshal([]byte(out), &st) == nil && st.Version == version
	})
}

// A binary that fails as supervisor is rolled back, and the operator gets an error.
func TestUpgradeToABrokenOne(t *testing.T) {
	t.Parallel()
	w := newWriting(t)
	for mode, want := range map[string]string{
		"dies":  "it ended 2 times within its first minute, the last time with exit code 3",
		"hangs": "it did not report in time that it works",
	} {
		from := time.Now()
		out, err := w.run("upgrade", broken(t, mode))
		if exitCode(err) != 1 || !strings.Contains(out, "cannot upgrade to broken: "+want) {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
		t.Logf("%s: known after %v", mode, time.Since(from))
	}
	missing, counted := uint64(0), uint64(0)
	if !eventually(10*time.Second, 50*time.Millisecond, func() bool { // a gap is seen with the next line
		w.lines.mu.Lock()
		missing = w.lines.missing
		w.lines.mu.Unlock()
		svc, err := newAPIClient(w.socket).service("writer")
		if err != nil || svc.Output == nil || svc.Pid != w.pid {
			return false
		}
		counted = svc.Output.LostLines + svc.Output.DroppedLines
		return counted == missing
	}) {
		t.Errorf("%d lines are missing, %d are counted", missing, counted)
	}
}

// A file that is not a stoker of this machine, or that others could change, is refused.
func TestUpgradeRefuses(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{config: "services: {s: {command: [sleep, '1000']}}\n"})
	b.awaitState("s", "RUNNING", 10*time.Second)
	copied := func(mode os.FileMode, uid int) string {
		path := filepath.Join(t.TempDir(), "stoker")
		data, err := os.ReadFile(stoker(t))
		if err == nil {
			err = os.WriteFile(path, data, 0o755)
		}
		if err == nil {
			err = os.Chown(path, uid, 0)
		}
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o755); err != nil {
		t.Fatal(err)
	}
	before := b.supervisor()
	for path, want := range map[string]string{
		"/nowhere/stoker":                 "no such file",
		t.TempDir():                       "not a regular file",
		fifo:                              "not a regular file",
		script(t, b.dir, "script.sh", ""): "",
		copied(0o644, 0):                  "not executable",
		copied(0o775, 0):                  "can be changed by others",
		copied(0o757, 0):                  "can be changed by others",
		copied(0o755, 4711):               "can be changed by its owner",
		"/bin/true":                       "its version command",
		broken(t, "stranger"):             "its version command printed",
		broken(t, "x", "GOARCH=arm64"):    "no program of this machine",
		broken(t, "mute"):                 "printed no version within 10s",
	} {
		out, err := b.run("upgrade", path)
		if exitCode(err) != 1 || !strings.Contains(out, want) || !strings.Contains(out, "cannot upgrade to "+path) {
			t.Errorf("%s (%s): %v\n%s", path, want, err, out)
		}
	}
	if now := b.supervisor(); now != before {
		t.Errorf("the supervisor was pid %d and is %d", before, now)
	}
	if out, err := exec.Command("setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "env", "STOKER_SOCKET="+b.socket, stoker(t),
		"upgrade").CombinedOutput(); err == nil {
		t.Errorf("a stranger may upgrade:\n%s", out)
	}
	// If memory may not be executed, the file itself is executed.
	if err := exec.Command("nsenter", "-t", fmt.Sprint(b.init), "-p", "-m", "sh", "-c",
		"echo 2 >/proc/sys/vm/memfd_noexec").Run(); err != nil {
		t.Skipf("vm.memfd_noexec cannot be set here: %v", err)
	}
	path := copied(0o755, 0)
	if out, err := b.run("upgrade", path); err != nil {
		t.Errorf("with vm.memfd_noexec=2: %v\n%s", err, out)
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.supervisor())); err != nil || exe != path {
		t.Errorf("with vm.memfd_noexec=2 the supervisor runs from %s, %v", exe, err)
	}
}

// The default is the file of the running binary, which was replaced meanwhile as docker cp does.
// Later changes of the file have no effect.
func TestUpgradeInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "stoker")
	install := func(from string) {
		t.Helper()
		in, err := os.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		_ = os.Remove(path) // there may be none
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := io.Copy(out, in); err != nil {
			t.Fatal(err)
		}
	}
	install(stoker(t))
	b := newBox(t, boxOptions{program: path, config: "services: {s: {command: [sleep, '1000']}}\n"})
	b.awaitState("s", "RUNNING", 10*time.Second)
	pid := b.servicePid("s")
	install(other(t))
	if out, err := b.run("upgrade"); err != nil || !strings.Contains(out, "stoker other supervises now") {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o755); err != nil {
		t.Errorf("the file cannot be written over: %v", err)
	}
	syscall.Kill(b.supervisor(), syscall.SIGKILL)
	b.wantSupervisor("other")
	syscall.Kill(b.supervisor(), syscall.SIGKILL)
	if v := b.versions(); v.Running.Fallback == nil {
		t.Errorf("the other one died twice: %+v", v.Running)
	}
	if out, err := b.run("upgrade"); exitCode(err) != 1 || !strings.Contains(out, "no program of this machine") {
		t.Errorf("upgrade to rubbish: %v\n%s", err, out)
	}
	if now := b.servicePid("s"); now != pid {
		t.Errorf("the service was pid %d and is %d", pid, now)
	}
}
