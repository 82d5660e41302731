package jvm

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// gridJVMs are the versions that differ in their options.
func gridJVMs() []Target {
	return []Target{
		{JavaMajor: 8, JavaVersion: "1.8.0_181"}, {JavaMajor: 8, JavaVersion: "1.8.0_412"}, {JavaMajor: 11, JavaVersion: "11.0.23"},
		{JavaMajor: 17, JavaVersion: "17.0.15"}, {JavaMajor: 21, JavaVersion: "21.0.3"}, {JavaMajor: 25, JavaVersion: "25.0.3"},
	}
}

func gridMemories() []int64 { // MiB
	return []int64{256, 300, 383, 384, 385, 400, 512, 640, 768, 1000, 1024, 1280, 1536, 1599, 1600, 1601, 1791, 1792, 2000, 2048, 3000, 3072,
		3999,
		4000, 4096, 6144, 8192, 10239, 10240, 10241, 12288, 16384, 20000, 24576, 32768, 34816, 40960, 49152, 65536}
}

func gridLimits(mebibytes int64, cores float64) Limits {
	l := Limits{CPUs: max(int(math.Ceil(cores)), 1), Memory: mebibytes * mib, MemorySource: "/memory.max", CPUSource: "/cpu.max"}
	if cores != math.Trunc(cores) {
		l.CPUQuota = &cores
	}
	return l
}

// Invariants for every container, JVM and application.
func TestGrid(t *testing.T) {
	for _, target := range gridJVMs() {
		for _, cores := range []float64{0.1, 0.5, 1, 1.01, 1.5, 2, 3.5, 4, 8, 16, 64} {
			for k, app := range []struct {
				threads int
				policy  Policy
			}{{0, Policy{}}, {20, Policy{}}, {1000, Policy{}}, {0, Policy{CPUs: CPUsFloor}}, {0, Policy{Reserve: "200MiB"}}} {
				if k > 0 && !slices.Contains([]float64{0.5, 1.5, 4}, cores) {
					continue // the application has no effect on the number of cores
				}
				last := int64(0)
				for _, m := range gridMemories() {
					in := Input{Limits: gridLimits(m, cores), Policy: app.policy, Target: target}
					in.Target.MaxThreads = app.threads
					name := fmt.Sprintf("%d MiB, %g CPUs, Java %s, %+v", m, cores, target.JavaVersion, app)
					heap := checkSizing(t, name, in)
					if heap < last {
						t.Errorf("%s: the heap falls from %s to %s", name, mibText(last), mibText(heap))
					}
					last = heap
				}
			}
		}
	}
}

// checkSizing checks the invariants of one container and returns its heap, 0 for one
// that was refused.
func checkSizing(t *testing.T, name string, in Input) int64 {
	t.Helper()
	r, err := Render(in)
	var refused *DoesNotFitError
	if errors.As(err, &refused) {
		checkRefusal(t, name, in, refused)
		return 0
	}
	if err != nil || len(r.Errors) > 0 {
		t.Errorf("%s: %v, %v", name, err, r.Errors)
		return 0
	}
	for _, g := range r.Budget {
		if g.Bytes <= 0 || g.Why == "" {
			t.Errorf("%s: region %+v", name, g)
		}
	}
	over := slices.ContainsFunc(r.Warnings, func(p Problem) bool { return p.Code == BudgetExceeded })
	if (r.Budget.Sum() > r.Limit) != over {
		t.Errorf("%s: the sum is %s of %s, and the warnings are %v", name, mibText(r.Budget.Sum()), mibText(r.Limit), r.Warnings)
	}
	// Only many threads, or what is set aside in a small container, do not fit.
	if over && in.Target.MaxThreads <= 200 && (in.Policy.Reserve == "" || in.Limits.Memory >= 1<<30) {
		t.Errorf("%s: the sum is %s of %s\n%+v", name, mibText(r.Budget.Sum()), mibText(r.Limit), r.Budget)
	}
	argv := r.Argv()
	heap := r.Budget[0].Bytes
	start := fmt.Sprintf("-Xms%dm", heap/mib)
	if slices.Contains(argv, "-XX:+UseG1GC") && in.Target.JavaMajor >= 11 {
		start = fmt.Sprintf("-XX:InitialHeapSize=%dm", heap/mib)
	}
	if !slices.Contains(argv, fmt.Sprintf("-Xmx%dm", heap/mib)) || over == slices.Contains(argv, start) {
		t.Errorf("%s: a heap of %s: %v", name, mibText(heap), argv)
	}
	if heap < minHeap || heap%mib != 0 {
		t.Errorf("%s: a heap of %d", name, heap)
	}
	checkThreads(t, name, argv)
	return heap
}

// checkThreads refuses what HotSpot would refuse: ConcGCThreads above
// ParallelGCThreads, and fewer than two compilers.
func checkThreads(t *testing.T, name string, argv []string) {
	t.Helper()
	n := map[string]int{}
	for _, a := range argv {
		if flag, value, ok := strings.Cut(strings.TrimPrefix(a, "-XX:"), "="); ok {
			n[flag], _ = strconv.Atoi(value)
		}
	}
	if n["ConcGCThreads"] > n["ParallelGCThreads"] || slices.ContainsFunc(argv,
		func(a string) bool { return a == "-XX:CICompilerCount=1" || a == "-XX:ParallelGCThreads=0" }) {
		t.Errorf("%s: the JVM would refuse %v", name, argv)
	}
}

// checkRefusal wants every region and a smallest limit that works.
func checkRefusal(t *testing.T, name string, in Input, refused *DoesNotFitError) {
	t.Helper()
	for _, want := range []string{mibText(in.Limits.Memory), mibText(refused.Smallest), "heap", "metaspace", "code cache", "direct memory",
		"thread stacks", "VM threads", "GC structures", "JVM base", "stoker"} {
		if !strings.Contains(refused.Error(), want) {
			t.Errorf("%s: %q is not in %q", name, want, refused)
		}
	}
	in.Limits.Memory = refused.Smallest
	if r, err := Render(in); err != nil || len(r.Warnings) > 0 {
		t.Errorf("%s: what is called workable, %s, is not: %v, %v", name, mibText(refused.Smallest), err, r.Warnings)
	}
}

// The sizes themselves, to be looked at when a number of the rule is changed.
func TestGridTable(t *testing.T) {
	var b strings.Builder
	for _, target := range []Target{gridJVMs()[0], gridJVMs()[3], gridJVMs()[5]} {
		fmt.Fprintf(&b, "Java %s, MiB\n", target.JavaVersion)
		b.WriteString(aligned(cells(func(w io.Writer) {
			_, _ = fmt.Fprintln(w, "MEMORY\tCPUS\tHEAP\tMETASPACE\tCODE\tDIRECT\tSTACK KIB\tGC\tMARGIN\tCOLLECTOR")
			for _, m := range []int64{384, 512, 1024, 1536, 1600, 2048, 3072, 4096, 8192, 12288, 16384, 32768, 65536} {
				for _, cores := range []float64{0.5, 1.5, 8, 64} {
					s, err := Size(gridLimits(m, cores), Policy{}, target, Fixed{})
					if err != nil {
						t.Fatal(err)
					}
					margin := int64(0)
					gc := s.gcCost()
					if last := s.Budget[len(s.Budget)-1]; last.Region == "margin" {
						margin = last.Bytes
					}
					_, _ = fmt.Fprintf(w, "%d\t%g\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", m, cores, s.Heap/mib, s.Metaspace/mib, s.CodeCache/mib, s.Direct/mib,
						s.Stack/1024, gc.of(s.Heap)/mib, margin/mib, s.Collector)
				}
			}
		})) + "\n")
	}
	golden(t, "grid.txt", []byte(b.String()))
}

// No input makes a size negative.
func FuzzSize(f *testing.F) {
	f.Add(int64(2<<30), 1.5, 17, 200, int64(0), int64(0), "256MiB", "512k", 0.2)
	f.Add(int64(300<<20), 0.0, 8, 0, int64(100<<20), int64(1<<62), "", "9999999T", 0.99)
	f.Add(int64(-1), math.Inf(1), -1, -1, int64(-1), int64(-1), "1T", "1", -1.0)
	f.Fuzz(func(t *testing.T, memory int64, cores float64, major, threads int, heap, direct int64, reserve, stack string, share float64) {
		limits := Limits{CPUs: int(min(max(cores, 0), 1e6)), CPUQuota: &cores, Memory: memory}
		heap, direct = min(heap, maxBytes), min(direct, maxBytes) // as fixedBy does
		fixed := Fixed{Direct: &direct}
		if heap > 0 {
			fixed.Heap = &heap
		}
		if direct <= 0 {
			fixed.Direct = nil
		}
		s, err := Size(limits, Policy{Reserve: reserve, CPUs: CPUsFloor, Profile: &Profile{Name: "p", Stack: stack, OffHeapShare: share}},
			Target{JavaMajor: major, MaxThreads: threads}, fixed)
		var refused *DoesNotFitError
		if errors.As(err, &refused) {
			s.Budget = refused.Budget
		}
		for _, g := range s.Budget {
			if g.Bytes < 0 {
				t.Errorf("region %+v, %v", g, err)
			}
		}
		if err == nil && memory > 0 && s.Budget.Sum() < s.Heap {
			t.Errorf("the sum is %d\n%+v", s.Budget.Sum(), s.Budget)
		}
		for _, o := range s.Options() {
			if strings.Contains(o.String(), "-XX:ParallelGCThreads=0") || strings.HasSuffix(o.String(), "=0") ||
				strings.Contains(o.String(), "-Xmx0m") && heap == 0 && !errors.As(err, &refused) {
				t.Errorf("%s, %v", o, err)
			}
		}
	})
}

// A JVM starts with the options, and has the values of the sizing.
func TestGridInJVM(t *testing.T) {
	java := javaOrSkip(t)
	target := Target{JavaMajor: 17, JavaVersion: "17.0.15"}
	for _, tc := range []struct {
		mebibytes int64
		cores     float64
		policy    Policy
	}{
		{384, 0.1, Policy{}}, {512, 1, Policy{}}, {768, 2, Policy{}}, {1024, 1.5, Policy{}}, {1536, 4, Policy{CPUs: CPUsFloor}},
		{1600, 1.01, Policy{}},
		{1792, 1.5, Policy{CPUs: CPUsFloor}}, {2048, 2, Policy{Reserve: "300MiB"}}, {2048, 64, Policy{}},
		{3072, 3.5, Policy{CPUs: CPUsFloor}}, {4096, 16, Policy{}},
		{2048, 8, Policy{Profile: &Profile{Name: "p", OffHeapMin: "500MiB", Collector: "Parallel", Stack: "512k"}}},
	} {
		r, err := Render(Input{Limits: gridLimits(tc.mebibytes, tc.cores), Policy: tc.policy, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Size(gridLimits(tc.mebibytes, tc.cores), tc.policy, target, Fixed{})
		if err != nil {
			t.Fatal(err)
		}
		flags := runJVM(t, java, r.Argv())
		want := map[string]int64{"MaxHeapSize": s.Heap, "InitialHeapSize": s.Heap, "MaxMetaspaceSize": s.Metaspace,
			"ReservedCodeCacheSize": s.CodeCache,
			"MaxDirectMemorySize":   s.Direct, "ThreadStackSize": s.Stack / 1024, "ActiveProcessorCount": int64(s.CPUs),
			"ParallelGCThreads": int64(s.parallelGC)}
		for flag, n := range want {
			if flags[flag] != strconv.FormatInt(n, 10) {
				t.Errorf("%d MiB, %g CPUs, %+v: %s is %s, want %d", tc.mebibytes, tc.cores, tc.policy, flag, flags[flag], n)
			}
		}
		if flags[s.Collector] != "true" {
			t.Errorf("%d MiB, %g CPUs, %+v: %s is %s", tc.mebibytes, tc.cores, tc.policy, s.Collector, flags[s.Collector])
		}
	}
}

// The limit of 2 ms is for this and reading the limits, see BenchmarkRead of
// internal/cgroup.
func BenchmarkRender(b *testing.B) {
	in := Input{Limits: gridLimits(2048, 1.5), Target: gridJVMs()[3], Default: ParseArgs("d", []string{"-Xlog:gc", "-Dp=1"}),
		User:     ParseFile("u", "-Xmx900m\n-XX:+UseParallelGC\n--add-opens java.base/java.lang=ALL-UNNAMED\n-Da=b\n"),
		Enforced: ParseArgs("e", []string{"-Dp=2", "-Xss512k"})}
	for b.Loop() {
		if _, err := Render(in); err != nil {
			b.Fatal(err)
		}
	}
}

// cells are the rows that fill writes, with tabs between their cells.
func cells(fill func(io.Writer)) (rows [][]string) {
	var t strings.Builder
	fill(&t)
	for line := range strings.Lines(t.String()) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return rows
}
