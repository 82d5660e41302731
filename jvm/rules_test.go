package jvm

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each rule takes its own options away and no other, and a region without a cap
// is reported.
func TestRulesSwitchOff(t *testing.T) {
	in := Input{Limits: gridLimits(2048, 1.5), Target: Target{JavaMajor: 25}, Policy: Policy{CPUs: CPUsFloor}}
	whole, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rule, gone string
		codes      string
		open       string
	}{
		{"heap", "-Xmx1248m -XX:InitialHeapSize=1248m -XX:MaxHeapFreeRatio=100", BudgetUnbounded, "heap"},
		{"metaspace", "-XX:MaxMetaspaceSize=198m -XX:InitialHeapSize=1248m -XX:MaxHeapFreeRatio=100", BudgetUnbounded, "metaspace"},
		{"code-cache", "-XX:ReservedCodeCacheSize=240m", "", ""},
		{"direct-memory", "-XX:MaxDirectMemorySize=70m -XX:InitialHeapSize=1248m -XX:MaxHeapFreeRatio=100", BudgetUnbounded, "direct memory"},
		{"stacks", "-Xss512k", "", ""},
		{"collector", "-XX:+UseG1GC", "", ""},
		{"cpus", "-XX:ActiveProcessorCount=2", "", ""},
		{"thread-pins", "-XX:ParallelGCThreads=1 -XX:ConcGCThreads=1", "", ""},
		{"out-of-memory", "-XX:+ExitOnOutOfMemoryError", "", ""},
		{"native-trim", "-XX:TrimNativeHeapInterval=60000", "", ""},
		{"malloc-arenas", "", "", ""},
	} {
		in.Policy.Rules = switchedOff(t, tc.rule)
		r, err := Render(in)
		if err != nil {
			t.Errorf("%s: %v", tc.rule, err)
			continue
		}
		flags := func(argv []string) map[string]bool { // without the sizes, which follow each other
			out := map[string]bool{}
			for _, a := range argv {
				id := keyOf(Option{Args: []string{a}})
				out[id.family+id.name] = true
			}
			return out
		}
		want := slices.DeleteFunc(slices.Clone(whole.Argv()), func(a string) bool { return slices.Contains(strings.Fields(tc.gone), a) })
		if len(want) != len(whole.Argv())-len(strings.Fields(tc.gone)) || !reflect.DeepEqual(flags(r.Argv()), flags(want)) {
			t.Errorf("without %s: %v, with it %v", tc.rule, r.Argv(), whole.Argv())
		}
		var codes []string
		for _, w := range r.Warnings {
			codes = append(codes, w.Code)
		}
		if got := strings.Join(codes, " "); got != tc.codes {
			t.Errorf("without %s: %v, want %q", tc.rule, r.Warnings, tc.codes)
		}
		if got := strings.Join(r.Budget.Unbounded(), " "); got != tc.open {
			t.Errorf("without %s: no bound on %q, want %q", tc.rule, got, tc.open)
		}
		if (len(r.Env) == 0) != (tc.rule == "malloc-arenas") {
			t.Errorf("without %s: variables %v", tc.rule, r.Env)
		}
	}
}

// switchedOff switches the rule of that name off.
func switchedOff(t *testing.T, name string) Rules {
	t.Helper()
	var r Rules
	v, off := reflect.ValueOf(&r).Elem(), false
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			v.Field(i).Set(reflect.ValueOf(&off))
			return r
		}
	}
	t.Fatalf("there is no rule %q", name)
	return r
}

// The name of a rule is what its options have as their source.
func TestOptionsNameTheirRule(t *testing.T) {
	var names []string
	for i := range reflect.TypeFor[Rules]().NumField() {
		names = append(names, "rule "+reflect.TypeFor[Rules]().Field(i).Tag.Get("yaml"))
	}
	for _, target := range gridJVMs() {
		s, err := Size(gridLimits(2048, 1.5), Policy{CPUs: CPUsFloor}, target, Fixed{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range s.Options() {
			if !slices.Contains(names, o.Source) || o.Why == "" {
				t.Errorf("%s is of %q, because %q", o, o.Source, o.Why)
			}
		}
		for _, v := range s.Env(nil) {
			if !slices.Contains(names, v.Source) || v.Why == "" {
				t.Errorf("%+v", v)
			}
		}
	}
}

// A cap that a layer sets holds, whether the rule is on or not.
func TestSwitchedOffButSet(t *testing.T) {
	r, err := Render(Input{Limits: gridLimits(2048, 2), Policy: Policy{Rules: switchedOff(t, "metaspace")},
		Default: ParseArgs("d", []string{"-XX:MaxMetaspaceSize=100m"})})
	if err != nil || len(r.Warnings) > 0 || len(r.Budget.Unbounded()) > 0 {
		t.Errorf("%v, %v", r.Warnings, err)
	}
}

// Without the heap rule no container is too small: the user sizes the heap.
func TestNoHeapRuleNoRefusal(t *testing.T) {
	r, err := Render(Input{Limits: gridLimits(256, 1), Policy: Policy{Rules: switchedOff(t, "heap")}})
	if err != nil || r.Argv() == nil || !slices.ContainsFunc(r.Warnings, func(p Problem) bool { return p.Code == BudgetExceeded }) {
		t.Errorf("%v, %v, %v", r.Argv(), r.Warnings, err)
	}
}

// Without the rule the budget has the collector that HotSpot takes, and the heap stays.
func TestNoCollectorRule(t *testing.T) {
	for major, want := range map[int]string{17: "UseSerialGC", 28: "UseG1GC"} {
		s, err := Size(gridLimits(512, 1), Policy{Rules: switchedOff(t, "collector")}, Target{JavaMajor: major}, Fixed{})
		if err != nil || s.Collector != want || s.Heap != 256*mib || (s.Budget.Sum() > s.Limit) != (len(s.Warnings) > 0) {
			t.Errorf("Java %d: %s, %s, %v", major, s.Collector, mibText(s.Budget.Sum()), err)
		}
	}
}

func TestStacks(t *testing.T) {
	for _, tc := range []struct {
		name      string
		mebibytes int64
		target    Target
		policy    Policy
		want      string
		why       string
	}{
		{"no room", 512, Target{}, Policy{}, "-Xss256k", "there is no room for 512 KiB (10 000 calls), which would be 57.5 MiB more for 230 threads"},
		{"no room, a little larger", 960, Target{}, Policy{}, "-Xss256k", "57.5 MiB more"},
		{"small, Tomcat's 200 threads", 1024, Target{}, Policy{}, "-Xss512k", "1024 KiB (23 000 calls) would be 115 MiB more for 230 threads"},
		{"small, few threads", 1024, Target{MaxThreads: 20}, Policy{}, "-Xss1024k", "50 of them are 50 MiB, at most 5 %"},
		{"smaller, few threads", 960, Target{MaxThreads: 20}, Policy{}, "-Xss512k", "25 MiB more"},
		{"small, many threads", 1024, Target{MaxThreads: 400}, Policy{}, "-Xss256k", "107.5 MiB more for 430 threads"},
		{"the rule's own zone", 1600, Target{MaxThreads: 20}, Policy{}, "-Xss1024k", "at most 5 %"},
		{"2 GiB", 2048, Target{JavaMajor: 17}, Policy{}, "-Xss512k", "115 MiB more"},
		{"where memory is shortest", 3999, Target{JavaMajor: 17}, Policy{}, "-Xss512k", "115 MiB more"},
		{"4 GiB", 4096, Target{JavaMajor: 17}, Policy{}, "-Xss512k", "115 MiB more"},
		{"4 GiB, many threads", 4096, Target{JavaMajor: 17, MaxThreads: 800}, Policy{}, "-Xss256k", "207.5 MiB more"},
		{"8 GiB", 8192, Target{JavaMajor: 17}, Policy{}, "-Xss1024k", "230 of them are 230 MiB"},
		{"24 GiB", 24576, Target{JavaMajor: 17}, Policy{}, "-Xss1024k", "230 of them are 230 MiB"},
		{"outgrown", 65536, Target{JavaMajor: 17}, Policy{}, "-Xss512k", "115 MiB more"},
		{"the JVM's own is larger", 24576, Target{JavaMajor: 17, Arch: "aarch64"}, Policy{}, "-Xss1024k", "23 000 calls"},
		{"the JVM's own is larger, few threads", 16384, Target{JavaMajor: 17, Arch: "aarch64", MaxThreads: 50}, Policy{}, "-Xss2048k",
			"49 000 calls"},
		{"a port that needs more", 512, Target{Arch: "ppc64le", MaxThreads: 20}, Policy{}, "-Xss512k", "25 MiB more"},
		{"profile", 1024, Target{MaxThreads: 20}, Policy{Profile: &Profile{Name: "deep", Stack: "2MiB"}}, "-Xss2048k", `of the flavor "deep"`},
	} {
		s, err := Size(gridLimits(tc.mebibytes, 2), tc.policy, tc.target, Fixed{})
		if err != nil {
			t.Fatal(err)
		}
		options := s.Options()
		i := slices.IndexFunc(options, func(o Option) bool { return o.Source == "rule stacks" })
		if options[i].String() != tc.want || !strings.Contains(options[i].Why, tc.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", tc.name, options[i], options[i].Why, tc.want, tc.why)
		}
		if s.Budget.Sum() > s.Limit {
			t.Errorf("%s: the sum is %s\n%+v", tc.name, mibText(s.Budget.Sum()), s.Budget)
		}
	}
}

func TestAgentOption(t *testing.T) {
	for major, want := range map[int]bool{0: false, 8: false, 17: false, 20: false, 21: true, 28: true} {
		if o, needed := AgentOption(major); needed != want || o.Layer != Default || o.Why == "" {
			t.Errorf("%d: %v, %+v", major, needed, o)
		}
	}
}
