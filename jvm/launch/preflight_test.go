package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// merged returns merged options of the user layer, one per line.
func merged(lines ...string) []jvm.Option {
	return jvm.Merge(nil, jvm.ParseFile("f", strings.Join(lines, "\n")), nil).Options
}

func TestRejectedOptionIsNamed(t *testing.T) {
	for _, c := range []struct {
		options []string
		refusal hotspot.StartupError
		want    string // the named options
	}{
		{[]string{"-Xmx1g", "-XX:+UseFoo"}, hotspot.StartupError{Option: "-XX:UseFoo", Message: "Unrecognized VM option 'UseFoo'"},
			`"-XX:+UseFoo" (user layer, f:2)`},
		{[]string{"-XX:MaxGCPauseMillis=0"}, hotspot.StartupError{Option: "-XX:MaxGCPauseMillis=0", Message: "Improperly"},
			`"-XX:MaxGCPauseMillis=0" (user layer, f:1)`},
		{[]string{"-XX:LogFile=x"}, hotspot.StartupError{Option: "-XX:LogFile", Message: "Error: VM option 'LogFile' is diagnostic"},
			`"-XX:LogFile=x" (user layer, f:1)`},
		{[]string{"-XX:CICompilerCount=1"}, hotspot.StartupError{Message: "CICompilerCount (1) must be at least 2"},
			`"-XX:CICompilerCount=1" (user layer, f:1)`},
		{[]string{"-Xms1g", "-Da=b", "-Xmx2g"}, hotspot.StartupError{
			Message: "Initial heap size set to a larger value than the maximum heap size"},
			`"-Xms1g" (user layer, f:1) and "-Xmx2g" (user layer, f:3)`},
		{[]string{"-XX:+UseSerialGC", "-XX:+UseNUMA"}, hotspot.StartupError{Message: "Multiple garbage collectors selected"},
			`"-XX:+UseSerialGC" (user layer, f:1)`},
		{[]string{"-Xss150k"}, hotspot.StartupError{Message: "The Java thread stack size specified is too small. Specify at least 136k"},
			`"-Xss150k" (user layer, f:1)`},
		{[]string{"--add-modules=nosuch"}, hotspot.StartupError{Message: "java.lang.module.FindException: Module nosuch not found"},
			`"--add-modules=nosuch" (user layer, f:1)`},
		{[]string{"-Xbootclasspath/p:x"}, hotspot.StartupError{Message: "-Xbootclasspath/p is no longer a supported option."},
			`"-Xbootclasspath/p:x" (user layer, f:1)`},
		{[]string{"-Da=b"}, hotspot.StartupError{Message: "something new"}, "them"},
	} {
		want := "cannot use the JVM options: cannot use " + c.want + ": the JVM says: " + c.refusal.Message + "\nhint: "
		if got := rejectedOptions(jvm.Result{Options: merged(c.options...)}, nil, c.refusal).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%q:\n%s, want\n%s", c.options, got, want)
		}
	}
}

// An argument that the kind of service adds is named too.
func TestRejectedArgumentOfTheKind(t *testing.T) {
	const opens = "--add-opens=java.base/java.lang=ALL-UNNAMED"
	made, refusal := jvm.Result{Options: merged("-Xmx1g")}, hotspot.StartupError{Option: opens, Message: "Unrecognized option: " + opens}
	got := rejectedOptions(made, []string{"-Xmx1g", opens}, refusal).Error()
	if want := "cannot use the JVM options: cannot use \"" + opens + "\" (of the service's kind): the JVM says: Unrecognized option: " + opens +
		"\nhint: this JVM may be too old or too new for the service"; got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if got := rejectedOptions(made, []string{"-Xmx1g"}, refusal).Error(); !strings.Contains(got, "cannot use them: the JVM says: ") {
		t.Error(got)
	}
}

// The reason of a warning is added if it agrees with the message of the JVM.
func TestRejectionIsNotContradicted(t *testing.T) {
	option := merged("-XX:+UseFoo")
	why := "there is no such flag"
	for _, c := range []struct {
		code, says string
		added      bool
	}{
		{jvm.UnknownOption, "Unrecognized VM option 'UseFoo'", true},
		{jvm.UnknownOption, "Error: VM option 'UseFoo' is diagnostic and must be enabled via -XX:+UnlockDiagnosticVMOptions.", false},
		{jvm.UnknownOption, "Error: VM option 'UseFoo' is experimental and must be enabled via -XX:+UnlockExperimentalVMOptions.", false},
		{jvm.UnknownOption, "Error: VM option 'UseFoo' is develop and is available only in debug version of VM.", false},
		{jvm.RemovedOption, "Unrecognized VM option 'UseFoo'", true},
		{jvm.RemovedOption, "UseFoo is no longer a supported option.", true},
		{jvm.RemovedOption, "Error: VM option 'UseFoo' is diagnostic and must be enabled via -XX:+UnlockDiagnosticVMOptions.", false},
		{jvm.UnknownOption, "Error: VM option 'UseFoo' is notproduct and is available only in debug version of VM.", false},
		{jvm.UnknownOption, "Improperly specified VM option 'UseFoo=1x'", false},
		{jvm.RemovedOption, "Missing +/- setting for VM option 'UseFoo'", false},
		{jvm.UnknownOption, "Unexpected +/- setting in VM option 'UseFoo'", false},
		{jvm.UnknownOption, "Improperly specified VM option 'UseFoo=9' (intx UseFoo=9 is outside the allowed range [ 0 ... 4 ])", false},
		{jvm.BadValue, "Unrecognized VM option 'UseFoo'", false},
		{jvm.Adjusted, "Unrecognized VM option 'UseFoo'", false},
	} {
		made := jvm.Result{Options: option, Warnings: []jvm.Problem{{Code: c.code, Message: "cannot use " + option[0].Named() + ": " + why}}}
		if got := rejectedOptions(made, nil, hotspot.StartupError{Option: "-XX:UseFoo", Message: c.says}).Error(); strings.Contains(got,
			why) != c.added {
			t.Errorf("%s: %s", c.code, got)
		}
	}
}

// A check that cannot run does not prevent the start.
func TestPreflightThatCannotRun(t *testing.T) {
	l := New(&service.Launcher{Config: config.Service{Java: config.Java{Main: "Main"}}}, jvm.Config{}, new(Shared), nil)
	checked := func() *plan {
		t.Helper()
		p := &plan{java: hotspot.JVM{Java: t.TempDir() + "/java"}, env: &service.Environment{}, sources: &sources{cfg: l.JVM,
			limits: jvm.Limits{Memory: 1 << 30, CPUs: 1}}}
		if err := l.checked(t.Context(), p); err != nil || p.report.flags != nil || p.options[len(p.options)-1] == "Main" {
			t.Errorf("%q, %v", p.options, err)
		}
		return p
	}
	if p := checked(); len(p.warnings) != 1 || !strings.HasSuffix(p.warnings[0], "; the service is started without that") {
		t.Errorf("%q", p.warnings)
	}
	l.JVM.Check = new(false)
	if p := checked(); len(p.warnings) > 0 {
		t.Errorf("turned off: %q", p.warnings)
	}
}

func TestDifferences(t *testing.T) {
	options := merged("-Xmx1g", "-XX:+UseG1GC", "-XX:ActiveProcessorCount=2")
	flags := hotspot.Flags{"MaxHeapSize": {Value: "536870912"}, "UseG1GC": {Value: "false"}, "ActiveProcessorCount": {Value: "2"}}
	want := []string{`"-Xmx1g" (user layer, f:1) becomes MaxHeapSize=536870912 in the JVM instead of 1073741824`,
		`"-XX:+UseG1GC" (user layer, f:2) becomes UseG1GC=false in the JVM instead of true`}
	if got := differences(options, flags, nil); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := differences(options, flags, hotspot.Flags{"MaxHeapSize": {Value: "536870912"},
		"UseG1GC": {Value: "true"}}); fmt.Sprint(got) != fmt.Sprint(want[1:]) {
		t.Errorf("already reported: %q", got)
	}
	if got := differences(options, hotspot.Flags{}, nil); got != nil {
		t.Errorf("flags that this JVM does not have: %q", got)
	}
}

// ownProcess is this process as a service.
type ownProcess struct{ supervisor.Process }

func (ownProcess) Pid() int                { return os.Getpid() }
func (ownProcess) Exited() <-chan struct{} { return nil }

func TestRunningProgramIsCompared(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	masked := service.Mask{}
	masked.Add("hidden-word")
	for _, c := range []struct {
		name, java string
		argv       []string
		want       string
	}{
		{"another argument", exe, append([]string{os.Args[0], "-Dx=hidden-word"}, os.Args[1:]...), "argument 1 is "},
		{"one more", exe, append(os.Args[:len(os.Args):len(os.Args)], "-Dpassword=secret"),
			fmt.Sprintf(`argument %d is missing, and should be "-Dpassword=***"`, len(os.Args))},
		{"another program", "/bin/sh", os.Args, "the program is " + exe + ", and should be "},
	} {
		// Nothing is waited for: the time is over.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := (&Launcher{shared: new(Shared)}).verify(&Report{JVM: hotspot.JVM{Java: c.java}, argv: c.argv}, masked)(ctx, ownProcess{})
		var wrong *supervisor.HealthIssue
		if !errors.As(err, &wrong) || wrong.Cause != incident.CauseJVMDiffers || wrong.Unhealthy || !strings.Contains(wrong.Text, c.want) ||
			strings.Contains(wrong.Text, "hidden-word") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	err = checkProgram(ownProcess{}, exe, os.Args)
	if err != nil {
		t.Errorf("the same: %v", err)
	}
}

func TestHealthIssuesOfOutput(t *testing.T) {
	hear := watchOutput()
	for line, want := range map[string]supervisor.HealthIssue{
		// it may be another JVM's
		`Exception in thread "x" java.lang.OutOfMemoryError: Metaspace`: {Kind: hotspot.ClassMemory, Cause: incident.CauseJVMStarved,
			Text: `the JVM lives on without enough memory: Exception in thread "x" java.lang.OutOfMemoryError: Metaspace`},
		`Exception in thread "x" java.lang.OutOfMemoryError: Direct buffer memory`: {Kind: hotspot.DirectMemory, Cause: incident.CauseJVMStarved,
			Unhealthy: true,
			Text:      `the JVM lives on without enough memory: Exception in thread "x" java.lang.OutOfMemoryError: Direct buffer memory`},
		"OpenJDK 64-Bit Server VM warning: CodeCache is full. Compiler has been disabled.\n": {Kind: hotspot.CodeCacheFull,
			Cause: incident.CauseCodeCache, Unhealthy: true,
			Text: "the JVM compiles nothing any more: OpenJDK 64-Bit Server VM warning: CodeCache is full. Compiler has been disabled."},
	} {
		if got := hear([]byte(line)); got == nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
	if got := hear([]byte("all is well")); got != nil {
		t.Errorf("%+v", got)
	}
}
