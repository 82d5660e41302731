package jvm

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mergeCase is one row of three layers. want is the merged argv; codes are those
// of warnings, then of errors.
type mergeCase struct {
	name                    string
	defaults, user, enforce string
	want                    string
	codes                   string
}

func mergeCases() []mergeCase {
	return []mergeCase{
		{"nothing", "", "", "", "", ""},
		{"default alone", "-Xmx200m", "", "", "-Xmx200m", ""},
		{"user beats default", "-Xmx200m", "-Xmx300m", "", "-Xmx300m", ""},
		{"enforced beats user", "-Xmx200m", "-Xmx300m", "-Xmx100m", "-Xmx100m", "user-override-dropped"},
		{"alias MaxHeapSize", "-Xmx200m", "-XX:MaxHeapSize=300m", "", "-XX:MaxHeapSize=300m", ""},
		{"alias mx", "", "-mx300m", "-Xmx200m", "-Xmx200m", "user-override-dropped"},
		{"percentage beats absolute below", "-Xmx200m", "-XX:MaxRAMPercentage=10", "", "-XX:MaxRAMPercentage=10", ""},
		{"absolute beats percentage below", "", "-XX:MaxRAMPercentage=80", "-Xmx200m", "-Xmx200m", "user-override-dropped"},
		{"MaxRAM cannot move an enforced percentage", "", "-XX:MaxRAM=64g", "-XX:MaxRAMPercentage=10", "-XX:MaxRAMPercentage=10",
			"user-override-dropped"},
		{"enforced MaxRAM beats absolute", "", "-Xmx900m", "-XX:MaxRAM=400m", "-XX:MaxRAM=400m", "user-override-dropped"},
		{"enforced MaxRAM keeps percentage", "", "-XX:MaxRAMPercentage=50", "-XX:MaxRAM=400m", "-XX:MaxRAMPercentage=50 -XX:MaxRAM=400m", ""},
		{"absolute before percentage, one layer", "", "-Xmx200m -XX:MaxRAMPercentage=10", "", "-Xmx200m", "duplicate"},
		{"percentage before absolute, one layer", "", "-XX:MaxRAMPercentage=10 -Xmx200m", "", "-Xmx200m", "duplicate"},
		{"twice in one layer", "", "-Xmx200m -Xmx300m", "", "-Xmx300m", "duplicate"},
		{"Xms and InitialHeapSize", "-Xms100m", "-XX:InitialHeapSize=50m", "-Xmx200m", "-XX:InitialHeapSize=50m -Xmx200m", ""},
		{"Xms and InitialHeapSize in one layer", "", "-Xms100m -XX:InitialHeapSize=50m -Xmx200m", "", "-XX:InitialHeapSize=50m -Xmx200m",
			"duplicate"},
		{"Xms takes MinHeapSize along", "", "-XX:MinHeapSize=90m", "-Xms50m -Xmx200m", "-Xms50m -Xmx200m", "user-override-dropped"},
		{"user's Xms above enforced Xmx", "", "-Xms300m", "-Xmx200m", "-Xms200m -Xmx200m", "adjusted"},
		{"user's Xms above default Xmx", "-Xmx200m", "-Xms300m", "", "-Xmx300m -Xms300m", "adjusted"},
		{"Xms above Xmx in one layer", "", "-Xms300m -Xmx200m", "", "", "invalid-combination"},
		{"young family", "-XX:NewRatio=3", "-Xmn50m", "-Xmx200m", "-Xmn50m -Xmx200m", ""},
		{"NewSize beaten by Xmn", "", "-XX:NewSize=90m -XX:MaxNewSize=90m", "-Xmn50m -Xmx200m", "-Xmn50m -Xmx200m",
			"user-override-dropped user-override-dropped"},
		{"stack alias", "-Xss256k", "-XX:ThreadStackSize=512", "", "-XX:ThreadStackSize=512", ""},
		{"stack in the wrong unit", "", "-XX:ThreadStackSize=256m", "", "", "bad-value"},
		{"collector family", "-XX:+UseG1GC", "-XX:+UseParallelGC", "", "-XX:+UseParallelGC", ""},
		{"enforced collector", "-XX:+UseG1GC", "-XX:+UseParallelGC", "-XX:+UseSerialGC", "-XX:+UseSerialGC", "user-override-dropped"},
		{"two collectors in one layer", "", "-XX:+UseG1GC -XX:+UseSerialGC", "", "-XX:+UseSerialGC", "gc-conflict"},
		{"minus another collector", "-XX:+UseSerialGC", "-XX:-UseG1GC", "", "-XX:+UseSerialGC -XX:-UseG1GC", ""},
		{"CMS pair of Java 8", "", "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC", "", "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC", ""},
		{"CMS pair beaten", "", "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC", "-XX:+UseG1GC", "-XX:+UseG1GC",
			"user-override-dropped user-override-dropped"},
		{"plus and minus", "-XX:+UseStringDeduplication", "-XX:-UseStringDeduplication", "", "-XX:-UseStringDeduplication", ""},
		{"valued flag", "-XX:MaxMetaspaceSize=64m", "-XX:MaxMetaspaceSize=96m", "", "-XX:MaxMetaspaceSize=96m", ""},
		{"flag names are case-sensitive", "-XX:maxMetaspaceSize=1", "-XX:MaxMetaspaceSize=96m", "",
			"-XX:maxMetaspaceSize=1 -XX:MaxMetaspaceSize=96m", ""},
		{"property", "-Da=1", "-Da=2", "-Db=3", "-Da=2 -Db=3", ""},
		{"property without value", "-Da=1", "-Da", "", "-Da", ""},
		{"property with equals signs", "", "-Da=b=c", "-Da.b=1", "-Da=b=c -Da.b=1", ""},
		{"enforced property", "", "-Da=1", "-Da=2", "-Da=2", "user-override-dropped"},
		{"same value is no loss", "", "-Da=1", "-Da=1", "-Da=1", ""},
		{"mode", "-Xint", "-Xcomp", "-Xmixed", "-Xmixed", "user-override-dropped"},
		{"one jdwp", "", "-agentlib:jdwp=transport=dt_socket,server=y,address=1", "-Xrunjdwp:transport=dt_socket,address=2",
			"-Xrunjdwp:transport=dt_socket,address=2", "user-override-dropped"},
		{"agents add up", "-javaagent:a.jar", "-javaagent:b.jar=x", "-javaagent:a.jar", "-javaagent:b.jar=x -javaagent:a.jar", ""},
		{"opens add up", "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens java.base/java.util=ALL-UNNAMED", "",
			"--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens java.base/java.util=ALL-UNNAMED", ""},
		{"logs keep their order", "-Xlog:gc", "-Xlog:disable", "-Xlog:gc", "-Xlog:gc -Xlog:disable -Xlog:gc", ""},
		{"assertions keep their order", "-ea", "-da:x...", "-ea", "-ea -da:x... -ea", ""},
		{"OnOutOfMemoryError adds up", "-XX:OnOutOfMemoryError=a", "-XX:OnOutOfMemoryError=b", "",
			"-XX:OnOutOfMemoryError=a -XX:OnOutOfMemoryError=b", ""},
		{"recordings add up", "", "-XX:StartFlightRecording:name=a -XX:StartFlightRecording:name=b", "-XX:StartFlightRecording=name=c",
			"-XX:StartFlightRecording:name=a -XX:StartFlightRecording:name=b -XX:StartFlightRecording=name=c", ""},
		{"recorder's options", "-XX:FlightRecorderOptions:stackdepth=64", "-XX:FlightRecorderOptions=stackdepth=128", "",
			"-XX:FlightRecorderOptions=stackdepth=128", ""},
		{"unlock first", "-XX:+PrintInlining", "-XX:+UnlockDiagnosticVMOptions", "", "-XX:+UnlockDiagnosticVMOptions -XX:+PrintInlining", ""},
		{"class path forms", "-cp a", "--class-path=b", "-classpath c", "-classpath c", "user-override-dropped"},
		{"ActiveProcessorCount", "-XX:ActiveProcessorCount=1", "-XX:ActiveProcessorCount=2", "", "-XX:ActiveProcessorCount=2", ""},
		{"ignoring is named", "", "-XX:+IgnoreUnrecognizedVMOptions -XX:+NoSuchFlag", "", "-XX:+IgnoreUnrecognizedVMOptions -XX:+NoSuchFlag",
			"bypass"},
		{"bare word", "", "-Xmx200m evil.Main", "", "", "not-a-jvm-option"},
		{"jar", "", "-jar", "", "", "not-a-jvm-option"},
		{"version", "", "-version", "", "", "not-a-jvm-option"},
		{"another JVM", "", "-XXaltjvm=/x", "", "", "bypass"},
		{"another JRE", "", "-version:1.5", "", "", "bypass"},
		{"base of an enforced share", "", "-XX:-UseContainerSupport", "-XX:MaxRAMPercentage=50", "-XX:MaxRAMPercentage=50",
			"user-override-dropped"},
		{"base of an own share", "", "-XX:-UseContainerSupport -XX:MaxRAMPercentage=50", "", "-XX:-UseContainerSupport -XX:MaxRAMPercentage=50",
			"budget-exceeded"},
		{"argument file", "", "@x", "", "", "bypass"},
		{"argument file as a value", "", "-cp @x", "", "", "bypass"},
		{"flags file", "", "-XX:Flags=x", "", "", "bypass"},
		{"options file", "", "", "-XX:VMOptionsFile=x", "", "bypass"},
		{"missing value", "", "--add-opens -Xmx1g", "", "", "bad-value"},
		{"no size", "", "-Xmx1.5g", "", "", "bad-value"},
		{"GB is no unit", "", "-Xmx2GB", "", "", "bad-value"},
		{"empty size", "", "-Xmx", "", "", "bad-value"},
		{"hexadecimal size", "", "-Xmx0x10000000", "", "-Xmx0x10000000", ""},
		{"free ratios together", "", "-XX:+UseG1GC -Xmaxf0.2 -Xminf0.1", "", "-XX:+UseG1GC -Xmaxf0.2 -Xminf0.1", ""},
		{"free ratio that ParallelGC does not mind", "", "-XX:+UseParallelGC -XX:MaxHeapFreeRatio=20", "",
			"-XX:+UseParallelGC -XX:MaxHeapFreeRatio=20", ""},
		{"no fraction", "", "-Xmaxf2", "", "", "bad-value"},
		{"threads that only G1 compares", "", "-XX:+UseParallelGC -XX:ConcGCThreads=3 -XX:ParallelGCThreads=2", "",
			"-XX:+UseParallelGC -XX:ConcGCThreads=3 -XX:ParallelGCThreads=2", ""},
		{"threads in one layer", "", "-XX:+UseG1GC -XX:ConcGCThreads=3 -XX:ParallelGCThreads=2", "", "", "invalid-combination"},
		{"minimum, start and maximum", "-XX:MinHeapSize=500m -XX:InitialHeapSize=100m", "", "-Xmx200m", "", "adjusted invalid-combination"},
		{"threads and processors", "", "-XX:+UseG1GC -XX:ConcGCThreads=3 -XX:ActiveProcessorCount=2", "", "", "invalid-combination"},
		{"several errors", "", "word -Xmx1.5g -version", "", "", "not-a-jvm-option bad-value not-a-jvm-option"},
	}
}

func (c mergeCase) merge() Result {
	return Merge(ParseArgs("d", strings.Fields(c.defaults)), ParseArgs("u", strings.Fields(c.user)), ParseArgs("e", strings.Fields(c.enforce)))
}

func TestMerge(t *testing.T) {
	cases := mergeCases()
	if len(cases) < 40 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		r := c.merge()
		var codes []string
		for _, p := range append(slices.Clone(r.Warnings), r.Errors...) {
			codes = append(codes, p.Code)
		}
		if got := strings.Join(r.Argv(), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if got := strings.Join(codes, " "); got != c.codes {
			t.Errorf("%s: codes %q, want %q", c.name, got, c.codes)
		}
	}
}

func javaOrSkip(t *testing.T) string {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		if os.Getenv("STOKER_CI") == "1" {
			t.Fatal("no java in PATH")
		}
		t.Skip("no java in PATH")
	}
	return java
}

func tail(b []byte) string { return string(b[max(0, len(b)-400):]) }
