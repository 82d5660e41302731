package jvm

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mergeCase is one row of three layers. want is the merged argv; codes are those
// of warnings, then of errors. flags are what the JVM must say when it runs with
// the result (nil: not run).
type mergeCase struct {
	name                    string
	defaults, user, enforce string
	want                    string
	codes                   string
	flags                   map[string]string
}

const mb = 1 << 20

func heap(n int) map[string]string { return map[string]string{"MaxHeapSize": strconv.Itoa(n * mb)} }

func mergeCases() []mergeCase {
	return []mergeCase{
		{"nothing", "", "", "", "", "", nil},
		{"default alone", "-Xmx200m", "", "", "-Xmx200m", "", heap(200)},
		{"user beats default", "-Xmx200m", "-Xmx300m", "", "-Xmx300m", "", heap(300)},
		{"enforced beats user", "-Xmx200m", "-Xmx300m", "-Xmx100m", "-Xmx100m", "user-override-dropped", heap(100)},
		{"alias MaxHeapSize", "-Xmx200m", "-XX:MaxHeapSize=300m", "", "-XX:MaxHeapSize=300m", "", heap(300)},
		{"alias mx", "", "-mx300m", "-Xmx200m", "-Xmx200m", "user-override-dropped", heap(200)},
		{"percentage beats absolute below", "-Xmx200m", "-XX:MaxRAMPercentage=10", "", "-XX:MaxRAMPercentage=10", "", map[string]string{"MaxRAMPercentage": "10.000000"}},
		{"absolute beats percentage below", "", "-XX:MaxRAMPercentage=80", "-Xmx200m", "-Xmx200m", "user-override-dropped", heap(200)},
		{"MaxRAM cannot move an enforced percentage", "", "-XX:MaxRAM=64g", "-XX:MaxRAMPercentage=10", "-XX:MaxRAMPercentage=10", "user-override-dropped", map[string]string{"MaxRAMPercentage": "10.000000"}},
		{"enforced MaxRAM beats absolute", "", "-Xmx900m", "-XX:MaxRAM=400m", "-XX:MaxRAM=400m", "user-override-dropped", map[string]string{"MaxRAM": strconv.Itoa(400 * mb)}},
		{"enforced MaxRAM keeps percentage", "", "-XX:MaxRAMPercentage=50", "-XX:MaxRAM=400m", "-XX:MaxRAMPercentage=50 -XX:MaxRAM=400m", "", heap(200)},
		{"absolute before percentage, one layer", "", "-Xmx200m -XX:MaxRAMPercentage=10", "", "-Xmx200m", "duplicate", heap(200)},
		{"percentage before absolute, one layer", "", "-XX:MaxRAMPercentage=10 -Xmx200m", "", "-Xmx200m", "duplicate", heap(200)},
		{"twice in one layer", "", "-Xmx200m -Xmx300m", "", "-Xmx300m", "duplicate", heap(300)},
		{"Xms and InitialHeapSize", "-Xms100m", "-XX:InitialHeapSize=50m", "-Xmx200m", "-XX:InitialHeapSize=50m -Xmx200m", "", heap(200)},
		{"Xms and InitialHeapSize in one layer", "", "-Xms100m -XX:InitialHeapSize=50m -Xmx200m", "", "-XX:InitialHeapSize=50m -Xmx200m", "duplicate", heap(200)},
		{"Xms takes MinHeapSize along", "", "-XX:MinHeapSize=90m", "-Xms50m -Xmx200m", "-Xms50m -Xmx200m", "user-override-dropped", heap(200)},
		{"user's Xms above enforced Xmx", "", "-Xms300m", "-Xmx200m", "-Xms200m -Xmx200m", "adjusted", map[string]string{"MaxHeapSize": strconv.Itoa(200 * mb), "InitialHeapSize": strconv.Itoa(200 * mb)}},
		{"user's Xms above default Xmx", "-Xmx200m", "-Xms300m", "", "-Xmx300m -Xms300m", "adjusted", heap(300)},
		{"Xms above Xmx in one layer", "", "-Xms300m -Xmx200m", "", "", "invalid-combination", nil},
		{"young family", "-XX:NewRatio=3", "-Xmn50m", "-Xmx200m", "-Xmn50m -Xmx200m", "", map[string]string{"NewSize": strconv.Itoa(50 * mb)}},
		{"NewSize beaten by Xmn", "", "-XX:NewSize=90m -XX:MaxNewSize=90m", "-Xmn50m -Xmx200m", "-Xmn50m -Xmx200m", "user-override-dropped user-override-dropped", map[string]string{"MaxNewSize": strconv.Itoa(50 * mb)}},
		{"stack alias", "-Xss256k", "-XX:ThreadStackSize=512", "", "-XX:ThreadStackSize=512", "", map[string]string{"ThreadStackSize": "512"}},
		{"stack in the wrong unit", "", "-XX:ThreadStackSize=256m", "", "", "bad-value", nil},
		{"collector family", "-XX:+UseG1GC", "-XX:+UseParallelGC", "", "-XX:+UseParallelGC", "", map[string]string{"UseParallelGC": "true", "UseG1GC": "false"}},
		{"enforced collector", "-XX:+UseG1GC", "-XX:+UseParallelGC", "-XX:+UseSerialGC", "-XX:+UseSerialGC", "user-override-dropped", map[string]string{"UseSerialGC": "true"}},
		{"two collectors in one layer", "", "-XX:+UseG1GC -XX:+UseSerialGC", "", "-XX:+UseSerialGC", "gc-conflict", map[string]string{"UseSerialGC": "true"}},
		{"minus another collector", "-XX:+UseSerialGC", "-XX:-UseG1GC", "", "-XX:+UseSerialGC -XX:-UseG1GC", "", map[string]string{"UseSerialGC": "true"}},
		{"CMS pair of Java 8", "", "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC", "", "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC", "", nil},
		{"CMS pair beaten", "", "-XX:+UseConcMarkSweepGC -XX:+UseParNewGC", "-XX:+UseG1GC", "-XX:+UseG1GC", "user-override-dropped user-override-dropped", map[string]string{"UseG1GC": "true"}},
		{"plus and minus", "-XX:+UseStringDeduplication", "-XX:-UseStringDeduplication", "", "-XX:-UseStringDeduplication", "", map[string]string{"UseStringDeduplication": "false"}},
		{"valued flag", "-XX:MaxMetaspaceSize=64m", "-XX:MaxMetaspaceSize=96m", "", "-XX:MaxMetaspaceSize=96m", "", map[string]string{"MaxMetaspaceSize": strconv.Itoa(96 * mb)}},
		{"flag names are case-sensitive", "-XX:maxMetaspaceSize=1", "-XX:MaxMetaspaceSize=96m", "", "-XX:maxMetaspaceSize=1 -XX:MaxMetaspaceSize=96m", "", nil},
		{"property", "-Da=1", "-Da=2", "-Db=3", "-Da=2 -Db=3", "", map[string]string{}},
		{"property without value", "-Da=1", "-Da", "", "-Da", "", map[string]string{}},
		{"property with equals signs", "", "-Da=b=c", "-Da.b=1", "-Da=b=c -Da.b=1", "", map[string]string{}},
		{"enforced property", "", "-Da=1", "-Da=2", "-Da=2", "user-override-dropped", map[string]string{}},
		{"same value is no loss", "", "-Da=1", "-Da=1", "-Da=1", "", map[string]string{}},
		{"mode", "-Xint", "-Xcomp", "-Xmixed", "-Xmixed", "user-override-dropped", map[string]string{}},
		{"one jdwp", "", "-agentlib:jdwp=transport=dt_socket,server=y,address=1", "-Xrunjdwp:transport=dt_socket,address=2", "-Xrunjdwp:transport=dt_socket,address=2", "user-override-dropped", nil},
		{"agents add up", "-javaagent:a.jar", "-javaagent:b.jar=x", "-javaagent:a.jar", "-javaagent:b.jar=x -javaagent:a.jar", "", nil},
		{"opens add up", "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens java.base/java.util=ALL-UNNAMED", "", "--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens java.base/java.util=ALL-UNNAMED", "", map[string]string{}},
		{"logs keep their order", "-Xlog:gc", "-Xlog:disable", "-Xlog:gc", "-Xlog:gc -Xlog:disable -Xlog:gc", "", map[string]string{}},
		{"assertions keep their order", "-ea", "-da:x...", "-ea", "-ea -da:x... -ea", "", map[string]string{}},
		{"OnOutOfMemoryError adds up", "-XX:OnOutOfMemoryError=a", "-XX:OnOutOfMemoryError=b", "", "-XX:OnOutOfMemoryError=a -XX:OnOutOfMemoryError=b", "", map[string]string{}},
		{"unlock first", "-XX:+PrintInlining", "-XX:+UnlockDiagnosticVMOptions", "", "-XX:+UnlockDiagnosticVMOptions -XX:+PrintInlining", "", map[string]string{"PrintInlining": "true"}},
		{"class path forms", "-cp a", "--class-path=b", "-classpath c", "-classpath c", "user-override-dropped", map[string]string{}},
		{"ActiveProcessorCount", "-XX:ActiveProcessorCount=1", "-XX:ActiveProcessorCount=2", "", "-XX:ActiveProcessorCount=2", "", map[string]string{"ActiveProcessorCount": "2"}},
		{"ignoring is named", "", "-XX:+IgnoreUnrecognizedVMOptions -XX:+NoSuchFlag", "", "-XX:+IgnoreUnrecognizedVMOptions -XX:+NoSuchFlag", "bypass", map[string]string{}},
		{"bare word", "", "-Xmx200m evil.Main", "", "", "not-a-jvm-option", nil},
		{"jar", "", "-jar", "", "", "not-a-jvm-option", nil},
		{"version", "", "-version", "", "", "not-a-jvm-option", nil},
		{"argument file", "", "@x", "", "", "bypass", nil},
		{"argument file as a value", "", "-cp @x", "", "", "bypass", nil},
		{"flags file", "", "-XX:Flags=x", "", "", "bypass", nil},
		{"options file", "", "", "-XX:VMOptionsFile=x", "", "bypass", nil},
		{"missing value", "", "--add-opens -Xmx1g", "", "", "bad-value", nil},
		{"no size", "", "-Xmx1.5g", "", "", "bad-value", nil},
		{"GB is no unit", "", "-Xmx2GB", "", "", "bad-value", nil},
		{"empty size", "", "-Xmx", "", "", "bad-value", nil},
		{"hexadecimal size", "", "-Xmx0x10000000", "", "-Xmx0x10000000", "", heap(256)},
		{"several errors", "", "word -Xmx1.5g -version", "", "", "not-a-jvm-option bad-value not-a-jvm-option", nil},
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

// TestMergeInJVM runs the merged options through a real JVM: it must start, and
// mean what the table says.
func TestMergeInJVM(t *testing.T) {
	java := javaOrSkip(t)
	for _, c := range mergeCases() {
		if c.flags == nil {
			continue
		}
		flags := printFlags(t, java, c.merge().Argv())
		for k, v := range c.flags {
			if flags[k] != v {
				t.Errorf("%s: %s is %q, want %q", c.name, k, flags[k], v)
			}
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

// printFlags starts the JVM and returns its own view of its flags.
func printFlags(t *testing.T, java string, argv []string) map[string]string {
	t.Helper()
	out, err := exec.Command(java, append(slices.Clone(argv), "-XX:+PrintFlagsFinal", "-version")...).CombinedOutput()
	if err != nil {
		t.Errorf("java %v: %v\n%s", argv, err, tail(out))
		return nil
	}
	flags := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*\w+ (\w+)\s+= (\S*)`).FindAllStringSubmatch(string(out), -1) {
		flags[m[1]] = m[2]
	}
	return flags
}

func tail(b []byte) string { return string(b[max(0, len(b)-400):]) }
