package jvm

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestRender(t *testing.T) {
	two := Limits{CPUs: 2, Memory: 2 << 30, MemorySource: "/sys/fs/cgroup/memory.max"}
	for _, tc := range []struct {
		name      string
		in        Input
		has, lack string
		code      string
	}{
		{"rule", Input{Limits: two}, "-Xmx1248m -Xms1248m -Xss512k -XX:+UseG1GC -XX:ActiveProcessorCount=2 -XX:+ExitOnOutOfMemoryError", "", ""},
		{"Xms follows a smaller Xmx", Input{Limits: two, User: ParseArgs("u", []string{"-Xmx600m"})}, "-Xmx600m -Xms600m", "-Xms1248m", ""},
		{"Xms follows a larger Xmx", Input{Limits: two, User: ParseArgs("u", []string{"-Xmx1400m"})}, "-Xmx1400m -Xms1400m", "", ""},
		{"user's own Xms stays", Input{Limits: two, User: ParseArgs("u", []string{"-Xms64m"})}, "-Xmx1248m -Xms64m", "-Xms1248m", ""},
		{"percentage", Input{Limits: two, User: ParseArgs("u", []string{"-XX:MaxRAMPercentage=25"})}, "-XX:MaxRAMPercentage=25",
			"-Xmx1248m -Xms1248m -Xms512m", Adjusted},
		{"too much heap", Input{Limits: two, User: ParseArgs("u", []string{"-Xmx3g"})}, "-Xmx3g", "-Xms3072m -Xms1248m -Xss512k -XX:MaxMetaspaceSize=193m", BudgetExceeded},
		{"company default beats the rule", Input{Limits: two, Default: ParseArgs("d", []string{"-XX:MaxDirectMemorySize=32m"})},
			"-XX:MaxDirectMemorySize=32m", "", ""},
		{"user takes our collector away", Input{Limits: two, User: ParseArgs("u", []string{"-XX:-UseG1GC"})}, "-XX:+UseSerialGC -XX:-UseG1GC",
			"-XX:+UseG1GC", Adjusted},
		{"enforced takes the user's collector away", Input{Limits: two, User: ParseArgs("u", []string{"-XX:+UseG1GC"}),
			Enforced: ParseArgs("e", []string{"-XX:-UseG1GC"})}, "-XX:+UseSerialGC -XX:-UseG1GC", "-XX:+UseG1GC", Adjusted},
		{"a minus and another collector", Input{Limits: two, Default: ParseArgs("d", []string{"-XX:-UseG1GC"}),
			User: ParseArgs("u", []string{"-XX:+UseParallelGC"})}, "-XX:-UseG1GC -XX:+UseParallelGC", "-XX:+UseSerialGC", ""},
		{"concurrent threads", Input{Limits: two, User: ParseArgs("u", []string{"-XX:ConcGCThreads=3"})},
			"-XX:ConcGCThreads=3 -XX:ParallelGCThreads=3", "", Adjusted},
		{"user's collector", Input{Limits: two, User: ParseArgs("u", []string{"-XX:+UseParallelGC"})}, "-XX:+UseParallelGC", "-XX:+UseG1GC", ""},
		{"no sizing", Input{Limits: two, NoSizing: true, User: ParseArgs("u", []string{"-Da=b"})}, "-Da=b", "-Xmx1248m", ""},
		{"one CPU and 512 MiB", Input{Limits: Limits{CPUs: 1, Memory: 512 * mib}},
			"-Xmx256m -Xms256m -XX:+UseSerialGC -XX:ActiveProcessorCount=1", "", ""},
		{"unknown memory", Input{Limits: Limits{CPUs: 1}}, "-XX:ActiveProcessorCount=1 -XX:+UseSerialGC", "-Xmx0m", MemoryUnknown},
	} {
		r, err := Render(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		for _, o := range strings.Fields(tc.has) {
			if !slices.Contains(r.Argv(), o) {
				t.Errorf("%s: %s is missing in %v", tc.name, o, r.Argv())
			}
		}
		for _, o := range strings.Fields(tc.lack) {
			if slices.Contains(r.Argv(), o) {
				t.Errorf("%s: %s is in %v", tc.name, o, r.Argv())
			}
		}
		found := tc.code == "" && len(r.Warnings) == 0
		for _, w := range r.Warnings {
			found = found || w.Code == tc.code
		}
		if !found {
			t.Errorf("%s: warnings %v, want %q", tc.name, r.Warnings, tc.code)
		}
	}
}

// A JVM starts with the options, and has their values.
func TestRenderInJVM(t *testing.T) {
	java := javaOrSkip(t)
	var inputs []Input
	for _, memory := range []int64{384, 1024, 2048} {
		for _, cpus := range []int{1, 2} {
			for _, user := range []string{"", "-Xmx200m", "-Xms100m", "-XX:MaxRAMPercentage=10", "-XX:-UseG1GC", "-XX:-UseSerialGC",
				"-XX:+UseParallelGC"} {
				inputs = append(inputs, Input{Limits: Limits{CPUs: cpus, Memory: memory * mib}, Target: Target{JavaMajor: 17},
					User: ParseArgs("u", strings.Fields(user))})
			}
		}
	}
	eachOfTwo(inputs, func(in Input) {
		r, err := Render(in)
		if err != nil {
			t.Error(err)
			return
		}
		flags := runJVM(t, java, r.Argv())
		if flags["ActiveProcessorCount"] != strconv.Itoa(in.Limits.CPUs) {
			t.Errorf("%d MiB, %d CPUs: %v", in.Limits.Memory/mib, in.Limits.CPUs, r.Argv())
		}
		if i := slices.IndexFunc(r.Options, func(o Option) bool { return keyOf(o).name == "MaxHeapSize" }); i >= 0 {
			if n, _ := sizeOf(keyOf(r.Options[i]).value); flags["MaxHeapSize"] != strconv.FormatInt(n, 10) {
				t.Errorf("%d MiB, %d CPUs, %v: MaxHeapSize %s, want %d", in.Limits.Memory/mib, in.Limits.CPUs, r.Argv(), flags["MaxHeapSize"], n)
			}
		}
	})
}

func TestRenderRefuses(t *testing.T) {
	r, err := Render(Input{Limits: Limits{CPUs: 1, Memory: 256 * mib}})
	var refused *DoesNotFitError
	if !errors.As(err, &refused) || r.Argv() != nil || r.Err() == nil || len(r.Budget) == 0 {
		t.Errorf("%v, %v", r.Argv(), err)
	}
	r, err = Render(Input{Limits: Limits{CPUs: 1, Memory: 256 * mib}, User: ParseArgs("u", []string{"-Xmx100m"})})
	if err != nil || r.Argv() == nil {
		t.Errorf("a user's heap is still refused: %v", err)
	}
}

// A start above the rule's heap lifts the heap, and the budget shows it.
func TestStartLiftsTheBudget(t *testing.T) {
	r, err := Render(Input{Limits: Limits{CPUs: 2, Memory: 2 << 30}, Target: Target{JavaMajor: 17},
		User: ParseArgs("u", []string{"-Xms1400m"})})
	if err != nil || !slices.Contains(r.Argv(), "-Xmx1400m") || r.Budget[0].Bytes != 1400*mib {
		t.Errorf("%v, %v, %v", r.Argv(), r.Budget, err)
	}
}

// The explanation shows the value of the rule that an option overrides.
func TestReplacedShowsTheRule(t *testing.T) {
	beaten := map[string]string{}
	for _, user := range [...]string{"-Xmx600m -XX:+UseSerialGC", "-Xss1m"} {
		r, err := Render(Input{Limits: Limits{CPUs: 2, Memory: 2 << 30}, User: ParseArgs("u", strings.Fields(user))})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range r.Options {
			for _, b := range o.Replaced {
				beaten[o.String()] = b.String()
			}
		}
	}
	for o, b := range map[string]string{"-Xmx600m": "-Xmx1248m", "-Xms600m": "-Xms1248m", "-XX:+UseSerialGC": "-XX:+UseG1GC",
		"-Xss1m": "-Xss512k"} {
		if beaten[o] != b {
			t.Errorf("%s has beaten %q, want %s", o, beaten[o], b)
		}
	}
}

func TestRemovedOptions(t *testing.T) {
	user := ParseFile("app.options", "# old\n-XX:MaxPermSize=128m\n")
	r, err := Render(Input{Limits: Limits{CPUs: 1, Memory: 1 << 30}, Target: Target{JavaMajor: 17}, User: user})
	if err != nil || len(r.Errors) != 1 || r.Errors[0].Code != RemovedOption ||
		!strings.Contains(r.Errors[0].Message, "user layer, app.options:2") {
		t.Errorf("%v, %v", r.Errors, err)
	}
	if r, _ = Render(Input{Limits: Limits{CPUs: 1, Memory: 1 << 30}, Target: Target{JavaMajor: 8}, User: user}); r.Err() != nil {
		t.Errorf("Java 8 knows it: %v", r.Errors)
	}
}

func TestExplain(t *testing.T) {
	quota := 1.5
	for name, in := range map[string]Input{
		"container": {
			Limits: Limits{CPUs: 2, CPUQuota: &quota, Memory: 1 << 30, MemorySource: "/sys/fs/cgroup/memory.max",
				CPUSource: "/sys/fs/cgroup/cpu.max"},
			Target:  Target{JavaMajor: 17, JavaVersion: "17.0.15"},
			Default: ParseArgs("stoker.yaml:3", []string{"-Xlog:gc"}), User: ParseFile("app.options", "-Xmx400m\n-Dx=\x1b[31mred\n-Dport=1\n"),
			Enforced: ParseArgs("stoker.yaml:9", []string{"-Dport=2", "--add-opens", "java.base/java.lang=ALL-UNNAMED"}),
		},
		"flavor": {
			Limits: gridLimits(2048, 1.5), Target: Target{JavaMajor: 8, JavaVersion: "1.8.0_181", MaxThreads: 50},
			Env: map[string]string{"MALLOC_ARENA_MAX": "1"},
			Policy: Policy{Profile: &Profile{Name: "small", OffHeapMin: "500MiB", Metaspace: "150MiB", Collector: "G1"},
				ProfileWhy: "env ENV is fat",
				CPUs:       CPUsFloor, Reserve: "128MiB", Rules: switchedOff(t, "direct-memory")},
		},
		"percentage": {Limits: gridLimits(1024, 2), Target: Target{JavaMajor: 17}, User: ParseArgs("u", []string{"-XX:MaxRAMPercentage=75"})},
		"unlimited": {Limits: Limits{CPUs: 2, Memory: 24 << 30, MemorySource: "/proc/meminfo", CPUSource: "/proc/cpuinfo", Unlimited: true},
			Target: Target{JavaMajor: 17}},
		"refused": {Limits: Limits{CPUs: 1, Memory: 128 * mib, MemorySource: "/sys/fs/cgroup/memory.max"},
			User: ParseArgs("JAVA_OPTS", []string{"-version"})},
	} {
		r, _ := Render(in) // the error is in the result too
		var text bytes.Buffer
		if err := Explain(&text, r, in.Limits, aligned); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", text.Bytes())
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(b, '\n'))
	}
}

// aligned is a layout of tables.
func aligned(rows [][]string) string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush()
	return regexp.MustCompile(` +\n`).ReplaceAllString(b.String(), "\n")
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (%v); run with -update to accept:\n%s", name, err, got)
	}
}
