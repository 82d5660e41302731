package jvm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What yields where the user decides: the rule's heap first, then the caps, and no start of a heap that does not fit.
func TestGiveWay(t *testing.T) {
	const sized = "-Xmx -Xms -XX:MaxMetaspaceSize= -XX:ReservedCodeCacheSize= -XX:MaxDirectMemorySize= -Xss"
	for _, tc := range []struct {
		mebibytes int64
		major     int
		user      string
		want      string // the sized options of the rule
		heap      int64  // MiB in the budget
		code      string
	}{
		// Heaps of the user.
		{1024, 17, "-XX:MaxRAMPercentage=75", "", 768, BudgetExceeded},
		{1024, 8, "-XX:MaxRAMFraction=1", "", 1024, BudgetExceeded},
		{1024, 17, "-Xmx1500m", "", 1500, BudgetExceeded},
		{512, 17, "-Xmx256m", "", 256, BudgetExceeded},
		{512, 17, "-Xmx100m", "-Xms100m -XX:MaxMetaspaceSize=128m -XX:ReservedCodeCacheSize=93m -XX:MaxDirectMemorySize=64m", 100, ""},
		{512, 17, "-XX:MinRAMPercentage=80",
			"-Xmx256m -Xms256m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 256, ""},
		{200, 17, "-XX:MaxRAMPercentage=75 -XX:MinRAMPercentage=60", "", 120, BudgetExceeded},
		{512, 17, "-XX:MaxRAM=2g", "", 512, BudgetExceeded},
		{512, 17, "-XX:+AggressiveHeap",
			"-Xmx236m -Xms236m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 236, GCConflict},
		{2048, 17, "-Xmx600m", "-Xms600m -XX:MaxMetaspaceSize=509m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=381m", 600, ""},
		// Other regions of the user: the rule's heap is smaller, but not than the JVM's own.
		{1024, 17, "-XX:MaxMetaspaceSize=300m", "-Xmx466m -Xms466m -XX:ReservedCodeCacheSize=65m -XX:MaxDirectMemorySize=64m", 466, ""},
		{1024, 17, "-XX:MetaspaceSize=300m",
			"-Xmx512m -Xms512m -XX:MaxMetaspaceSize=300m -XX:ReservedCodeCacheSize=128m -XX:MaxDirectMemorySize=65m -Xss512k", 512, Adjusted},
		{1024, 17, "-XX:CompressedClassSpaceSize=1g",
			"-Xmx512m -Xms512m -XX:MaxMetaspaceSize=1024m -XX:ReservedCodeCacheSize=128m -XX:MaxDirectMemorySize=65m -Xss512k", 512, Adjusted},
		{1024, 17, "-XX:MaxMetaspaceSize=18446744073709551615", "-Xmx256m -XX:ReservedCodeCacheSize=128m -XX:MaxDirectMemorySize=198m", 256, BudgetUnbounded},
		{1024, 17, "-XX:MaxDirectMemorySize=64m",
			"-Xmx512m -Xms512m -XX:MaxMetaspaceSize=143m -XX:ReservedCodeCacheSize=128m", 512, ""},
		{512, 17, "-XX:MaxDirectMemorySize=128m", "-Xmx128m", 128, BudgetExceeded},
		{1024, 17, "-Xss1m", "-Xmx512m -Xms512m -XX:MaxMetaspaceSize=143m -XX:ReservedCodeCacheSize=128m -XX:MaxDirectMemorySize=79m", 512, ""},
		{512, 17, "-Xss1m", "-Xmx256m -Xms256m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m", 256, ""},
		// Collectors: the heap pays for what they need beyond the usual one, and two of them start small.
		{512, 17, "-XX:+UseSerialGC",
			"-Xmx256m -Xms256m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 256, ""},
		{512, 28, "-XX:+UseG1GC",
			"-Xmx210m -Xms210m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 210, ""},
		{512, 17, "-XX:+UseParallelGC",
			"-Xmx236m -Xms236m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 236, ""},
		{512, 25, "-XX:+UseZGC", "-Xmx208m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 208, ""},
		{512, 21, "-XX:+UseZGC", "-Xmx190m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=48m -XX:MaxDirectMemorySize=16m -Xss256k", 190, ""},
		{2048, 17, "-XX:+UseShenandoahGC",
			"-Xmx1248m -XX:MaxMetaspaceSize=198m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=70m -Xss512k", 1248, ""},
		{2048, 17, "-XX:+UseSerialGC",
			"-Xmx1248m -Xms1248m -XX:MaxMetaspaceSize=214m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=86m -Xss512k", 1248, ""},
	} {
		r, err := Render(Input{Limits: gridLimits(tc.mebibytes, 2), Target: Target{JavaMajor: tc.major, JavaVersion: "1.8.0_412"},
			User: ParseArgs("u", strings.Fields(tc.user))})
		if err != nil {
			t.Errorf("%s: %v", tc.user, err)
			continue
		}
		var got []string
		for _, o := range r.Options {
			text := strings.Replace(o.String(), "-XX:InitialHeapSize=", "-Xms", 1) // one of both, by the collector
			if o.Generated && hasPrefix(text, strings.Fields(sized)...) {
				got = append(got, text)
			}
		}
		if strings.Join(got, " ") != tc.want || r.Budget[0].Bytes != tc.heap*mib {
			t.Errorf("%d MiB, %s: %v with a heap of %s, want %s", tc.mebibytes, tc.user, got, mibText(r.Budget[0].Bytes), tc.want)
		}
		codes := fmt.Sprint(r.Warnings)
		if tc.code == "" && len(r.Warnings) > 0 || !strings.Contains(codes, tc.code) {
			t.Errorf("%d MiB, %s: %s, want %q", tc.mebibytes, tc.user, codes, tc.code)
		}
	}
}

// The warning has the sum, what is missing, the option, and what to do.
func TestGiveWayWarns(t *testing.T) {
	in := Input{Target: Target{JavaMajor: 17}}
	for _, tc := range []struct {
		memory int64
		user   string
		want   []string
	}{
		{1024, "-Xmx768m", []string{"1154.3 MiB", "130.3 MiB more", "limit of 1024 MiB", "beside -Xmx768m (user layer, u)", "set a heap of at most 638 MiB"}},
		{512, "-Xmx256m", []string{"beside -Xmx256m", "leave the size of the heap out: the rule gives 256 MiB"}},
		{1024, "-XX:ReservedCodeCacheSize=2g", []string{"beside -XX:ReservedCodeCacheSize=2g", "set smaller sizes"}},
		{1024, "-XX:InitialHeapSize=900m", []string{"beside -XX:InitialHeapSize=900m", "set a heap of at most 638 MiB"}},
	} {
		in.Limits, in.User = gridLimits(tc.memory, 2), ParseArgs("u", []string{tc.user})
		r, err := Render(in)
		exceeded := slices.IndexFunc(r.Warnings, func(p Problem) bool { return p.Code == BudgetExceeded })
		if err != nil || exceeded < 0 {
			t.Fatal(tc.user, r.Warnings, err)
		}
		for _, want := range tc.want {
			if text := r.Warnings[exceeded].Message; !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in %q", tc.user, want, text)
			}
		}
	}
	in.Limits, in.User = gridLimits(1024, 2), ParseArgs("u", []string{"-Xmx638m"})
	if r, err := Render(in); err != nil || len(r.Warnings) > 0 || !slices.Contains(r.Argv(), "-XX:MaxMetaspaceSize=128m") {
		t.Errorf("%v, %v, %v", r.Argv(), r.Warnings, err)
	}
}

// Whatever a user fixes: the rule's heap is at least the JVM's own, and only sizes and collectors lower it. Beside a size no
// cap of the rule is below what a usual application needs, and there is no stack. A start is given only if the sum fits.
func TestGiveWayGrid(t *testing.T) {
	needs := map[string]int64{"MaxMetaspaceSize": 128 * mib, "ReservedCodeCacheSize": 64 * mib, "MaxDirectMemorySize": 64 * mib}
	var users []string
	for _, flag := range []string{"-Xmx", "-XX:MaxMetaspaceSize=", "-XX:ReservedCodeCacheSize=", "-XX:MaxDirectMemorySize="} {
		for _, size := range []string{"32m", "100m", "256m", "500m", "900m", "2g"} {
			users = append(users, flag+size)
		}
	}
	users = append(users, "-Xss256k", "-Xss512k", "-Xss2m", "-XX:MaxRAMPercentage=10", "-XX:MaxRAMPercentage=50", "-XX:MaxRAMPercentage=75",
		"-XX:MaxRAMPercentage=100", "-XX:MaxRAM=8g", "-Xmx256m -XX:MaxMetaspaceSize=64m", "-Xss1m -XX:+UseZGC", "-Xms200m -XX:MaxDirectMemorySize=256m",
		"-XX:ActiveProcessorCount=64 -Xss1m")
	policies := []Policy{{}, {Reserve: "100MiB"}, {Rules: switchedOff(t, "heap")}, {Rules: switchedOff(t, "metaspace")},
		{Profile: &Profile{Name: "p", OffHeapMin: "300MiB"}}}
	for _, memory := range []int64{384, 512, 768, 1024, 2048, 4096, 16384} {
		for _, user := range users {
			for k, policy := range policies {
				name := fmt.Sprintf("%d MiB, %s, policy %d", memory, user, k)
				in := Input{Limits: gridLimits(memory, 2), Target: Target{JavaMajor: 17}, Policy: policy, User: ParseArgs("u", strings.Fields(user))}
				r, err := Render(in)
				if err != nil { // too small for the reserve
					continue
				}
				fixed := fixedBy(in.User, in.Limits.Memory)
				decided := fixed.sizes() || !on(policy.Rules.Heap)
				checkGivenWay(t, name, r, fixed.sizes(), decided, needs)
				none := in
				none.User = nil
				rule, err := Render(none)
				if err != nil || fixed.Heap != nil {
					continue
				}
				heap, most := r.Budget[0].Bytes, rule.Budget[0].Bytes
				if heap < min(most, defaultHeap(memory*mib, 0.25, 0.5)) || !decided && fixed.Collector == "" && heap != most {
					t.Errorf("%s: a heap of %s, the rule's is %s", name, mibText(heap), mibText(most))
				}
			}
		}
	}
}

func checkGivenWay(t *testing.T, name string, r Result, sized, decided bool, needs map[string]int64) {
	t.Helper()
	over := r.Budget.Sum() > r.Limit
	if warned := strings.Contains(fmt.Sprint(r.Warnings), BudgetExceeded); over != warned {
		t.Errorf("%s: the sum is %s of %s: %v", name, mibText(r.Budget.Sum()), mibText(r.Limit), r.Warnings)
	}
	for _, o := range r.Options {
		if !o.Generated {
			continue
		}
		id := keyOf(o)
		n, _ := sizeOf(id.value)
		if decided && (n < needs[id.name] || over && needs[id.name] > 0 || sized && id.family == "stack") ||
			id.family == "heap.init" && (over || len(r.Budget.Unbounded()) > 0) {
			t.Errorf("%s: %s beside %v", name, o, r.Budget)
		}
	}
}

// One free ratio alone does not agree with the JVM's default of the other, which another version may have.
func TestOneOfAPair(t *testing.T) {
	for _, tc := range []struct {
		major   int
		user    string
		refused bool
	}{
		{17, "-XX:+UseG1GC -Xmaxf0.2", true}, {26, "-XX:+UseG1GC -XX:MinHeapFreeRatio=80", true}, {28, "-XX:+UseSerialGC -XX:MaxHeapFreeRatio=30", true},
		{27, "-XX:+UseG1GC -XX:MaxHeapFreeRatio=30", false}, {28, "-XX:+UseG1GC -XX:MinHeapFreeRatio=80", false},
		{28, "-XX:+UseG1GC -XX:MaxMetaspaceFreeRatio=30", true}, {17, "-XX:InitialCodeCacheSize=64m", true},
	} {
		r, _ := Render(Input{NoSizing: true, Target: Target{JavaMajor: tc.major}, User: ParseArgs("u", strings.Fields(tc.user))})
		if (r.Err() != nil) != tc.refused {
			t.Errorf("Java %d, %s: %v", tc.major, tc.user, r.Err())
		}
	}
}
