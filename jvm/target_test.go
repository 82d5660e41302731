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
		{17, "-XX:+UseCompactObjectHeaders", "unknown-option", "that of 25.0.5.0.3 does"},
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
		{17, "-XX:CICompilerCount=1", "bad-value", "at least 2"},
		{17, "-XX:CICompilerCount=1 -XX:TieredStopAtLevel=1", "", ""},
		{17, "-XX:+UseG1GC -XX:ParallelGCThreads=0", "invalid-combination", ""},
		{17, "-Xss64k", "bad-value", "136k"},
		{17, "-Xss0", "", ""},
		{17, "-XX:InitiatingHeapOccupancyPercent=40", "", ""},
		{27, "-XX:InitiatingHeapOccupancyPercent=40", "deprecated", "use G1IHOP"},
		{26, "-XX:MaxRAM=1g", "deprecated", "use MaxHeapSize"},
		{27, "-XX:MaxRAM=1g", "deprecated", "does nothing in Java 27"},
		{28, "-XX:MaxRAM=1g", "removed-option", "use MaxHeapSize"},
		{27, "-Xverify:none", "removed-option", "removed by 27"},
		{27, "-Xmaxjitcodesize64m", "deprecated", "use -XX:ReservedCodeCacheSize"},
		{16, "--enable-native-access=ALL-UNNAMED", "unknown-option", "it came with 17"},
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

// TestSizesOfAllBits: sizes have 64 bits; what each version says to the largest ones was tried on 8 to 28.
func TestSizesOfAllBits(t *testing.T) {
	const most = "18446744073709551615"
	for _, c := range []struct {
		flag  string
		major int
		value string
		code  string // "": it is accepted
	}{
		{"-XX:MaxMetaspaceSize=", 17, most, ""}, {"-XX:MaxMetaspaceSize=", 8, most, ""}, {"-XX:MaxMetaspaceSize=", 28, "0xffffffffffffffff", ""},
		{"-XX:MaxMetaspaceSize=", 17, "18446744073709551616", BadValue}, {"-XX:MaxMetaspaceSize=", 17, "17179869184g", BadValue},
		{"-XX:MaxMetaspaceSize=", 17, "17179869183g", ""}, {"-XX:MaxMetaspaceSize=", 17, "-1", BadValue}, {"-XX:MaxMetaspaceSize=", 17, "0", BadValue},
		{"-XX:MaxMetaspaceSize=", 8, "0x40000000", BadValue}, {"-XX:MaxMetaspaceSize=", 11, "0X40000000", ""},
		{"-XX:MetaspaceSize=", 17, most, ""}, {"-XX:MaxNewSize=", 17, most, ""},
		{"-XX:MaxDirectMemorySize=", 17, most, BadValue}, {"-XX:MaxDirectMemorySize=", 17, "9223372036854775807", ""},
		{"-XX:ThreadStackSize=", 17, most, BadValue}, {"-XX:ReservedCodeCacheSize=", 8, "0xf000000", BadValue},
		{"-XX:ReservedCodeCacheSize=", 21, "0xf000000", ""}, {"-Xmx", 8, "0x40000000", BadValue}, {"-Xmx", 11, "0x40000000", ""},
		{"-Xss", 8, "0x100000", BadValue}, {"-Xss", 17, "0x100000", ""}, {"-Xss", 17, most, BadValue},
		{"-XX:HeapBaseMinAddress=", 17, most, ""}, {"-XX:MaxTenuringThreshold=", 17, most, BadValue}, {"-XX:GCPauseIntervalMillis=", 17, most, ""},
		{"-XX:MaxNodeLimit=", 17, most, BadValue}, {"-XX:TieredStopAtLevel=", 8, "5", ""}, {"-XX:TieredStopAtLevel=", 11, "5", BadValue},
	} {
		for _, p := range checked(c.major, c.flag+c.value).Errors {
			if p.Code != c.code {
				t.Errorf("Java %d, %s%s: %s: %s", c.major, c.flag, c.value, p.Code, p.Message)
			}
			c.code = ""
		}
		if c.code != "" {
			t.Errorf("Java %d, %s%s is accepted, want %s", c.major, c.flag, c.value, c.code)
		}
	}
}

// TestNoCap: the size that the JVM prints where it has no cap is none in the budget either, and no sum overflows.
func TestNoCap(t *testing.T) {
	plain, err := Render(Input{Limits: Limits{Memory: 1 << 30, CPUs: 2, MemorySource: "t"}, Target: Target{JavaMajor: 17}})
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"-XX:MaxMetaspaceSize=18446744073709551615", "-XX:MaxMetaspaceSize=0xffffffffffffffff", "-XX:MetaspaceSize=18446744073709551615",
		"-XX:MaxDirectMemorySize=9223372036854775807", "-Xmx9223372036854775807", "-XX:CompressedClassSpaceSize=18446744073709551615"} {
		r, _ := Render(Input{Limits: Limits{Memory: 1 << 30, CPUs: 2, MemorySource: "t"}, Target: Target{JavaMajor: 17}, User: ParseArgs("u", []string{arg})})
		for _, region := range r.Budget {
			if region.Bytes < 0 || region.Bytes > 1<<50 {
				t.Errorf("%s: %+v", arg, region)
			}
		}
		if strings.Contains(arg, "MaxMetaspace") || strings.Contains(arg, "Direct") {
			if !slices.Contains(r.Argv(), arg) || len(r.Budget.Unbounded()) != 1 || r.Budget.Sum() != plain.Budget.Sum() {
				t.Errorf("%s: argv %q, sum %d, want %d, no bound: %q", arg, r.Argv(), r.Budget.Sum(), plain.Budget.Sum(), r.Budget.Unbounded())
			}
		}
	}
	e := Expect(ParseArgs("u", []string{"-XX:MaxMetaspaceSize=18446744073709551615"}))
	if len(e) != 1 || e[0].Differs("18446744073709547520") || e[0].Differs("18446744073709551615") || !e[0].Differs("1073741824") {
		t.Errorf("%+v", e)
	}
}
