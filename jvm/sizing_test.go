package jvm

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHeapRule(t *testing.T) {
	for _, tc := range []struct {
		limit, heap int64 // MiB
	}{
		{384, 128}, {400, 144}, {512, 256}, {1024, 512}, {1599, 799}, {1600, 800}, {2048, 1248}, {3072, 2272},
		{4096, 3276}, {6144, 4915}, {8192, 6553}, {10240, 8192}, {12288, 10240}, {16384, 14336}, {32768, 30720},
	} {
		s, err := Size(Limits{CPUs: 2, Memory: tc.limit * mib}, Policy{}, Target{JavaMajor: 17}, Fixed{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Heap != tc.heap*mib {
			t.Errorf("%d MiB: heap %s, want %d MiB", tc.limit, mibText(s.Heap), tc.heap)
		}
		if s.Budget.Sum() > s.Limit {
			t.Errorf("%d MiB: the regions add up to %s\n%+v", tc.limit, mibText(s.Budget.Sum()), s.Budget)
		}
	}
}

// The heap never shrinks when the container grows, and the sum always fits
// while the defaults hold.
func TestSizingIsMonotone(t *testing.T) {
	for _, cpus := range []int{1, 2, 4, 64} {
		for _, major := range []int{8, 17, 25} {
			last := int64(0)
			for m := int64(384); m < 70000; m += 7 {
				s, err := Size(Limits{CPUs: cpus, Memory: m*mib + 12345}, Policy{}, Target{JavaMajor: major}, Fixed{})
				if err != nil {
					t.Fatal(err)
				}
				if s.Heap < last {
					t.Fatalf("%d CPUs, Java %d, %d MiB: heap falls from %d to %d", cpus, major, m, last, s.Heap)
				}
				last = s.Heap
				// Dozens of GC threads do not fit beside the rule's heap.
				if cpus <= 4 && s.Budget.Sum() > s.Limit {
					t.Fatalf("%d CPUs, Java %d, %d MiB: sum %s", cpus, major, m, mibText(s.Budget.Sum()))
				}
			}
		}
	}
}

func TestLargeHeapLeavesRoomForTheCollector(t *testing.T) {
	s, err := Size(Limits{CPUs: 2, Memory: 64 << 30}, Policy{}, Target{JavaMajor: 17}, Fixed{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Heap >= 63488*mib || s.Budget.Sum() > s.Limit {
		t.Errorf("heap %s, sum %s", mibText(s.Heap), mibText(s.Budget.Sum()))
	}
}

func TestRefusal(t *testing.T) {
	_, err := Size(Limits{CPUs: 1, Memory: 300 * mib, MemorySource: "/memory.max"}, Policy{}, Target{}, Fixed{})
	var refused *DoesNotFitError
	if !errors.As(err, &refused) || refused.Smallest != 384*mib || len(refused.Budget) == 0 {
		t.Fatalf("err %v", err)
	}
	for _, want := range []string{"300 MiB", "/memory.max", "384 MiB", "metaspace", "code cache"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	_, err = Size(Limits{CPUs: 1, Memory: 300 * mib}, Policy{}, Target{MaxThreads: 1000}, Fixed{})
	if !errors.As(err, &refused) || refused.Smallest <= 384*mib {
		t.Errorf("1000 threads: %v", err)
	} else if s, err := Size(Limits{CPUs: 1, Memory: refused.Smallest}, Policy{}, Target{MaxThreads: 1000}, Fixed{}); err != nil ||
		len(s.Warnings) > 0 {
		t.Errorf("what is called workable is not: %v, %v", err, s.Warnings)
	}
	heap := int64(100 * mib)
	s, err := Size(Limits{CPUs: 1, Memory: 300 * mib}, Policy{}, Target{}, Fixed{Heap: &heap})
	if err != nil || len(s.Warnings) != 2 || s.Warnings[0].Code != Adjusted || s.Warnings[1].Code != BudgetExceeded {
		t.Errorf("a fixed heap is still refused: %v, %v", err, s.Warnings)
	}
	if !strings.Contains(s.Warnings[0].Message, "below the smallest workable limit, 384 MiB") {
		t.Errorf("a refusal that was lifted is no warning: %v", s.Warnings)
	}
}

func TestFlavor(t *testing.T) {
	s, err := Size(Limits{CPUs: 8, Memory: 8 << 30}, Policy{Flavor: Flavor{CPUs: 1.5, Memory: "4GiB"}}, Target{}, Fixed{})
	if err != nil || s.CPUs != 2 || s.Limit != 4<<30 || len(s.Warnings) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = Size(Limits{CPUs: 1, Memory: 2 << 30}, Policy{Flavor: Flavor{CPUs: 4, Memory: "4GiB"}}, Target{}, Fixed{})
	if err != nil || s.CPUs != 1 || s.Limit != 2<<30 || len(s.Warnings) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err = Size(Limits{}, Policy{Flavor: Flavor{Memory: "much"}}, Target{}, Fixed{}); err == nil {
		t.Error("a flavor of much memory is accepted")
	}
}

func TestCollectorAndOldJava(t *testing.T) {
	quota := 1.01
	for _, tc := range []struct {
		name     string
		limits   Limits
		target   Target
		has, not string
	}{
		{"1 CPU", Limits{CPUs: 1, Memory: 8 << 30}, Target{JavaMajor: 17}, "-XX:+UseSerialGC", "-XX:+UseG1GC"},
		{"ceil flips", Limits{CPUs: 2, CPUQuota: &quota, Memory: 8 << 30}, Target{JavaMajor: 17}, "-XX:+UseG1GC", "-XX:+UseSerialGC"},
		{"below 1792", Limits{CPUs: 2, Memory: 1791 * mib}, Target{JavaMajor: 17}, "-XX:+UseSerialGC", "-XX:+UseG1GC"},
		{"at 1792", Limits{CPUs: 2, Memory: 1792 * mib}, Target{JavaMajor: 17}, "-XX:+UseG1GC", "-XX:+UseSerialGC"},
		{"old 8", Limits{CPUs: 2, Memory: 8 << 30}, Target{JavaMajor: 8, JavaVersion: "1.8.0_66"}, "-XX:ParallelGCThreads=2",
			"-XX:ActiveProcessorCount=2"},
		{"old 8", Limits{CPUs: 2, Memory: 8 << 30}, Target{JavaMajor: 8, JavaVersion: "1.8.0_66"}, "-XX:+UseParallelGC",
			"-XX:+ExitOnOutOfMemoryError"},
		{"new 8", Limits{CPUs: 2, Memory: 8 << 30}, Target{JavaMajor: 8, JavaVersion: "1.8.0_412"}, "-XX:ActiveProcessorCount=2",
			"-XX:ParallelGCThreads=2"},
		{"no memory", Limits{CPUs: 2}, Target{}, "-XX:ActiveProcessorCount=2", "-Xmx0m"},
	} {
		s, err := Size(tc.limits, Policy{}, tc.target, Fixed{})
		if err != nil {
			t.Fatal(err)
		}
		argv := Result{Options: s.Options()}.Argv()
		if !slices.Contains(argv, tc.has) || slices.Contains(argv, tc.not) {
			t.Errorf("%s: %v", tc.name, argv)
		}
		for _, o := range s.Options() {
			if o.Why == "" || o.Source == "" {
				t.Errorf("%s has no reason", o)
			}
		}
	}
}

// Without a limit the sizes that would divide it are the JVM's own defaults; a flavor is a limit, and a user's options
// apply as always.
func TestNoLimit(t *testing.T) {
	sized := []string{"-Xmx", "-Xms", "-Xss", "-XX:MaxMetaspaceSize=", "-XX:ReservedCodeCacheSize=", "-XX:MaxDirectMemorySize="}
	for _, tc := range []struct {
		name   string
		gib    int64
		arch   string
		policy Policy
		user   string
		want   string // the sized options, in order
		heap   int64  // MiB
		codes  string
	}{
		{"24 GiB", 24, "", Policy{}, "", "", 6144, MemoryUnlimited},
		{"1 GiB", 1, "", Policy{}, "", "", 256, MemoryUnlimited},
		{"512 GiB", 512, "", Policy{}, "", "", 32768, MemoryUnlimited},
		{"another port", 24, "aarch64", Policy{}, "", "", 6144, MemoryUnlimited},
		{"a flavor", 24, "", Policy{Flavor: Flavor{Memory: "2GiB"}}, "",
			"-Xmx1248m -Xms1248m -XX:MaxMetaspaceSize=193m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=65m -Xss512k", 1248, ""},
		{"a profile's memory", 24, "", Policy{Profile: &Profile{Name: "p", Memory: "2GiB"}}, "",
			"-Xmx1248m -Xms1248m -XX:MaxMetaspaceSize=193m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=65m -Xss512k", 1248, ""},
		{"a flavor above the machine", 2, "", Policy{Flavor: Flavor{Memory: "4GiB"}}, "",
			"-Xmx1248m -Xms1248m -XX:MaxMetaspaceSize=193m -XX:ReservedCodeCacheSize=240m -XX:MaxDirectMemorySize=65m -Xss512k", 1248, Adjusted},
		{"a profile's caps", 24, "", Policy{Profile: &Profile{Name: "p", Metaspace: "300MiB", Stack: "2MiB"}}, "",
			"-XX:MaxMetaspaceSize=300m -Xss2048k", 6144, MemoryUnlimited},
		{"the user's heap", 24, "", Policy{}, "-Xmx4g", "-Xmx4g", 4096, ""},
		{"the user's share", 24, "", Policy{}, "-XX:MaxRAMPercentage=50", "", 12288, ""},
		{"the user's start", 24, "", Policy{}, "-Xms8g", "-Xms8g", 8192, ""},
		{"the user's stack", 24, "", Policy{}, "-Xss4m", "-Xss4m", 6144, MemoryUnlimited},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := Input{Limits: Limits{CPUs: 2, Memory: tc.gib << 30, MemorySource: "/proc/meminfo", Unlimited: true}, Policy: tc.policy,
				Target: Target{JavaMajor: 17, Arch: tc.arch}, User: ParseArgs("u", strings.Fields(tc.user))}
			r, err := Render(in)
			if err != nil || r.Err() != nil {
				t.Fatal(err, r.Err())
			}
			var got, codes []string
			for _, a := range r.Argv() {
				if slices.ContainsFunc(sized, func(p string) bool { return strings.HasPrefix(a, p) }) {
					got = append(got, a)
				}
			}
			for _, w := range r.Warnings {
				codes = append(codes, w.Code)
			}
			if strings.Join(got, " ") != tc.want || strings.Join(codes, " ") != tc.codes {
				t.Errorf("%q, %q, want %q, %q", got, r.Warnings, tc.want, tc.codes)
			}
			if r.Budget[0].Bytes != tc.heap*mib || len(r.Budget) < 9 || r.Budget.Sum() > r.Limit && tc.gib > 1 {
				t.Errorf("%+v of %s", r.Budget, mibText(r.Limit))
			}
			if !slices.Contains(r.Argv(), "-XX:ActiveProcessorCount=2") || !slices.Contains(r.Argv(), "-XX:+ExitOnOutOfMemoryError") {
				t.Errorf("%q", r.Argv())
			}
		})
	}
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{"4GiB": 4 << 30, "512m": 512 * mib, "1073741824": 1 << 30, "2 ": 2, "1GB": 1 << 30,
		"64MiB": 64 * mib,
		"10MB":  10 * mib, "10M": 10 * mib, "10mb": 10 * mib, "10Mib": 10 * mib, "3k": 3 << 10, "3kb": 3 << 10, "1T": 1 << 40, "7B": 7,
		"10Mi": 10 * mib, "2gi": 2 << 30} {
		if n, err := ParseMemory(text); err != nil || n != want {
			t.Errorf("ParseMemory(%q) = %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "1.5G", "x", "9999999999999G", "B", "10I", "10IB", "10 MB", "0x10k", "1TiBB", "10KM", "1e3",
		"9223372036854775808", "+1"} {
		if n, err := ParseMemory(text); err == nil {
			t.Errorf("ParseMemory(%q) = %d", text, n)
		}
	}
}

// The hint for a bad size is a valid size.
func TestSizeHints(t *testing.T) {
	for text, want := range map[string]string{"1.5G": "1536MiB", "0.5 MB": "512KiB", "1,5GiB": "1536MiB", "10 MB": "10MiB",
		"512 megabytes": "512MiB",
		"2.25TB":        "2304GiB", "512 ": "", "1.3k": "", "4 apples": "", "": "", "-1": "", "G": "", "1e999G": "", "NaNM": ""} {
		_, err := ParseMemory(text)
		switch {
		case err == nil && want == "":
		case err == nil:
			t.Errorf("%q is a size", text)
		case want == "" && strings.Contains(err.Error(), "write "), want != "" && !strings.HasSuffix(err.Error(), ": write "+want):
			t.Errorf("%q: %v, want %q", text, err, want)
		case want != "":
			if _, err := ParseMemory(want); err != nil {
				t.Errorf("%q leads to %q: %v", text, want, err)
			}
		}
	}
}

func FuzzParseMemory(f *testing.F) {
	for _, text := range []string{"4GiB", "512m", "0x10k", "9223372036854775807", "1TiBB", " 7 "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseMemory(text); (err == nil) != (n > 0) {
			t.Errorf("%q: %d, %v", text, n, err)
		}
		for _, r := range []MemoryRange{{AtLeast: text}, {Below: text}} {
			if _, ok := (Match{Memory: r}).holds(Container{}); ok && r != (MemoryRange{}) {
				t.Errorf("%+v holds an unknown memory", r)
			}
		}
	})
}
