package jvm

import (
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// layerCase are three layers, with one blank between arguments, and what the JVM
// has after a start with the result: "Flag=value" with sizes as in options, "-Dkey=value"
// for system properties.
type layerCase struct {
	name, defaults, user, enforced, want string
}

func layerCases() []layerCase {
	const heap = "-Xms64m -Xmx256m"
	return []layerCase{
		{"user beats default", "-Xms16m -Xmx200m", "-Xmx300m", "", "MaxHeapSize=300m InitialHeapSize=16m"},
		{"enforced beats both", "-Xmx200m", "-Xmx300m", "-Xmx100m", "MaxHeapSize=100m"},
		{"long spelling beats short", "-Xmx200m", "-XX:MaxHeapSize=314572800", "", "MaxHeapSize=300m"},
		{"kilobytes", "", "-Xmx204800k", "", "MaxHeapSize=200m"},
		{"enforced absolute, user's percentage", "", "-XX:MaxRAMPercentage=90", "-Xmx200m", "MaxHeapSize=200m"},
		{"enforced absolute, user's fraction", "", "-XX:MaxRAMFraction=2", "-Xmx200m", "MaxHeapSize=200m"},
		{"enforced percentage, user's absolute", "", "-Xmx3g", "-XX:MaxRAM=1g -XX:MaxRAMPercentage=20", "MaxHeapSize=206m MaxRAM=1g"},
		{"enforced percentage, user's base", "", "-XX:MaxRAM=64m", "-XX:MaxRAM=2g -XX:MaxRAMPercentage=25", "MaxHeapSize=512m MaxRAM=2g"},
		{"enforced percentage, user's fraction", "", "-XX:MaxRAMFraction=1", "-XX:MaxRAMPercentage=10 -XX:MaxRAM=2g",
			"MaxRAMPercentage=10 MaxHeapSize=206m"},
		{"enforced fraction, user's percentage", "", "-XX:MaxRAMPercentage=90", "-XX:MaxRAMFraction=4 -XX:MaxRAM=2g", "MaxHeapSize=512m"},
		{"enforced maximum, user's minimum percentage", "", "-XX:MinRAMPercentage=90", "-Xmx100m", "MaxHeapSize=100m MinRAMPercentage=50"},
		{"enforced minimum percentage, user's absolute", "", "-Xmx900m", "-XX:MinRAMPercentage=40 -XX:MaxRAM=200m", "MaxHeapSize=80m"},
		{"user's base, enforced absolute", "", "-XX:MaxRAM=100m", "-Xmx200m", "MaxHeapSize=200m"},
		{"default absolute, user's base", "-Xmx900m", "-XX:MaxRAM=400m -XX:MaxRAMPercentage=50", "", "MaxHeapSize=200m"},
		{"initial percentage, enforced absolute", "", "-XX:InitialRAMPercentage=50", "-Xms32m -Xmx200m", "InitialHeapSize=32m MaxHeapSize=200m"},
		{"initial fraction, enforced absolute", "", "-XX:InitialRAMFraction=2", "-Xms32m -Xmx200m", "InitialHeapSize=32m"},
		{"absolute and percentage of the initial heap, one layer", "", "-Xms32m -XX:InitialRAMPercentage=50 -Xmx200m", "", "InitialHeapSize=32m"},
		{"a smaller maximum takes the default's start along", "-Xms200m -Xmx200m", "-Xmx100m", "", "MaxHeapSize=100m InitialHeapSize=100m"},
		{"a smaller enforced maximum takes the user's start along", "", "-Xms200m -Xmx300m", "-Xmx100m", "MaxHeapSize=100m InitialHeapSize=100m"},
		{"an enforced start lifts the user's maximum", "", "-Xmx100m", "-Xms200m", "MaxHeapSize=200m InitialHeapSize=200m"},
		{"the start in its long spelling follows", "-XX:InitialHeapSize=300m", "", "-Xmx100m", "MaxHeapSize=100m InitialHeapSize=100m"},
		{"minimum above the enforced maximum", "-XX:MinHeapSize=300m", "", "-Xmx100m", "MaxHeapSize=100m MinHeapSize=100m"},
		{"minimum above the user's start", "-XX:MinHeapSize=90m", "-XX:InitialHeapSize=50m -Xmx200m", "", "InitialHeapSize=50m"},
		{"an enforced minimum above the user's start", "", "-Xms50m -Xmx200m", "-XX:MinHeapSize=90m", "MinHeapSize=90m InitialHeapSize=90m"},
		{"start and minimum of one layer", "", "-XX:MinHeapSize=90m -Xms50m -Xmx200m", "", "InitialHeapSize=50m MinHeapSize=50m"},
		{"soft maximum follows", "-XX:SoftMaxHeapSize=200m", "-Xmx100m", "", "SoftMaxHeapSize=100m MaxHeapSize=100m"},
		{"young as large as the heap is left out", "-Xmn200m", "-Xmx150m", "", "MaxHeapSize=150m"},
		{"ratio beats the default's young", "-Xmn50m", "-XX:NewRatio=4", heap, "NewRatio=4 MaxHeapSize=256m"},
		{"young beats the default's ratio", "-XX:NewRatio=4", "-Xmn50m", heap, "NewSize=50m MaxNewSize=50m"},
		{"enforced young, user's bounds", "", "-XX:NewSize=10m -XX:MaxNewSize=20m", "-Xmn50m " + heap, "NewSize=50m MaxNewSize=50m"},
		{"ratio and young in one layer", "", "-Xmn50m -XX:NewRatio=9 " + heap, "", "NewSize=50m MaxNewSize=50m"},
		{"stack", "-Xss256k", "-Xss512k", "", "ThreadStackSize=512"},
		{"stack in the old spelling", "-Xss256k", "-ss512k", "", "ThreadStackSize=512"},
		{"enforced stack, user's flag", "", "-XX:ThreadStackSize=2048", "-Xss256k", "ThreadStackSize=256"},
		{"old spelling of the maximum", "-Xmx100m", "-mx200m", "", "MaxHeapSize=200m"},
		{"old spelling of the start", "-Xms16m", "-ms32m", "-Xmx200m", "ThreadStackSize=1024 InitialHeapSize=32m"},
		{"serial for G1", "-XX:+UseG1GC", "-XX:+UseSerialGC", "", "UseSerialGC=true UseG1GC=false"},
		{"enforced G1 for parallel", "-XX:+UseSerialGC", "-XX:+UseParallelGC", "-XX:+UseG1GC", "UseG1GC=true UseParallelGC=false"},
		{"two collectors of the user", "", "-XX:+UseSerialGC -XX:+UseParallelGC", "", "UseParallelGC=true UseSerialGC=false"},
		{"taken back and chosen", "-XX:+UseG1GC", "-XX:-UseG1GC -XX:+UseSerialGC", "", "UseSerialGC=true"},
		{"enforced collector against a minus", "", "-XX:-UseSerialGC", "-XX:+UseSerialGC", "UseSerialGC=true"},
		{"Z for G1", "-XX:+UseG1GC", "-XX:+UseZGC", "-Xmx256m", "UseZGC=true UseG1GC=false"},
		{"Shenandoah for serial", "-XX:+UseSerialGC", "-XX:+UseShenandoahGC", "-Xmx256m", "UseShenandoahGC=true"},
		{"Epsilon is unlocked", "", "-XX:+UseEpsilonGC", "-Xmx256m", "UseEpsilonGC=true UnlockExperimentalVMOptions=true"},
		{"aggressive heap beside another collector", "-XX:+UseG1GC", "-XX:+AggressiveHeap", "-Xms16m -Xmx512m", "UseG1GC=true MaxHeapSize=512m"},
		{"aggressive heap of the user", "-XX:+UseG1GC", "-XX:+AggressiveHeap -Xms16m -Xmx512m", "", "UseParallelGC=true UseG1GC=false"},
		{"diagnostic flag is unlocked", "", "-XX:+PrintInlining", "", "PrintInlining=true UnlockDiagnosticVMOptions=true"},
		{"experimental flag is unlocked", "-XX:G1NewSizePercent=10", "", "", "G1NewSizePercent=10 UnlockExperimentalVMOptions=true"},
		{"unlocked later", "-XX:+PrintInlining", "", "-XX:+UnlockDiagnosticVMOptions", "PrintInlining=true"},
		{"code cache", "-XX:ReservedCodeCacheSize=240m", "-Xmaxjitcodesize64m", "", "ReservedCodeCacheSize=64m"},
		{"initial code cache follows", "-XX:InitialCodeCacheSize=100m", "-XX:ReservedCodeCacheSize=64m", "",
			"InitialCodeCacheSize=64m ReservedCodeCacheSize=64m"},
		{"metaspace", "-XX:MaxMetaspaceSize=100m", "-XX:MaxMetaspaceSize=200m", "-XX:MaxMetaspaceSize=150m", "MaxMetaspaceSize=150m"},
		{"first metaspace follows", "-XX:MetaspaceSize=200m", "-XX:MaxMetaspaceSize=100m", "", "MaxMetaspaceSize=100m MetaspaceSize=100m"},
		{"direct memory", "-XX:MaxDirectMemorySize=64m", "", "-XX:MaxDirectMemorySize=32m", "MaxDirectMemorySize=32m"},
		{"class space follows", "-XX:CompressedClassSpaceSize=200m", "", "-XX:MaxMetaspaceSize=100m", "MaxMetaspaceSize=100m"},
		{"concurrent threads follow", "-XX:ConcGCThreads=4", "-XX:ParallelGCThreads=2", "-XX:+UseG1GC", "ParallelGCThreads=2 ConcGCThreads=2"},
		{"free ratios follow", "-XX:MinHeapFreeRatio=60", "-XX:MaxHeapFreeRatio=30", "", "MinHeapFreeRatio=30 MaxHeapFreeRatio=30"},
		{"minimum of the default above an enforced maximum", "-XX:InitialHeapSize=300m", "-XX:MinHeapSize=500m", "-Xmx200m",
			"MaxHeapSize=200m InitialHeapSize=200m MinHeapSize=200m"},
		{"a minus before another collector", "-XX:+UseG1GC", "-XX:-UseG1GC", "-XX:+UseSerialGC", "UseSerialGC=true UseG1GC=false"},
		{"free ratios by fractions", "-Xminf0.6", "-Xmaxf0.3", "-XX:+UseSerialGC", "MinHeapFreeRatio=30 MaxHeapFreeRatio=30"},
		{"processors", "-XX:ActiveProcessorCount=1", "-XX:ActiveProcessorCount=8", "-XX:ActiveProcessorCount=2", "ActiveProcessorCount=2"},
		{"a switch and its opposite", "-XX:+ExitOnOutOfMemoryError", "-XX:-ExitOnOutOfMemoryError", "", "ExitOnOutOfMemoryError=false"},
		{"an enforced switch", "", "-XX:-HeapDumpOnOutOfMemoryError", "-XX:+HeapDumpOnOutOfMemoryError", "HeapDumpOnOutOfMemoryError=true"},
		{"signals by two spellings", "", "-Xrs", "-XX:-ReduceSignalUsage", "ReduceSignalUsage=false"},
		{"class unloading by two spellings", "-XX:+ClassUnloading", "-Xnoclassgc", "", "ClassUnloading=false"},
		{"property of each layer", "-Da=1 -Db=1 -Dc=1", "-Db=2 -Dc=2", "-Dc=3", "-Da=1 -Db=2 -Dc=3"},
		{"property without a value", "-Da=1", "-Da", "", "-Da="},
		{"property whose value has equals signs", "", "-Da=b=c=d", "", "-Da=b=c=d"},
		{"longer property name", "-Da.b=1", "-Da=2", "", "-Da.b=1 -Da=2"},
		{"enforced management port", "", "-Dcom.example.port=1", "-Dcom.example.port=2", "-Dcom.example.port=2"},
		{"property with shell signs", "", "-Da=$(id);`x`", "", "-Da=$(id);`x`"},
		{"class paths in two tokens", "-cp a", "-classpath b", "--class-path c", "-Djava.class.path=c"},
		{"class path in one token", "-cp a", "--class-path=b", "", "-Djava.class.path=b"},
		{"modules opened twice", "--add-opens java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED", "-Da=1", "-Da=1"},
		{"module patched by each layer", "--patch-module java.base=x", "--patch-module=java.base=y", "-Da=1", "-Da=1"},
		{"logs in order", "-Xlog:gc", "-Xlog:disable", "-Xlog:gc*:stderr", ""},
		{"compile commands add up", "-XX:CompileCommand=quiet", "-XX:CompileCommand=exclude,x.Y::z", "", ""},
		{"two commands at the end", "-XX:OnOutOfMemoryError=true", "-XX:OnOutOfMemoryError=false", "", ""},
		{"interpreter for compiler", "-Xcomp", "-Xint", "-Xmixed", "UseInterpreter=true UseCompiler=true"},
		{"verifier by two spellings", "-Xverify:all", "-noverify", "", ""},
		{"tolerated old flags", "-XX:+PrintGCDetails", "-XX:MaxRAMFraction=2 -XX:+FlightRecorder", "-Xmx100m", "MaxHeapSize=100m"},
		{"ignored misspelling", "", "-XX:+IgnoreUnrecognizedVMOptions -XX:+NoSuchFlag -XX:+UseConcMarkSweepGC -Xmx100m", "", "MaxHeapSize=100m"},
		{"assertions", "-ea", "-da:x.Y", "-esa", ""},
		{"large pages off", "-XX:+UseTransparentHugePages", "-XX:-UseTransparentHugePages", "", "UseTransparentHugePages=false"},
		{"hexadecimal", "", "-Xmx0x8000000", "", "MaxHeapSize=128m"},
		{"everything at once", "-Xms64m -Xmx512m -Xss256k -XX:+UseG1GC -Da=1", "-Xmx300m -XX:+UseSerialGC -Da=2 -Xss512k",
			"-Da=3 -XX:MaxMetaspaceSize=96m", "MaxHeapSize=300m InitialHeapSize=64m UseSerialGC=true ThreadStackSize=512 MaxMetaspaceSize=96m -Da=3"},
	}
}

// TestLayersInJVM starts the real JVM with every case and checks its flags. A version that lacks one of the options leaves its case out.
func TestLayersInJVM(t *testing.T) {
	java, target := jvmHere(t)
	var ran atomic.Int32
	eachOfTwo(layerCases(), func(c layerCase) {
		r, err := Render(Input{Target: target, NoSizing: true, Default: ParseArgs("d", strings.Fields(c.defaults)),
			User: ParseArgs("u", strings.Fields(c.user)), Enforced: ParseArgs("e", strings.Fields(c.enforced))})
		if slices.ContainsFunc(r.Errors, func(p Problem) bool { return VersionDependent(p.Code) }) && target.JavaMajor != 17 {
			return
		}
		if err != nil || r.Err() != nil {
			t.Errorf("%s: %v, %v", c.name, err, r.Err())
			return
		}
		ran.Add(1)
		got := runJVM(t, java, r.Argv())
		for _, want := range strings.Fields(c.want) {
			key, value, _ := strings.Cut(want, "=")
			if n, err := sizeOf(value); err == nil && !strings.HasPrefix(key, "-D") {
				value = strconv.FormatInt(n, 10)
			}
			if percent, ok := strings.CutSuffix(got[key], ".000000"); ok {
				got[key] = percent
			}
			if got[key] != value {
				t.Errorf("%s: %s is %q, want %q, with %q", c.name, key, got[key], value, r.Argv())
			}
		}
	})
	if n := ran.Load(); n < 70 {
		t.Errorf("only %d cases ran", n)
	}
}

// eachOfTwo works on two items at a time: a JVM is mostly one thread.
func eachOfTwo[T any](items []T, do func(T)) {
	var group sync.WaitGroup
	next := make(chan T)
	for range 2 {
		group.Go(func() { // until next is closed
			for item := range next {
				do(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	group.Wait()
}

// runJVM starts the JVM and returns its own view of its flags and, as -Dkey, of
// its properties.
func runJVM(t *testing.T, java string, argv []string) map[string]string {
	t.Helper()
	out, err := exec.Command(java, append(slices.Clone(argv), "-XX:+PrintFlagsFinal", "-XshowSettings:properties",
		"-version")...).CombinedOutput()
	if err != nil {
		t.Errorf("java %q: %v\n%s", argv, err, tail(out))
		return nil
	}
	seen := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*\w+ (\w+)\s+= (\S*)`).FindAllStringSubmatch(string(out), -1) {
		seen[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile(`(?m)^    (\S+) = (.*)$`).FindAllStringSubmatch(string(out), -1) {
		seen["-D"+m[1]] = m[2]
	}
	return seen
}

// jvmHere is the JVM of this machine, of whatever version and update, with its flags.
func jvmHere(t *testing.T) (java string, target Target) {
	t.Helper()
	java = javaOrSkip(t)
	out, err := exec.Command(java, "-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions", "-XX:+PrintFlagsFinal",
		"-version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(out))
	}
	target.Flags = map[string]FlagInfo{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(\w+) (\w+)\s+:?= [^{}]*\{([^{}]*)\}`).FindAllStringSubmatch(string(out), -1) {
		target.Flags[m[2]] = FlagInfo{m[1], m[3]}
	}
	if m := regexp.MustCompile(`version "([^"]*)"`).FindStringSubmatch(string(out)); m != nil {
		target.JavaMajor, target.JavaVersion = majorOf(m[1]), m[1]
	}
	if len(target.Flags) < 500 || target.JavaMajor < 8 {
		t.Fatalf("%d flags of Java %d\n%s", len(target.Flags), target.JavaMajor, tail(out))
	}
	return java, target
}

// The checks agree with the JVM of this machine, for a sample of each kind. The
// lists alone, which may be of another update, refuse nothing that it accepts.
func TestTableInJVM(t *testing.T) {
	java, target := jvmHere(t)
	listed := target
	listed.Flags = nil
	eachOfTwo([]string{
		"-XX:+UseConcMarkSweepGC", "-XX:MaxPermSize=1m", "-XX:+PrintGCDateStamps", "-XX:+AggressiveOpts", "-XX:+UseParallelOldGC",
		"-XX:+UseBiasedLocking", "-XX:MaxRAMFraction=2", "-XX:+PrintGCDetails", "-XX:+TraceClassLoading", "-XX:+NoSuchFlag", "-XX:+ZGenerational",
		"-XX:SuspendRetryCount=5", "-Xincgc", "-d64", "-Xfoo", "--foo", "-Xprof", "-noverify", "--illegal-access=permit", "-Djava.ext.dirs=x",
		"-Xbootclasspath/p:x", "-XX:UseG1GC=true", "-XX:+MaxHeapSize", "-XX:MaxRAMPercentage=101", "-XX:MaxRAMPercentage=x",
		"-XX:SurvivorRatio=0",
		"-Xss64k", "-XX:CICompilerCount=1", "-XX:MaxTenuringThreshold=17", "-XX:maxHeapSize=1g", "-XX:MaxHeapSize", "-XX:TieredStopAtLevel=5",
		"--finalization=enabled", "-XX:+UnlockCommercialFeatures", "-XX:CMSInitiatingOccupancyFraction=5",
		"-XX:InitiatingHeapOccupancyPercent=101",
		"-XX:+UseKyberIntrinsics", "-XX:+PrintInlining", "-XX:+UseEpsilonGC", "-XX:+UseCompactObjectHeaders", "-XX:+UseHeavyMonitors",
		"-XX:+CITime",
	}, func(arg string) {
		r, _ := Render(Input{Target: target, NoSizing: true, User: ParseArgs("u", []string{arg})})
		argv := r.Argv()
		if argv == nil {
			argv = []string{arg}
		}
		err := exec.Command(java, append(argv, "-version")...).Run()
		if refused := len(r.Errors) > 0; refused != (err != nil) {
			t.Errorf("%s: the JVM says %v, the list at hand %v", arg, err, r.Errors)
		}
		r, _ = Render(Input{Target: listed, NoSizing: true, User: ParseArgs("u", []string{arg})})
		if err == nil && len(r.Errors) > 0 {
			t.Errorf("%s: the JVM takes it, and the lists say %v", arg, r.Errors)
		}
	})
}
