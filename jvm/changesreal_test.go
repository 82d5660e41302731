package jvm

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// realJVM is one in the usr/lib/jvm of STOKER_TEST_JVM_ROOT, a root file system, in which it is run.
type realJVM struct {
	root, java string
	Target
	values map[string]string // of flags, as printed
}

// realJVMs returns those of STOKER_TEST_JVM_ROOT, which only root can run. The JVMs do without /proc.
func realJVMs(t *testing.T) []*realJVM {
	t.Helper()
	root := os.Getenv("STOKER_TEST_JVM_ROOT")
	if root == "" {
		t.Skip("STOKER_TEST_JVM_ROOT names no root file system with JVMs in usr/lib/jvm")
	}
	homes, err := filepath.Glob(root + "/usr/lib/jvm/[^.]*")
	if err != nil || len(homes) == 0 {
		t.Fatalf("no JVM in %s: %v", root, err)
	}
	var all []*realJVM
	for _, home := range homes {
		j := &realJVM{root: root, java: strings.TrimPrefix(home, root) + "/bin/java"}
		if _, err := os.Stat(home + "/jre/bin/java"); err == nil {
			j.java = strings.TrimPrefix(home, root) + "/jre/bin/java"
		}
		out, _ := j.run("-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions", "-XX:+PrintFlagsFinal")
		j.Flags, j.values = map[string]FlagInfo{}, map[string]string{}
		for line := range strings.Lines(out) {
			if _, version, ok := strings.Cut(line, ` version "`); ok {
				j.JavaVersion, _, _ = strings.Cut(version, `"`)
				j.JavaMajor = majorOf(j.JavaVersion)
			}
			f := strings.Fields(line)
			if len(f) < 4 || !strings.HasSuffix(f[2], "=") {
				continue
			}
			_, kind, _ := strings.Cut(line, "{")
			j.Flags[f[1]] = FlagInfo{Type: f[0], Kind: kind}
			if !strings.HasPrefix(f[3], "{") {
				j.values[f[1]] = f[3]
			}
		}
		if j.JavaMajor == 0 || len(j.Flags) < 500 {
			t.Fatalf("cannot ask %s: %s", j.java, out)
		}
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *realJVM) int { return a.JavaMajor - b.JavaMajor })
	return all
}

// run starts the JVM with options and -version and returns its output.
func (j *realJVM) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.java, append(slices.Clone(args), "-version")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: j.root}
	cmd.Dir, cmd.Env = "/tmp", []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// verdict is what becomes of an option.
type verdict string

const (
	taken      verdict = "taken"
	deprecated verdict = "taken with a warning"
	ignored    verdict = "ignored with a warning"
	refused    verdict = "refused"
	unsure     verdict = "perhaps refused"
)

// flag says what the JVM does with a flag. That its value or a combination is refused does not count.
func (j *realJVM) flag(name string) (verdict, string) {
	arg := "-XX:+" + name
	if f, ok := j.Flags[name]; ok && f.typ() != boolFlag {
		arg = j.written(name)
	} else if known := newCatalog()[name]; !ok && known.typ != boolFlag && known.typ != anyFlag {
		arg = "-XX:" + name + "=1"
	}
	out, _ := j.run("-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions", arg)
	return verdictOf(out, name), out
}

// verdictOf reads the JVM's messages about an option.
func verdictOf(out, name string) verdict {
	v := taken
	for line := range strings.Lines(out) {
		low := strings.ToLower(line)
		switch {
		case strings.HasPrefix(low, "unrecognized"), strings.Contains(low, "unrecognized option"),
			strings.HasPrefix(low, "error: vm option") && strings.Contains(low, "debug version"):
			return refused
		case !strings.Contains(line, name) || !strings.Contains(low, "warning"):
		case strings.Contains(low, "ignoring "), strings.Contains(low, "support was removed"):
			v = ignored
		case strings.Contains(low, "deprecated"), strings.Contains(low, "scheduled for removal"):
			v = deprecated
		}
	}
	return v
}

// ours is the verdict of Render.
func ours(target Target, args ...string) verdict {
	r, _ := Render(Input{Target: target, NoSizing: true, User: ParseArgs("u", args)})
	for _, p := range r.Errors {
		if VersionDependent(p.Code) {
			return refused
		}
	}
	for _, p := range r.Warnings {
		switch {
		case p.Code == UnknownOption:
			return unsure
		case p.Code != Deprecated:
		case strings.Contains(p.Message, "does nothing"):
			return ignored
		default:
			return deprecated
		}
	}
	return taken
}

// TestFlagsOnRealJVMs compares the verdict on each flag that is known with that of each JVM: with its list of flags, and by the tables alone. Run
// it as root with a root file system that has /proc:
//
//	unshare -m sh -c 'mount -t proc proc $ROOT/proc && STOKER_TEST_JVM_ROOT=$ROOT go test ./jvm -run RealJVMs -v'
func TestFlagsOnRealJVMs(t *testing.T) {
	jvms, catalog := realJVMs(t), newCatalog()
	var compared, mayBe, differ int
	var mutex sync.Mutex
	compare := func(j *realJVM, name string, want verdict, out string) {
		arg := "-XX:+" + name
		if typ := j.typeOf(name, catalog); typ != boolFlag && typ != anyFlag {
			arg = "-XX:" + name + "=1"
		}
		mutex.Lock()
		defer mutex.Unlock()
		for _, flags := range []map[string]FlagInfo{j.Flags, nil} {
			got := ours(Target{JavaMajor: j.JavaMajor, JavaVersion: j.JavaVersion, Flags: flags}, arg)
			compared++
			if flags == nil && got == unsure && want == refused {
				mayBe++
			} else if got != want {
				differ++
				t.Errorf("Java %d, list at hand %t, %s: %s, want %s: %.200q", j.JavaMajor, flags != nil, arg, got, want, firstWarning(out))
			}
		}
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, 3)
	for _, j := range jvms {
		var printed []string
		for _, name := range slices.Sorted(maps.Keys(catalog)) {
			_, own := j.Flags[name]
			switch {
			case name == "DumpSharedSpaces" || name == "PauseAtStartup": // never allowed; waits
			case strings.Contains(otherFlags, " "+name) && catalog[name].change == (change{}): // of other ports and vendors
			case own && catalog[name].change == (change{}):
				printed = append(printed, name)
			default:
				slots <- struct{}{}
				wait.Go(func() { // ends with the JVM
					defer func() { <-slots }()
					want, out := j.flag(name)
					compare(j, name, want, out)
				})
			}
		}
		for batches := slices.Collect(slices.Chunk(printed, 100)); len(batches) > 0; {
			batch := batches[0]
			batches = batches[1:]
			args := []string{"-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions"}
			for _, name := range batch {
				args = append(args, j.written(name))
			}
			out, err := j.run(args...)
			if err != nil && len(batch) > 1 { // some do not start with their own default
				batches = append(batches, batch[:len(batch)/2], batch[len(batch)/2:])
				continue
			}
			for _, name := range batch {
				compare(j, name, verdictOf(out, name), out)
			}
		}
	}
	wait.Wait()
	t.Logf("%d flags on %d JVMs, %d verdicts compared, %d of them that a refused flag may be refused, %d differ", len(catalog), len(jvms), compared,
		mayBe, differ)
}

// typeOf is how the JVM or the tables have the flag written.
func (j *realJVM) typeOf(name string, c catalog) flagType {
	if f, ok := j.Flags[name]; ok {
		return f.typ()
	}
	return c[name].typ
}

// written is a flag with the value that the JVM has printed.
func (j *realJVM) written(name string) string {
	switch value := j.values[name]; {
	case j.Flags[name].typ() != boolFlag:
		return "-XX:" + name + "=" + value
	case value == "true":
		return "-XX:+" + name
	}
	return "-XX:-" + name
}

// optionValues are what options need behind them.
var optionValues = map[string]string{
	"-Xmx": "64m", "-mx": "64m", "-Xms": "16m", "-ms": "16m", "-Xmn": "8m", "-Xss": "1m", "-ss": "1m", "-Xoss": "1m", "-Xmaxjitcodesize": "64m",
	"-Xmaxf": "0.7", "-Xminf": "0.4", "-Xshare:": "auto", "-Xverify:": "all", "-XshowSettings:": "vm", "-XX:": "+UseSerialGC", "-D": "a=b",
	"-verbose:": "gc", "-ea:": "a.b", "-enableassertions:": "a.b", "-da:": "a.b", "-disableassertions:": "a.b", "-splash:": "none",
	"-Xbootclasspath/a:": "/x", "-Xbootclasspath/p:": "/x", "-Xbootclasspath:": "/usr/lib/jvm/java-8-openjdk-amd64/jre/lib/rt.jar", "-Xloggc:": "/tmp/gc.log", "-Xlog:": "gc",
	"-agentlib:": "hprof=help", "-agentpath:": "/x.so", "-javaagent:": "/x.jar", "-Xrun": "hprof:help",
	"-Djava.ext.dirs": "=/x", "-Djava.endorsed.dirs": "=/x", "-Djava.security.manager": "=default", "-cp": " /x", "-classpath": " /x",
	"--class-path": "=/x", "--module-path": "=/x", "-p": " /x", "--upgrade-module-path": "=/x", "--add-modules": "=java.base",
	"--limit-modules": "=java.base", "--add-opens": "=java.base/java.lang=ALL-UNNAMED", "--add-exports": "=java.base/sun.nio.ch=ALL-UNNAMED",
	"--add-reads": "=java.base=ALL-UNNAMED", "--patch-module": "=java.base=/x", "--illegal-access": "=permit",
	"--enable-native-access": "=ALL-UNNAMED", "--finalization": "=enabled", "--sun-misc-unsafe-memory-access": "=allow",
	"--illegal-native-access": "=allow",
}

// TestOptionsOnRealJVMs does for the other options what TestFlagsOnRealJVMs does for flags.
func TestOptionsOnRealJVMs(t *testing.T) {
	jvms, compared := realJVMs(t), 0
	for _, ch := range readChanges(optionChangesText) {
		if strings.HasPrefix(ch.name, "-agent") || ch.name == "-javaagent:" || ch.name == "-Xrun" {
			continue // they load a library
		}
		value, named := optionValues[ch.name]
		if ch.form != "exact" && !named {
			t.Errorf("%s needs a value here", ch.name)
		}
		args := strings.Fields(ch.name + value)
		for _, j := range jvms {
			out, err := j.run(args...)
			want := taken
			low := strings.ToLower(out)
			switch {
			case err != nil:
				want = refused
			case strings.Contains(low, "ignoring option"), strings.Contains(low, "support was removed"):
				want = ignored
			case strings.Contains(low, "deprecated"):
				want = deprecated
			}
			compared++
			if got := ours(j.Target, args...); got != want {
				t.Errorf("Java %d, %s: %s, want %s: %.300q", j.JavaMajor, args, got, want, out)
			}
		}
	}
	t.Logf("%d verdicts compared", compared)
}

// firstWarning is the line of an output that says most.
func firstWarning(out string) string {
	for line := range strings.Lines(out) {
		if low := strings.ToLower(line); strings.Contains(low, "warning") || strings.Contains(low, "unrecognized") {
			return strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("%.100s", out)
}
