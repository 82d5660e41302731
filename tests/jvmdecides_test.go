//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// decision is a case in which the user decides something about the memory of a JVM.
type decision struct {
	memory string // the limit
	user   string // the user's options
	uses   string // arguments of testdata/Fill.java: what the application takes
}

// decisions are near the edge: in most of them the JVM alone has some 15 % of the memory to spare.
var decisions = []decision{
	// A maximum heap below, near and above the limit.
	{"384m", "-Xmx256m", "classes=70 heap=150 garbage=300"},
	{"512m", "-Xmx384m", "classes=80 heap=230 garbage=400"},
	{"512m", "-Xmx480m", "classes=100 heap=220 garbage=300"},
	{"512m", "-Xmx512m", "classes=40 heap=200 garbage=600"},
	{"512m", "-Xmx1g", "classes=90 heap=200 garbage=600"},
	{"768m", "-Xmx640m", "classes=90 direct=40 heap=250 garbage=300"},
	{"768m", "-Xmx800m", "classes=40 direct=20 heap=350 garbage=600"},
	{"1g", "-Xmx896m", "classes=120 direct=60 heap=330 garbage=300"},
	{"1g", "-Xmx1g", "classes=85 heap=400 garbage=500"},
	{"1g", "-Xmx2g", "classes=100 heap=400 garbage=800"},
	{"1g", "-Xmx700m", "threads=100x8000 heap=300"},
	{"1g", "-Xms64m -Xmx900m", "classes=100 direct=180 heap=350"},
	{"2g", "-Xmx1900m", "classes=130 direct=120 heap=600 garbage=500"},
	{"2g", "-Xmx4g", "classes=150 heap=700 garbage=300"},
	// Percentages and their base.
	{"512m", "-XX:MaxRAMPercentage=50", "classes=90 direct=20 heap=180 garbage=300"},
	{"512m", "-XX:MaxRAMPercentage=75", "classes=85 direct=60 heap=180"},
	{"1g", "-XX:MaxRAMPercentage=75", "classes=85 direct=30 heap=400 garbage=300"},
	{"1g", "-XX:MaxRAMPercentage=90", "classes=100 direct=100 heap=450"},
	{"768m", "-XX:MaxRAMPercentage=60 -XX:InitialRAMPercentage=10", "classes=115 direct=58 heap=300"},
	{"1g", "-XX:MaxRAM=4g", "classes=85 direct=40 heap=500 garbage=200"},
	{"384m", "-XX:MinRAMPercentage=80", "classes=60 direct=14 heap=75 garbage=200"},
	{"512m", "-XX:MaxRAMFraction=1", "classes=90 direct=50 heap=200"},
	// Regions beside the heap, with a heap of the JVM's own size in use.
	{"512m", "-XX:MaxMetaspaceSize=280m", "classes=260 heap=90 garbage=600"},
	{"768m", "-XX:MaxMetaspaceSize=450m", "classes=420 heap=150 garbage=800"},
	{"512m", "-XX:MaxDirectMemorySize=260m", "direct=250 heap=90 garbage=600"},
	{"1g", "-XX:MaxDirectMemorySize=600m", "direct=560 classes=40 heap=180 garbage=800"},
	{"512m", "-XX:ReservedCodeCacheSize=240m", "classes=110 direct=55 heap=100 garbage=400"},
	{"1g", "-XX:MaxMetaspaceSize=300m -XX:MaxDirectMemorySize=300m", "classes=280 direct=280 heap=150 garbage=800"},
	{"512m", "-Xmn64m", "classes=60 direct=14 heap=110 garbage=300"},
	{"1g", "-Xmn600m", "classes=120 direct=58 heap=150 garbage=700"},
	// Stacks.
	{"512m", "-Xss1m", "threads=150x8000 classes=60 direct=14 heap=100"},
	{"512m", "-Xss256k", "threads=200x1300 classes=60 direct=14 heap=100"},
	{"1g", "-Xmx600m", "threads=50x8000 heap=200"},
	{"1g", "-Xss2m -Xmx600m", "threads=80x16000 classes=90 heap=400"},
	// Collectors.
	{"512m", "-XX:+UseG1GC", "classes=60 direct=14 heap=90 garbage=300"},
	{"512m", "-XX:+UseZGC", "classes=60 direct=14 heap=80 garbage=300"},
	{"1g", "-XX:+UseZGC", "classes=115 direct=58 heap=190 garbage=500"},
	{"1g", "-XX:+UseShenandoahGC", "classes=115 direct=58 heap=190 garbage=500"},
	{"1g", "-XX:+UseZGC -Xmx800m", "classes=80 heap=400 garbage=200"},
	{"768m", "-XX:+UseParallelGC", "classes=95 direct=40 heap=110 garbage=500"},
	{"1g", "-XX:+UseSerialGC -XX:MaxRAMPercentage=80", "classes=85 direct=120 heap=450"},
	{"2g", "-XX:+UseG1GC -Xmx1800m", "classes=100 direct=100 heap=700"},
	// Regions without a bound: the heap does not start full.
	{"1g", "-XX:+UseG1GC -XX:MaxMetaspaceSize=18446744073709551615", "heap=150 garbage=3000 classes=600"},
	{"1g", "-XX:+UseG1GC -XX:MaxDirectMemorySize=9223372036854775807", "direct=600 heap=150 garbage=3000"},
}

// decisionsOfNoSize leave the rule its heap, which is larger than the JVM's own: alone these JVMs have too little.
var decisionsOfNoSize = []decision{
	{"512m", "-Xss1m", "classes=60 direct=14 heap=150"},
	{"512m", "-XX:MetaspaceSize=256m", "classes=60 direct=14 heap=200"},
	{"1g", "-XX:CompressedClassSpaceSize=1g", "classes=85 heap=400"},
}

// decisionsOnAll are those that are tried on other JDKs too, which have other defaults.
var decisionsOnAll = []decision{
	{"512m", "-Xmx480m", "classes=70 heap=180 garbage=300"},
	{"1g", "-Xmx1g", "classes=85 heap=380 garbage=400"},
	{"1g", "-XX:MaxRAMPercentage=75.0", "classes=85 direct=30 heap=350 garbage=300"},
	{"768m", "-XX:MaxMetaspaceSize=400m", "classes=350 heap=120 garbage=500"},
	{"1g", "-Xss1m -XX:MaxDirectMemorySize=400m", "threads=100x5000 direct=380 heap=150 garbage=300"},
}

// TestJVMLivesWhereUsersDecide: there is no case in which a JVM with a user's options lives and dies
// under stoker, whether the options are those of the user or enforced.
func TestJVMLivesWhereUsersDecide(t *testing.T) {
	needsNamespaces(t)
	needsCPUs(t, 2)
	testDecisions(t, decisions, jdk{java: "java"})
	dir := t.TempDir()
	compileFill(t, dir)
	for _, d := range decisionsOfNoSize {
		t.Run(d.memory+" "+d.user, func(t *testing.T) { d.livesUnderStoker(t, dir, jdk{}, "") })
	}
	t.Run("no metaspace rule", func(t *testing.T) {
		d := decision{"1g", "-XX:+UseG1GC", "heap=150 garbage=600 classes=600"}
		d.livesUnderStoker(t, dir, jdk{}, "jvm: {rules: {metaspace: false}}\n")
	})
}

// The same on other JDKs: STOKER_MATRIX are the arguments of scripts/matrix.sh, by default its three.
func TestOtherJVMsLiveWhereUsersDecide(t *testing.T) {
	needsNamespaces(t)
	needsCPUs(t, 2)
	for _, j := range matrixJDKs(t) {
		t.Run(j.version, func(t *testing.T) {
			more := slices.Clone(decisionsOnAll)
			if j.major() >= 21 {
				more = append(more, decision{"1g", "-XX:+UseZGC", "classes=110 direct=50 heap=190 garbage=400"},
					decision{"1g", "-XX:+UseZGC -Xmx800m", "classes=60 heap=350 garbage=200"})
			}
			testDecisions(t, more, j)
		})
	}
}

// testDecisions runs cases in parallel. Every fifth one is enforced.
func testDecisions(t *testing.T, all []decision, j jdk) {
	dir := t.TempDir()
	compileFill(t, dir)
	var ran, lived atomic.Int64 // with -run not all are run
	t.Run("cases", func(t *testing.T) {
		for k, d := range all {
			t.Run(d.memory+" "+d.user, func(t *testing.T) {
				t.Parallel()
				ran.Add(1)
				if d.lives(t, dir, j, k%5 == 0) {
					lived.Add(1)
				}
			})
		}
	})
	if lived.Load() < ran.Load()*9/10 { // another JVM, another machine
		t.Errorf("only %d of %d JVMs live alone: the rest is no test", lived.Load(), ran.Load())
	}
}

// compileFill makes Fill.class in dir, for every Java from 8 on.
func compileFill(t testing.TB, dir string) {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		lacking(t, "javac is missing")
	}
	if out, err := exec.Command("javac", "--release", "8", "-Xlint:-options", "-d", dir, "testdata/Fill.java").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// lives runs the JVM alone and under stoker, with two CPUs each, and reports whether it lives alone.
func (d decision) lives(t *testing.T, classes string, j jdk, enforced bool) bool {
	alone := newMemoryGroup(t, d.memory)
	command := slices.Concat([]string{j.java}, strings.Fields(d.user), []string{"-cp", classes, "Fill"}, strings.Fields(d.uses))
	out, code := alone.run(nil, j.inside(t, classes, command)...)
	kills, peak := alone.use()
	if !hasLived(out, code, kills) {
		t.Logf("%v: alone it does not live: code %d, %d kills, %s in use: %s", d, code, kills, peak, lastOf(out, 300))
		return false
	}
	t.Logf("%v: %s in use alone", d, peak)
	more := ""
	if enforced {
		d.user, more = "", fmt.Sprintf("jvm: {enforced: {options: ['%s']}}\n", strings.ReplaceAll(d.user, " ", "', '"))
	}
	d.livesUnderStoker(t, classes, j, more)
	return true
}

// livesUnderStoker runs the JVM under stoker, with more of a configuration.
func (d decision) livesUnderStoker(t *testing.T, classes string, j jdk, more string) {
	t.Helper()
	config := fmt.Sprintf("main: app\nservices:\n  app:\n    kind: java\n    java: {home: '%s', main: Fill, classpath: [%s], args: [%s]}\n"+
		"    restart: {policy: never}\n    essential: true\n%s", j.home, classes, strings.ReplaceAll(d.uses, " ", ", "), more)
	dir, err := os.MkdirTemp(classes, "") // where a root file system of its own has it too
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stoker.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	under := newMemoryGroup(t, d.memory)
	command := []string{stoker(t), "run", "--set", "api.socket=" + filepath.Join(dir, "s"), "--config", file}
	out, code := under.run([]string{"JAVA_OPTS=" + d.user}, j.inside(t, classes, command)...)
	kills, peak := under.use()
	t.Logf("%v: %s in use under stoker", d, peak)
	if !hasLived(out, code, kills) {
		t.Errorf("under stoker: code %d, %d kills, %s in use:\n%s", code, kills, peak, lastOf(out, 3000))
	}
}

func hasLived(out string, code, kills int) bool {
	return code == 0 && kills == 0 && strings.Contains(out, "lived through it")
}

// jdk is a Java to run: the one of the machine, or one in a root file system of its own.
type jdk struct {
	version string
	java    string // the program
	home    string // empty: stoker finds it
	lower   string // the folders of an overlay; empty: the machine's own root
}

func (j jdk) major() int {
	n, _ := strconv.Atoi(j.version[:len(j.version)-len(strings.TrimLeft(j.version, "0123456789"))])
	return n
}

// matrixJDKs are those of scripts/matrix.sh.
func matrixJDKs(t testing.TB) (all []jdk) {
	t.Helper()
	cmd := exec.Command("../scripts/matrix.sh", strings.Fields(os.Getenv("STOKER_MATRIX"))...)
	out, err := cmd.Output()
	if err != nil {
		lacking(t, "cannot fetch JDKs: "+err.Error())
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line) // Java, Tomcat, folders
		j := jdk{version: f[0], lower: f[2]}
		for dir := range strings.SplitSeq(j.lower, ":") {
			// There is a link to it too, java-1.17.0-openjdk-amd64.
			if homes, _ := filepath.Glob(fmt.Sprintf("%s/usr/lib/jvm/java-%d-openjdk-*", dir, j.major())); len(homes) == 1 {
				j.home = strings.TrimPrefix(homes[0], dir)
			}
		}
		if j.home == "" {
			t.Fatalf("there is no Java in %s", j.lower)
		}
		j.java = j.home + "/bin/java"
		all = append(all, j)
	}
	return all
}

// inRoot runs a command in an overlay. Its arguments are the folders below, where to mount it, stoker, and a folder; the last two are at
// the same place in there.
const inRoot = `set -e
mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
for dir in dev sys; do mount --rbind "/$dir" "$2/root/$dir"; done
mount -t proc proc "$2/root/proc"
mkdir -p "$2/root$4" "$2/root${3%/*}" && touch "$2/root$3"
mount --bind "$3" "$2/root$3" && mount --bind "$4" "$2/root$4"
cd "$2/root" && shift 4
exec chroot . "$@"`

// inside returns a command as PID 1 of a PID namespace on two CPUs that sees a folder.
func (j jdk) inside(t *testing.T, folder string, command []string) []string {
	t.Helper()
	args := []string{"taskset", "-c", "0,1", "unshare", "-pfm", "--mount-proc", "--kill-child"}
	if j.lower != "" {
		args = append(args, "sh", "-c", inRoot, "sh", j.lower, t.TempDir(), stoker(t), folder)
	}
	return append(args, command...)
}
