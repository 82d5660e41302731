package jvm

import (
	"slices"
	"strings"
	"testing"
)

// checked renders one user layer for a version, without sizing.
func checked(major int, args string) Result {
	r, _ := Render(Input{Target: Target{JavaMajor: major}, NoSizing: true, User: ParseArgs("u", strings.Fields(args))})
	return r
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		major       int
		args, codes string // warnings, then errors
		says        string // in one of the messages
	}{
		{8, "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC -XX:+PrintGCDateStamps", "", ""},
		{11, "-XX:+UseConcMarkSweepGC", "deprecated", "since Java 9; use UseG1GC"},
		{14, "-XX:+UseConcMarkSweepGC", "deprecated", "does nothing in Java 14"},
		{17, "-XX:+UseConcMarkSweepGC", "removed-option", "removed by 15"},
		{11, "-XX:+PrintGCDateStamps", "removed-option", "use -Xlog:gc*"},
		{11, "-XX:+UseParNewGC", "removed-option", ""},
		{11, "-XX:CMSInitiatingOccupancyFraction=70", "", ""},
		{8, "-XX:MaxPermSize=128m", "deprecated", "use MaxMetaspaceSize"},
		{17, "-XX:MaxPermSize=128m", "removed-option", ""},
		{17, "-XX:MaxRAMFraction=2", "deprecated", "MaxRAMPercentage"},
		{25, "-XX:MaxRAMFraction=2", "removed-option", "MaxRAMPercentage"},
		{21, "-XX:+UseBiasedLocking", "removed-option", "removed by 19"},
		{17, "-XX:+ZGenerational", "unknown-option", "it came with 21"},
		{21, "-XX:+UseZGC -XX:+ZGenerational", "", ""},
		{25, "-XX:+UseZGC -XX:+ZGenerational", "deprecated", "since 24"},
		{8, "-XX:+UseZGC", "unknown-option", "it came with 11"},
		{8, "-Xlog:gc", "unknown-option", "it came with 9"},
		{8, "--add-opens=a/b=c", "unknown-option", "it came with 9"},
		{17, "-XX:+UseCompactObjectHeaders", "unknown-option", "that of 25.0.5 does"},
		{25, "-XX:+UseCompactObjectHeaders", "", ""},
		{0, "-XX:+UseConcMarkSweepGC -XX:+ZGenerational -d64", "", ""},
		{17, "-XX:+UseG1Gc", "unknown-option", "did you mean UseG1GC?"},
		{17, "-XX:MaxMetaspaceSizes=1g", "unknown-option", "did you mean MaxMetaspaceSize?"},
		{17, "-XX:Qwertyuiop=1", "unknown-option", ""},
		{17, "-Xmn", "bad-value", ""},
		{17, "-Xshowsettings", "unknown-option", "did you mean -XshowSettings?"},
		{17, "--add-open=x/y=z", "unknown-option", "did you mean --add-opens?"},
		{17, "-Xincgc", "removed-option", ""},
		{25, "-Djava.security.manager=allow", "removed-option", "JEP 486"},
		{25, "-Djava.security.manager=disallow", "", ""},
		{17, "-Djava.security.manager", "deprecated", ""},
		{17, "-Djava.security.manager=allow", "", ""},
		{25, "-mx200m -verify", "deprecated deprecated", "since Java 24"},
		{17, "-Xverify:none", "deprecated", "since Java 13"},
		{11, "-Djava.ext.dirs=/x", "removed-option", ""},
		{17, "-XX:UseG1GC=true", "bad-value", "-XX:+UseG1GC"},
		{17, "-XX:+MaxHeapSize", "bad-value", ""},
		{17, "-XX:MaxRAMPercentage=101", "bad-value", "from 0 to 100"},
		{17, "-XX:MaxRAMPercentage=50%", "bad-value", "no number"},
		{17, "-XX:SurvivorRatio=0", "bad-value", ""},
		{17, "-XX:NewRatio=-1", "bad-value", "negative"},
		{17, "-XX:ErrorFile:=/x", "bad-value", "write = for :="},
		{17, "-XX:StartFlightRecording -XX:StartFlightRecording:name=b -XX:FlightRecorderOptions:stackdepth=64", "", ""},
		{17, "-XX:MaxDirectMemorySize=-1", "bad-value", ""},
		{17, "-XX:MaxMetaspaceSize=18446744073709551615", "bad-value", ""},
		{17, "-XX:CICompilerCount=1", "bad-value", "at least 2"},
		{17, "-XX:CICompilerCount=1 -XX:TieredStopAtLevel=1", "", ""},
		{17, "-XX:+UseG1GC -XX:ParallelGCThreads=0", "invalid-combination", ""},
		{17, "-Xss64k", "bad-value", "136k"},
		{17, "-Xss0", "", ""},
		{17, "-XX:OnOutOfMemoryError=kill -XX:OnOutOfMemoryError=echo", "", ""},
		{17, "-XX:ErrorFile=/x -XX:+PrintCommandLineFlags -verbose:gc -XshowSettings:vm -splash:x", "", ""},
		{17, "-XX:+PrintInlining -XX:-UnlockDiagnosticVMOptions", "invalid-combination", "forbids"},
		{17, "-XX:+IgnoreUnrecognizedVMOptions -XX:+Nope -XX:+UseConcMarkSweepGC", "bypass bypass deprecated", "left out"},
	} {
		r := checked(c.major, c.args)
		var codes, messages []string
		for _, p := range slices.Concat(r.Warnings, r.Errors) {
			codes, messages = append(codes, p.Code), append(messages, p.Message)
		}
		if got := strings.Join(codes, " "); got != c.codes {
			t.Errorf("Java %d, %s: codes %q, want %q: %q", c.major, c.args, got, c.codes, messages)
		}
		if !strings.Contains(strings.Join(messages, "\n"), c.says) {
			t.Errorf("Java %d, %s: %q does not say %q", c.major, c.args, messages, c.says)
		}
	}
}

func TestUnlockIsAdded(t *testing.T) {
	for _, c := range []struct {
		major int
		args  string
		want  string
	}{
		{17, "-Da=1 -XX:+PrintInlining -XX:+UseEpsilonGC -XX:G1NewSizePercent=5",
			"-XX:+UnlockDiagnosticVMOptions -XX:+UnlockExperimentalVMOptions -Da=1 -XX:+PrintInlining -XX:+UseEpsilonGC -XX:G1NewSizePercent=5"},
		{17, "-XX:+PrintInlining -XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockDiagnosticVMOptions -XX:+PrintInlining"},
		{11, "-XX:+UseZGC", "-XX:+UnlockExperimentalVMOptions -XX:+UseZGC"},
		{17, "-XX:+UseZGC", "-XX:+UseZGC"},
		{8, "-XX:+UseCGroupMemoryLimitForHeap", "-XX:+UnlockExperimentalVMOptions -XX:+UseCGroupMemoryLimitForHeap"},
	} {
		if got := strings.Join(checked(c.major, c.args).Argv(), " "); got != c.want {
			t.Errorf("Java %d, %s: got %q, want %q", c.major, c.args, got, c.want)
		}
	}
}

// A user's flag cannot drop an enforced option.
func TestIgnoringDoesNotDropEnforced(t *testing.T) {
	r, _ := Render(Input{Target: Target{JavaMajor: 17}, NoSizing: true, User: ParseArgs("u", []string{"-XX:+IgnoreUnrecognizedVMOptions"}),
		Enforced: ParseArgs("e", []string{"-XX:+Nope"})})
	if len(r.Errors) != 1 || r.Errors[0].Code != UnknownOption {
		t.Errorf("errors %v", r.Errors)
	}
}

// Another port has flags that are not in the lists.
func TestForeignPort(t *testing.T) {
	in := Input{Target: Target{JavaMajor: 17, Arch: "ppc64le"}, NoSizing: true,
		User: ParseArgs("u", []string{"-XX:+UseSIGTRAP", "-XX:+UseConcMarkSweepGC"})}
	if r, _ := Render(in); len(r.Errors) != 1 || r.Errors[0].Code != RemovedOption {
		t.Errorf("errors %v", r.Errors)
	}
}

// A user cannot lock what an enforced option needs.
func TestUnlockIsNotTakenFromEnforced(t *testing.T) {
	r, _ := Render(Input{Target: Target{JavaMajor: 17}, NoSizing: true, User: ParseArgs("u", []string{"-XX:-UnlockDiagnosticVMOptions"}),
		Enforced: ParseArgs("e", []string{"-XX:+PrintInlining"})})
	if got := strings.Join(r.Argv(), " "); got != "-XX:+UnlockDiagnosticVMOptions -XX:+PrintInlining" || len(r.Warnings) != 1 {
		t.Errorf("got %q, %v", got, r.Warnings)
	}
}

// The JVM lets a larger -Xms lift the maximum that a percentage gives.
func TestStartAbovePercentage(t *testing.T) {
	r, _ := Render(Input{Limits: Limits{CPUs: 2, Memory: 4 << 30}, Target: Target{JavaMajor: 17}, NoSizing: true,
		User: ParseArgs("u", []string{"-Xms3g", "-XX:MinHeapSize=2g"}), Enforced: ParseArgs("e", []string{"-XX:MaxRAMPercentage=25"})})
	if got := strings.Join(r.Argv(), " "); got != "-XX:MaxRAMPercentage=25" {
		t.Errorf("got %q", got)
	}
	if len(r.Warnings) != 2 || r.Warnings[0].Code != UserOverrideDropped {
		t.Errorf("warnings %v", r.Warnings)
	}
}

func TestNoCollectorLeft(t *testing.T) {
	in := Input{Limits: Limits{CPUs: 2, Memory: 4 << 30}, Target: Target{JavaMajor: 17}, NoSizing: true,
		User: ParseArgs("u", []string{"-XX:-UseG1GC"})}
	if r, _ := Render(in); len(r.Errors) != 1 || r.Errors[0].Code != GCConflict {
		t.Errorf("errors %v", r.Errors)
	}
	in.Limits.CPUs = 1 // where SerialGC is the JVM's own choice
	if r, _ := Render(in); r.Err() != nil {
		t.Errorf("errors %v", r.Errors)
	}
}

// The history is consistent with the lists.
func TestChangesAreConsistent(t *testing.T) {
	seen, flags := map[string]bool{}, newCatalog()
	for _, ch := range readChanges(flagChangesText) {
		if seen[ch.name] {
			t.Errorf("%s is there twice", ch.name)
		}
		seen[ch.name] = true
		for i, b := range buildsListed {
			if ch.gone > 0 && ch.gone <= b.major && flags[ch.name].kinds[i] != absent {
				t.Errorf("%s is gone by %d, but %s has it", ch.name, ch.gone, b.version)
			}
		}
		if ch.gone > 0 && (ch.deprecated > ch.gone || ch.ignored > ch.gone) || ch.ignored > 0 && ch.deprecated > ch.ignored {
			t.Errorf("%s: deprecated %d, ignored %d, gone %d", ch.name, ch.deprecated, ch.ignored, ch.gone)
		}
	}
}
