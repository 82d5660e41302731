//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	{"384m", "-Xmx256m", "heap=120 garbage=300"},
	{"512m", "-Xmx384m", "classes=40 heap=180 garbage=400"},
	{"512m", "-Xmx480m", "classes=60 heap=150 garbage=300"},
	{"512m", "-Xmx512m", "classes=40 heap=100 garbage=300"},
	{"512m", "-Xmx1g", "classes=30 heap=100 garbage=200"},
	{"768m", "-Xmx640m", "classes=90 direct=40 heap=250 garbage=300"},
	{"1g", "-Xmx896m", "classes=120 direct=60 heap=300 garbage=300"},
	{"1g", "-Xmx1g", "classes=85 heap=300 garbage=400"},
	{"1g", "-Xmx2g", "classes=60 heap=300 garbage=300"},
	{"1g", "-Xmx700m", "threads=60x8000 heap=200"},
	{"1g", "-Xms64m -Xmx900m", "classes=100 direct=80 heap=250"},
	{"2g", "-Xmx1900m", "classes=130 direct=120 heap=600 garbage=500"},
	{"2g", "-Xmx4g", "classes=90 heap=500"},
	// Percentages and their base.
	{"512m", "-XX:MaxRAMPercentage=50", "classes=70 direct=20 heap=150 garbage=300"},
	{"512m", "-XX:MaxRAMPercentage=75", "classes=85 direct=40 heap=120"},
	{"1g", "-XX:MaxRAMPercentage=75", "classes=85 direct=30 heap=400 garbage=300"},
	{"1g", "-XX:MaxRAMPercentage=90", "classes=100 direct=50 heap=400"},
	{"768m", "-XX:MaxRAMPercentage=60 -XX:InitialRAMPercentage=10", "classes=110 direct=60 heap=250"},
	{"1g", "-XX:MaxRAM=4g", "classes=85 direct=40 heap=500 garbage=200"},
	{"384m", "-XX:MinRAMPercentage=80", "classes=40 heap=60"},
	{"512m", "-XX:MaxRAMFraction=1", "classes=60 heap=150"},
	// Regions beside the heap, with a heap of the JVM's own size in use.
	{"512m", "-XX:MaxMetaspaceSize=256m", "classes=220 heap=90"},
	{"768m", "-XX:MaxMetaspaceSize=400m", "classes=350 heap=150 garbage=500"},
	{"512m", "-XX:MaxDirectMemorySize=220m", "direct=200 heap=90 garbage=300"},
	{"1g", "-XX:MaxDirectMemorySize=512m", "direct=480 classes=40 heap=200 garbage=800"},
	{"512m", "-XX:ReservedCodeCacheSize=240m", "classes=60 direct=20 heap=100 garbage=200"},
	{"1g", "-XX:MaxMetaspaceSize=300m -XX:MaxDirectMemorySize=300m", "classes=250 direct=250 heap=150 garbage=500"},
	{"512m", "-Xmn64m", "classes=50 heap=100 garbage=300"},
	{"1g", "-Xmn600m", "classes=50 heap=120 garbage=300"},
	// Stacks.
	{"512m", "-Xss1m", "threads=60x8000 classes=40 heap=80"},
	{"512m", "-Xss256k", "threads=300x1200 classes=40 heap=80"},
	{"1g", "-Xss2m -Xmx600m", "threads=40x16000 classes=90 heap=300"},
	// Collectors.
	{"512m", "-XX:+UseG1GC", "classes=60 heap=90 garbage=300"},
	{"512m", "-XX:+UseZGC", "classes=40 heap=60 garbage=200"},
	{"1g", "-XX:+UseZGC", "classes=80 direct=40 heap=180 garbage=400"},
	{"1g", "-XX:+UseShenandoahGC", "classes=80 direct=40 heap=180 garbage=400"},
	{"1g", "-XX:+UseZGC -Xmx800m", "classes=60 heap=350 garbage=200"},
	{"768m", "-XX:+UseParallelGC", "classes=60 heap=150 garbage=300"},
	{"1g", "-XX:+UseSerialGC -XX:MaxRAMPercentage=80", "classes=85 direct=70 heap=400"},
	{"2g", "-XX:+UseG1GC -Xmx1800m", "classes=100 direct=100 heap=700"},
}

// TestJVMLivesWhereUsersDecide: there is no case in which a JVM with a user's options lives and dies
// under stoker, whether the options are those of the user or enforced.
func TestJVMLivesWhereUsersDecide(t *testing.T) {
	needsNamespaces(t)
	needsCPUs(t, 2)
	classes := compiledFill(t)
	var lived atomic.Int64
	t.Run("cases", func(t *testing.T) {
		for k, d := range decisions {
			t.Run(fmt.Sprintf("%s %s", d.memory, d.user), func(t *testing.T) {
				t.Parallel()
				if d.lives(t, classes, k%5 == 0) {
					lived.Add(1)
				}
			})
		}
	})
	if n := lived.Load(); int(n) < len(decisions)-5 { // another JVM, another machine
		t.Errorf("only %d of %d JVMs live alone: the rest is no test", n, len(decisions))
	}
}

// compiledFill returns the folder of Fill.class, for every Java from 8 on.
func compiledFill(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		lacking(t, "javac is missing")
	}
	dir := t.TempDir()
	if out, err := exec.Command("javac", "--release", "8", "-Xlint:-options", "-d", dir, "testdata/Fill.java").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// lives runs the JVM alone and under stoker, with two CPUs each, and reports whether it lives alone.
func (d decision) lives(t *testing.T, classes string, enforced bool) bool {
	user, uses := strings.Fields(d.user), strings.Fields(d.uses)
	alone := newMemoryGroup(t, d.memory)
	out, code := alone.run(nil, slices.Concat([]string{"taskset", "-c", "0,1", "java"}, user, []string{"-cp", classes, "Fill"}, uses)...)
	kills, peak := alone.use()
	if !hasLived(out, code, kills) {
		t.Logf("alone it does not live: code %d, %d kills, %s in use: %s", code, kills, peak, lastOf(out, 300))
		return false
	}
	under := newMemoryGroup(t, d.memory)
	dir := t.TempDir()
	config := fmt.Sprintf("main: app\nservices:\n  app:\n    kind: java\n    java: {main: Fill, classpath: [%s], args: [%s]}\n"+
		"    restart: {policy: never}\n    essential: true\n", classes, strings.Join(uses, ", "))
	env := "JAVA_OPTS=" + d.user
	if enforced {
		config, env = config+fmt.Sprintf("jvm: {enforced: {options: ['%s']}}\n", strings.Join(user, "', '")), "JAVA_OPTS="
	}
	file := filepath.Join(dir, "stoker.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code = under.run([]string{env}, "taskset", "-c", "0,1", "unshare", "-pfm", "--mount-proc", "--kill-child", stoker(t), "run",
		"--set", "api.socket="+filepath.Join(dir, "s"), "--config", file)
	kills, more := under.use()
	t.Logf("%s alone, %s under stoker", peak, more)
	if !hasLived(out, code, kills) {
		t.Errorf("it lives alone (%s in use); under stoker: code %d, %d kills, %s in use:\n%s", peak, code, kills, more, lastOf(out, 3000))
	}
	return true
}

func hasLived(out string, code, kills int) bool {
	return code == 0 && kills == 0 && strings.Contains(out, "lived through it")
}
