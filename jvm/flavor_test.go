package jvm

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestProfileIsChosen(t *testing.T) {
	at := Container{Env: map[string]string{"ENV": "fat", "EMPTY": ""}, Labels: map[string]string{"tier": "gold"},
		Limits: gridLimits(2048, 1.5)}
	named := func(name string, m Match) Profile { return Profile{Name: name, Match: m} }
	other := named("other", Match{})
	for _, tc := range []struct {
		name     string
		flavor   string
		profiles []Profile
		want     string
		why      string
	}{
		{"none", "", nil, "", ""},
		{"without match only by name", "", []Profile{other}, "", ""},
		{"by name", "other", []Profile{named("a", Match{Env: map[string]StringList{"ENV": {"fat"}}}), other}, "other",
			"named by jvm.flavor.name"},
		{"environment", "", []Profile{other, named("a", Match{Env: map[string]StringList{"ENV": {"uat", "fat"}}})}, "a", "env ENV is fat"},
		{"another value", "", []Profile{named("a", Match{Env: map[string]StringList{"ENV": {"pro"}}})}, "", ""},
		{"no such variable", "", []Profile{named("a", Match{Env: map[string]StringList{"NONE": {""}}})}, "", ""},
		{"an empty variable", "", []Profile{named("a", Match{Env: map[string]StringList{"EMPTY": {""}}})}, "a", "env EMPTY is"},
		{"a list of none", "", []Profile{named("a", Match{Env: map[string]StringList{"ENV": {}}})}, "", ""},
		{"label", "", []Profile{named("a", Match{Labels: map[string]StringList{"tier": {"gold"}}})}, "a", "label tier is gold"},
		{"all must hold", "", []Profile{named("a", Match{Labels: map[string]StringList{"tier": {"gold"}},
			Env: map[string]StringList{"ENV": {"pro"}}})}, "", ""},
		{"all hold", "", []Profile{named("a", Match{Labels: map[string]StringList{"tier": {"gold"}}, Memory: MemoryRange{Below: "3GiB"},
			CPUs: CPURange{Below: 2}})}, "a",
			"label tier is gold, memory is 2048 MiB, there are 1.5 CPUs"},
		{"at least includes", "", []Profile{named("a", Match{Memory: MemoryRange{AtLeast: "2GiB"}})}, "a", "memory is"},
		{"below excludes", "", []Profile{named("a", Match{Memory: MemoryRange{Below: "2GiB"}}), named("b", Match{CPUs: CPURange{AtLeast: 1.5}})},
			"b", "there are 1.5 CPUs"},
		{"the first that holds", "", []Profile{named("a", Match{CPUs: CPURange{AtLeast: 1}}), named("b", Match{CPUs: CPURange{AtLeast: 1}})}, "a",
			"there are 1.5 CPUs"},
	} {
		p, err := Config{Flavor: Flavor{Name: tc.flavor}, Flavors: tc.profiles}.Policy(at)
		got := ""
		if p.Profile != nil {
			got = p.Profile.Name
		}
		if err != nil || got != tc.want || !strings.HasPrefix(p.ProfileWhy, tc.why) {
			t.Errorf("%s: %q (%s), %v, want %q (%s)", tc.name, got, p.ProfileWhy, err, tc.want, tc.why)
		}
	}
	at.Limits.Memory = 0
	if p, err := (Config{Flavors: []Profile{named("a", Match{Memory: MemoryRange{Below: "3GiB"}})}}).Policy(at); err != nil ||
		p.Profile != nil {
		t.Errorf("an unknown memory is below 3 GiB: %+v, %v", p, err)
	}
	_, err := Config{Flavor: Flavor{Name: "gone"}, Flavors: []Profile{named("a", Match{}), other}}.Policy(at)
	if err == nil || !strings.Contains(err.Error(), `"gone"`) || !strings.Contains(err.Error(), "a, other") {
		t.Errorf("a flavor that does not exist: %v", err)
	}
}

// A profile may replace any number, and the explanation names it.
func TestProfileReplacesNumbers(t *testing.T) {
	for _, tc := range []struct {
		name      string
		mebibytes int64
		profile   Profile
		has       string
		region    string
		size      int64 // MiB
	}{
		{"cpus and memory", 8192, Profile{CPUs: 1, Memory: "2GiB"}, "-Xmx1248m -XX:ActiveProcessorCount=1 -XX:+UseSerialGC", "heap", 1248},
		{"share", 8192, Profile{OffHeapShare: 0.25}, "-Xmx6144m", "heap", 6144},
		{"minimum", 2048, Profile{OffHeapMin: "500MiB"}, "-Xmx1548m", "heap", 1548},
		{"minimum moves half and half", 1024, Profile{OffHeapMin: "500MiB"}, "-Xmx524m", "heap", 524},
		{"minimum above the maximum", 8192, Profile{OffHeapMin: "3GiB"}, "-Xmx5120m", "heap", 5120},
		{"maximum", 8192, Profile{OffHeapMax: "1200MiB"}, "-Xmx6992m", "heap", 6992},
		{"where half and half begins", 2048, Profile{SmallLimit: "3GiB"}, "-Xmx1024m", "heap", 1024},
		{"beside a small heap", 512, Profile{SmallOffHeap: "300MiB"}, "-Xmx212m", "heap", 212},
		{"smallest", 320, Profile{SmallestLimit: "300MiB", Threads: 40}, "-Xmx64m", "heap", 64},
		{"stack and threads", 2048, Profile{Stack: "512KiB", Threads: 100}, "-Xss512k", "thread stacks", 50},
		{"metaspace", 2048, Profile{Metaspace: "300MiB"}, "-XX:MaxMetaspaceSize=300m", "metaspace", 300},
		{"code cache", 2048, Profile{CodeCache: "100MiB"}, "-XX:ReservedCodeCacheSize=100m", "code cache", 100},
		{"direct memory", 2048, Profile{Direct: "128MiB"}, "-XX:MaxDirectMemorySize=128m", "direct memory", 128},
		{"reserve", 2048, Profile{Reserve: "48MiB"}, "-Xmx1200m", "reserve", 48},
		{"collector", 2048, Profile{Collector: "Parallel"}, "-XX:+UseParallelGC", "heap", 1248},
	} {
		tc.profile.Name = "tiny"
		in := Input{Limits: gridLimits(tc.mebibytes, 2), Target: Target{JavaMajor: 17},
			Policy: Policy{Profile: &tc.profile, ProfileWhy: "because", Reserve: "10MiB"}}
		if tc.profile.Reserve == "" {
			in.Policy.Reserve = ""
		}
		r, err := Render(in)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		for _, o := range strings.Fields(tc.has) {
			if !slices.Contains(r.Argv(), o) {
				t.Errorf("%s: %s is missing in %v", tc.name, o, r.Argv())
			}
		}
		i := slices.IndexFunc(r.Budget, func(g Region) bool { return g.Region == tc.region })
		if i < 0 || r.Budget[i].Bytes != tc.size*mib || r.Budget.Sum() > r.Limit {
			t.Errorf("%s: %+v", tc.name, r.Budget)
		}
		var text bytes.Buffer
		if err := Explain(&text, r, in.Limits, aligned); err != nil || !strings.Contains(text.String(), "tiny") ||
			!strings.Contains(text.String(), "because") {
			t.Errorf("%s: not explained: %v\n%s", tc.name, err, &text)
		}
	}
}

func TestFlavorWinsOverItsProfile(t *testing.T) {
	s, err := Size(gridLimits(8192, 8), Policy{Flavor: Flavor{Memory: "1GiB"}, Profile: &Profile{Name: "p", Memory: "4GiB", CPUs: 3}},
		Target{}, Fixed{})
	if err != nil || s.Limit != 1<<30 || s.CPUs != 3 {
		t.Errorf("%s, %d CPUs, %v", mibText(s.Limit), s.CPUs, err)
	}
}

// TestExplainFlavorLimit: where the flavor is the limit, the table of limits has it.
func TestExplainFlavorLimit(t *testing.T) {
	for flavor, want := range map[string]string{"": "", "512MiB": "memory to use  512 MiB   the memory of the flavor", "2GiB": ""} {
		in := Input{Limits: Limits{Memory: 1 << 30, MemorySource: "/memory.max", CPUs: 2}, Policy: Policy{Flavor: Flavor{Memory: flavor}},
			Target: Target{JavaMajor: 17}}
		r, err := Render(in)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := Explain(&text, r, in.Limits, aligned); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text.String(), "memory to use"); got != (want != "") || !strings.Contains(text.String(), want) {
			t.Errorf("%q: want %q in\n%s", flavor, want, &text)
		}
	}
}

func TestProfileIsChecked(t *testing.T) {
	for key, p := range map[string]Profile{
		"off_heap_share":      {OffHeapShare: 1},
		"off_heap_min":        {OffHeapMin: "0"},
		"off_heap_max":        {OffHeapMin: "2GiB", OffHeapMax: "1GiB"},
		"small_limit":         {SmallLimit: "800MiB"},
		"small_off_heap":      {SmallOffHeap: "1.5GiB"},
		"smallest_limit":      {SmallestLimit: "256MiB"},
		"stack":               {Stack: "64KiB"},
		"threads":             {Threads: -1},
		"metaspace":           {Metaspace: "-1"},
		"code_cache":          {CodeCache: "3GiB"},
		"direct":              {Direct: "1000KiB"},
		"reserve":             {Reserve: "x"},
		"cpus":                {CPUs: -1},
		"memory":              {Memory: "x"},
		"collector":           {Collector: "g1"},
		"match.memory.below":  {Match: Match{Memory: MemoryRange{Below: "x"}}},
		"match.cpus.at_least": {Match: Match{CPUs: CPURange{AtLeast: -1}}},
	} {
		if faults := p.Check(); len(faults) != 1 || faults[0].Key != key || faults[0].Message == "" {
			t.Errorf("%+v: %v, want one of %s", p, faults, key)
		}
		p.Name = "bad"
		p.Match = Match{}
		if _, err := Size(gridLimits(2048, 2), Policy{Profile: &p}, Target{}, Fixed{}); !strings.HasPrefix(key, "match") &&
			(err == nil || !strings.Contains(err.Error(), `"bad": `+key)) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestReserve(t *testing.T) {
	s, err := Size(gridLimits(2048, 2), Policy{Reserve: "448MiB"}, Target{}, Fixed{})
	if err != nil || s.Heap != 800*mib || s.Budget.Sum() > s.Limit || s.Budget.Own() != s.Limit-448*mib ||
		!strings.Contains(s.heapWhy, "less 448 MiB set aside") {
		t.Errorf("%s, %s, %v", mibText(s.Heap), s.heapWhy, err)
	}
	_, err = Size(gridLimits(512, 1), Policy{Reserve: "256MiB"}, Target{}, Fixed{})
	if err == nil || !strings.Contains(err.Error(), "the smallest workable limit is 640 MiB") ||
		!strings.Contains(err.Error(), "reserve 256 MiB") {
		t.Errorf("half of a small container is set aside: %v", err)
	}
	for _, text := range []string{"x", "1025TiB"} {
		if _, err := Size(gridLimits(2048, 2), Policy{Reserve: text}, Target{}, Fixed{}); err == nil {
			t.Errorf("a reserve of %s is accepted", text)
		}
	}
}
