package hotspot

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/jvm"
)

func TestDryRun(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"-Xmx1g -javaagent:/a.jar=x -agentlib:jdwp=transport=dt_socket -agentpath:/x.so -Xrunhprof -Da=b", "-Xmx1g -Da=b"},
		{"-Dcom.sun.management.jmxremote.port=1 -Dcom.sun.management.jmxremote -XX:+ManagementServer -Dcom.sun.x=1", "-Dcom.sun.x=1"},
		{"-XX:+AlwaysPreTouch -XX:-AlwaysPreTouch -XX:StartFlightRecording=filename=a -XX:+UseG1GC", "-XX:-AlwaysPreTouch -XX:+UseG1GC"},
		{"--add-opens java.base/java.lang=ALL-UNNAMED", "--add-opens java.base/java.lang=ALL-UNNAMED"},
		{"-Xlog:gc*:file=/logs/gc.log:time:filecount=5", "-Xlog:gc*:stderr -Xlog:disable -Xlog:all=warning:stderr"},
		{"-Xlog:gc:gc.log -Xlog::x -Xlog:safepoint -Xlog:gc:stdout:time",
			"-Xlog:gc:stderr -Xlog:all:stderr -Xlog:safepoint -Xlog:gc:stdout:time -Xlog:disable -Xlog:all=warning:stderr"},
		{"-Xshare:on -XX:SharedArchiveFile=app.jsa -XX:+RequireSharedSpaces -Xshare:auto", "-Xshare:auto"},
		{"-XX:+UseZGC -Xms4g", "-XX:+UseZGC -Xms4g -Xms8m"},
		{"-Djava.security.manager -Djava.security.manager=allow -Djava.security.manager=a.B -Djava.system.class.loader=a.C",
			"-Djava.security.manager -Djava.security.manager=allow"},
	} {
		want := strings.Fields(c.want + " -XX:-UsePerfData -XX:+PrintFlagsFinal -version")
		if got := DryRun(strings.Fields(c.options)); !slices.Equal(got, want) {
			t.Errorf("%s:\n%q, want\n%q", c.options, got, want)
		}
	}
}

// answers is a Runner that counts its runs.
type answers struct {
	runs   int
	code   int
	output string
	err    error
}

func (a *answers) run(context.Context, []string) (int, string, error) {
	a.runs++
	return a.code, a.output, a.err
}

func TestCheckIsRemembered(t *testing.T) {
	java := t.TempDir() + "/java"
	touch := func(content string) {
		if err := os.WriteFile(java, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	touch("one")
	a, c := &answers{output: "size_t MaxHeapSize = 5 {product} {default}\n"}, new(Checker)
	check := func(user string, options ...string) error {
		t.Helper()
		flags, err := c.Check(t.Context(), java, user, options, a.run)
		if err == nil && flags["MaxHeapSize"].Value != "5" {
			t.Errorf("%v", flags)
		}
		return err
	}
	for k, step := range []struct {
		user, option string
		runs         int
	}{{"0", "-Xmx1g", 1}, {"0", "-Xmx1g", 1}, {"1", "-Xmx1g", 2}, {"0", "-Xmx2g", 3}, {"0", "-Xmx1g", 3}} {
		if err := check(step.user, step.option); err != nil || a.runs != step.runs {
			t.Errorf("step %d: %v, %d runs, want %d", k, err, a.runs, step.runs)
		}
	}
	touch("another one")
	if err := check("0", "-Xmx1g"); err != nil || a.runs != 4 {
		t.Errorf("another JVM: %v, %d runs", err, a.runs)
	}
	a.code, a.output = 1, "Unrecognized VM option 'X'\n"
	for runs := range 2 {
		var refused *StartError
		if err := check("0", "-XX:+X"); !errors.As(err, &refused) || refused.Option != "-XX:X" || a.runs != 5+runs {
			t.Errorf("%v, %d runs", err, a.runs)
		}
	}
	a.code, a.output = 0, "size_t MaxHeapSize = 5 {product} {default}\n"
	for k := range 2 * maxChecks {
		if err := check("0", strings.Repeat("x", k)); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.known) == 0 || len(c.known) > maxChecks {
		t.Errorf("%d are remembered", len(c.known))
	}
}

func TestWithAllFlags(t *testing.T) {
	got := withAllFlags([]string{"-XX:-UnlockDiagnosticVMOptions", "-Xmx1g", "-XX:-UnlockExperimentalVMOptions"})
	if want := strings.Fields("-XX:+UnlockDiagnosticVMOptions -XX:+UnlockExperimentalVMOptions -Xmx1g"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// One run of a JVM tells of its build too, whatever its options were.
func TestBuildIsLearned(t *testing.T) {
	java := t.TempDir() + "/java"
	if err := os.WriteFile(java, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	const printed = "bool UnlockDiagnosticVMOptions := true {diagnostic}\nsize_t InitialHeapSize = 5 {product} {default}\n"
	c := new(Checker)
	if b, ok := c.Known(java); ok {
		t.Errorf("known before: %+v", b)
	}
	a := &answers{output: printed + "openjdk version \"1.8.0_504\"\nOpenJDK Runtime Environment (build 1.8.0_504-b08)\n"}
	flags, err := c.Check(t.Context(), java, "0", []string{"-XX:+UseZGC"}, a.run)
	if err != nil || len(flags) != 0 { // their values are of the dry run
		t.Errorf("%v, %v", flags, err)
	}
	b, err := c.Ask(t.Context(), java, "1", a.run)
	if err != nil || a.runs != 1 || b.Version != "1.8.0_504" || len(b.Flags) != 2 ||
		b.Flags["UnlockDiagnosticVMOptions"] != (jvm.FlagInfo{Type: "bool", Kind: "diagnostic"}) {
		t.Errorf("%d runs: %+v, %v", a.runs, b, err)
	}
	if j := (JVM{Note: "unknown"}).With(b.Version); j.Major != 8 || j.Version != b.Version || j.Note != "" {
		t.Errorf("%+v", j)
	}
	if j := (JVM{Version: "17.0.1", Major: 17}).With(b.Version); j.Major != 17 {
		t.Errorf("the release file is overridden: %+v", j)
	}
	a = &answers{code: 1, output: "Unrecognized VM option 'X'\n"}
	if b, err := new(Checker).Ask(t.Context(), java, "0", a.run); err == nil || b.Flags != nil {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestParseVersion(t *testing.T) {
	for output, want := range map[string]string{
		"openjdk version \"17.0.15\" 2025-04-15\n":                         "17.0.15",
		"Picked up X: -Da\njava version \"1.8.0_412\"\nJava(TM) SE\n":      "1.8.0_412",
		"openjdk version \"28-ea\" 2027-03-23\n":                           "28-ea",
		"ccstr Some = my version \"5\"\nopenjdk version \"21.0.1\" 2023\n": "21.0.1",
		"openjdk version \"21":                                             "", "": "",
	} {
		if got := parseVersion(output); got != want {
			t.Errorf("%q: %q, want %q", output, got, want)
		}
	}
}

// A failure that is not about the options is not a StartError.
func TestCheckProvesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		a    answers
		want string
	}{
		{"killed", answers{code: 137}, "ended with code 137"},
		{"no memory", answers{code: 1, output: "#\n# There is insufficient memory for the Java Runtime Environment to continue.\n"},
			"insufficient memory"},
		{"no threads", answers{code: 1, output: "Error occurred during initialization of VM\njava.lang.OutOfMemoryError: unable to create native thread\n"}, "native thread"},
		{"cannot be started", answers{err: errors.New("fork: no")}, "fork: no"},
		{"too slow", answers{output: "starting\n\x1b[2Jloading\n", err: context.DeadlineExceeded},
			`did not print its flags within 0s and wrote last: "\x1b[2Jloading"`},
		{"too slow and silent", answers{err: context.DeadlineExceeded}, "within 0s and wrote nothing"},
		{"another kind", answers{output: "openj9\n"}, "no flags"},
		{"a script", answers{code: 1, output: "usage: java\n"}, "ended with code 1: usage: java"},
		{"another code", answers{code: 2, output: "Unrecognized VM option 'X'\n"}, "ended with code 2"},
	} {
		_, err := new(Checker).Check(t.Context(), os.Args[0], "0", nil, c.a.run)
		var refused *StartError
		if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	slow := func(ctx context.Context, _ []string) (int, string, error) {
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > CheckTime {
			t.Error("there is no deadline")
		}
		return 0, "", ctx.Err()
	}
	_, _ = new(Checker).Check(t.Context(), os.Args[0], "0", nil, slow)
}
