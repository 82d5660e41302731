//go:build container

package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// in runs a command as root in the root file system and the namespaces of the box.
func (b *matrixBox) in(env map[string]string, command ...string) (string, error) {
	args := []string{"-t", strconv.Itoa(b.init), "-m", "-p", "-n", "-r", "-w", "env", "-i", "PATH=/usr/bin"}
	for name, value := range env {
		args = append(args, name+"="+value)
	}
	out, err := exec.Command("nsenter", append(args, command...)...).CombinedOutput()
	return string(out), err
}

// must is in for a command that must succeed.
func (b *matrixBox) must(t *testing.T, command ...string) string {
	t.Helper()
	out, err := b.in(nil, command...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return out
}

// isReady waits until a Tomcat is RUNNING, and asks its application.
func (b *matrixBox) isReady(t *testing.T, service string, port int) {
	t.Helper()
	state := ""
	eventually(100*time.Second, 100*time.Millisecond, func() bool {
		state = b.state(service)
		return state == "RUNNING" || state == "FATAL" || state == "BACKOFF" || b.ended()
	})
	if state != "RUNNING" {
		out, _ := b.in(nil, "stoker", "status", service)
		t.Fatalf("%s is %s:\n%s", service, state, out)
	}
	if out := b.must(t, "wget", "-q", "-O-", fmt.Sprintf("http://127.0.0.1:%d/app/health", port)); out != "ok\n" {
		t.Errorf("the application answers %q", out)
	}
}

// namesApplication: the status has the application that failed, and the cause.
func (b *matrixBox) namesApplication(t *testing.T) {
	text := ""
	if !eventually(10*time.Second, 100*time.Millisecond, func() bool {
		text, _ = b.in(nil, "stoker", "status", "plain")
		return containsAll(text, []string{"degraded: application /bad failed to start", "com.example.MissingListener"})
	}) {
		t.Errorf("the status does not name the application:\n%s", text)
	}
}

// enforced compares the flags of a running JVM, and its command line.
func (b *matrixBox) enforced(t *testing.T, service string) {
	t.Helper()
	out := ""
	// Right after its start a JVM cannot be asked yet.
	if !eventually(20*time.Second, 100*time.Millisecond, func() (ok bool) {
		var err error
		out, err = b.in(nil, "stoker", "jvm", "flags", "--all", service)
		return err == nil
	}) {
		status, _ := b.in(nil, "stoker", "status", service)
		t.Errorf("%s: no flags: %s\n%s", service, out, status)
		return
	}
	for name, want := range matrixFlags {
		if got := flagOf(out, name); got != want && (got != "" || want != "false") { // a JVM may lack a collector
			t.Errorf("%s: %s is %q, want %s", service, name, got, want)
		}
	}
	argv := b.argv(t, service)
	if got := strings.Join(argv, " "); !slices.Contains(argv, "-Dmatrix.enforced=1") || strings.Contains(got, "-Dmatrix.enforced=0") {
		t.Errorf("%s: the property of the enforced layer is missing in %q", service, argv)
	}
}

// flagOf returns a value of the output of `stoker jvm flags --all`.
func flagOf(text, name string) string {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 4 && f[1] == name {
			return f[3]
		}
	}
	return ""
}

// toolsAnswer: root looks into a JVM of another user.
func (b *matrixBox) toolsAnswer(t *testing.T) {
	for command, want := range map[string]string{"threads": "\"main\"", "histo": "java.lang.String", "flags": " MaxHeapSize "} {
		if out := b.must(t, "stoker", "jvm", command, "plain"); !strings.Contains(out, want) {
			t.Errorf("stoker jvm %s does not show %s:\n%s", command, want, lastOf(out, 1000))
		}
	}
	b.must(t, "stoker", "jvm", "heapdump", "plain")
	dumps, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/var/lib/stoker/heapdumps/plain-*.hprof", b.init))
	if len(dumps) != 1 {
		t.Fatalf("heap dumps: %q", dumps)
	}
	if data := b.must(t, "head", "-c", "12", "/var/lib/stoker/heapdumps/"+filepath.Base(dumps[0])); data != "JAVA PROFILE" {
		t.Errorf("the heap dump begins with %q", data)
	}
}

// argv returns the command line of a service's process.
func (b *matrixBox) argv(t *testing.T, service string) []string {
	t.Helper()
	st, _ := b.status()
	svc, _ := st.service(service)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/proc/%d/cmdline", b.init, svc.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// recordedJava stands in for java: it prints its arguments, those from the variable first, as the JVM reads them.
const recordedJava = `#!/bin/sh
for arg in $JDK_JAVA_OPTIONS "$@"; do printf '%s\n' "$arg"; done
`

// plainEnv are the options of the Tomcat without a bypass, matrixOwn how they reach the JVM.
var (
	plainEnv  = map[string]string{"JAVA_OPTS": `-Dmatrix.java="a b"`, "CATALINA_OPTS": "-Dmatrix.catalina=1"}
	matrixOwn = []string{"-Dmatrix.java=a b", "-Dmatrix.catalina=1", "-Dmatrix.setenv=1"}
)

// argvOfScript compares the command line with what the catalina.sh of this Tomcat executes with the same variables. The differences that
// are intended: options of stoker's rule and of the enforced layer are added, JAVA_OPTS stands beside CATALINA_OPTS, and what the script
// has in JDK_JAVA_OPTIONS is on the command line, but not on Java 8, which ignores the variable.
func (b *matrixBox) argvOfScript(t *testing.T) {
	env := maps.Clone(plainEnv)
	maps.Copy(env, map[string]string{"CATALINA_HOME": b.home, "CATALINA_BASE": "/srv/plain", "JRE_HOME": "/srv/recorder"})
	out, err := b.in(env, b.home+"/bin/catalina.sh", "run")
	if err != nil {
		t.Fatalf("catalina.sh: %v\n%s", err, out)
	}
	var explained struct {
		Options struct {
			Options []struct{ Option, Layer string }
		}
	}
	if err := json.Unmarshal([]byte(b.must(t, "stoker", "jvm", "explain", "-o", "json", "plain")), &explained); err != nil {
		t.Fatal(err)
	}
	var added []string
	for _, o := range explained.Options.Options {
		if o.Layer != "user" {
			added = append(added, o.Option)
		}
	}
	if len(added) == 0 {
		t.Error("stoker jvm explain has no options")
	}
	module := func(arg string) bool { return strings.HasPrefix(arg, "--add-opens=") }
	split := func(argv []string, without []string) (rest, own, modules []string) {
		for _, arg := range argv {
			switch {
			case module(arg):
				modules = append(modules, arg)
			case slices.Contains(matrixOwn, arg):
				own = append(own, arg)
			case !slices.Contains(without, arg):
				rest = append(rest, arg)
			}
		}
		return rest, own, modules
	}
	got, gotOwn, gotModules := split(b.argv(t, "plain")[1:], added)
	want, wantOwn, wantModules := split(strings.Split(strings.TrimSpace(out), "\n"), nil)
	if b.pair.major() == 8 {
		wantModules = nil
	}
	for _, c := range []struct {
		name      string
		got, want []string
	}{{"rest", got, want}, {"own options", gotOwn, wantOwn}, {"modules", gotModules, wantModules}} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s\n got %q\nwant %q", c.name, c.got, c.want)
		}
	}
}
