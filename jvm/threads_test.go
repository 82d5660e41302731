package jvm

import (
	"fmt"
	"strings"
	"testing"
)

// The numbers are the defaults that HotSpot was seen to use.
func TestThreadDefaults(t *testing.T) {
	for _, tc := range []struct{ cpus, gc, compilers int }{{1, 1, 2}, {2, 2, 2}, {4, 4, 3}, {8, 8, 4}, {16, 13, 12}, {64, 43, 18},
		{96, 63, 18}} {
		if gc, c := gcThreads(tc.cpus), compilers(tc.cpus); gc != tc.gc || c != tc.compilers {
			t.Errorf("%d CPUs: %d GC threads and %d compilers, want %d and %d", tc.cpus, gc, c, tc.gc, tc.compilers)
		}
	}
}

// Without ActiveProcessorCount the thread counts are those that it would give.
func TestPinsAreDefaultsOfHotSpot(t *testing.T) {
	java := javaOrSkip(t)
	for _, cpus := range []int{1, 2, 3, 4, 6, 8, 12, 16, 40, 64, 96} {
		flags := runJVM(t, java, []string{"-XX:+UseG1GC", fmt.Sprintf("-XX:ActiveProcessorCount=%d", cpus)})
		r, err := Render(Input{Limits: gridLimits(4096, float64(cpus)), Target: Target{JavaMajor: 9},
			User: ParseArgs("u", []string{"-XX:+UseG1GC"})})
		if err != nil {
			t.Fatal(err)
		}
		pinned := 0
		for _, o := range r.Options {
			if id := keyOf(o); o.Source == "rule thread-pins" && strings.HasPrefix(id.family, "-XX:") {
				if pinned++; flags[id.name] != id.value {
					t.Errorf("%d CPUs: %s, and HotSpot takes %s", cpus, o, flags[id.name])
				}
			}
		}
		if pinned != 3 {
			t.Errorf("%d CPUs: %v", cpus, r.Argv())
		}
	}
}

func TestThreadPins(t *testing.T) {
	const (
		old   = "1.8.0_181"
		jdk   = "-XX:CICompilerCount=3 -Djava.util.concurrent.ForkJoinPool.common.parallelism=3 -Dio.netty.availableProcessors=4"
		count = "-XX:ActiveProcessorCount="
	)
	for _, tc := range []struct {
		name   string
		cores  float64
		target Target
		policy Policy
		user   string
		want   string // options of the rules cpus and thread-pins
	}{
		{"current", 4, Target{JavaMajor: 17}, Policy{}, "", count + "4"},
		{"unknown", 4, Target{}, Policy{}, "", count + "4"},
		{"8u191", 4, Target{JavaMajor: 8, JavaVersion: "1.8.0_191-b12"}, Policy{}, "", count + "4"},
		{"8u181", 4, Target{JavaMajor: 8, JavaVersion: old}, Policy{}, "", "-XX:ParallelGCThreads=4 " + jdk},
		{"8u181, G1", 4, Target{JavaMajor: 8, JavaVersion: old}, Policy{}, "-XX:+UseG1GC", "-XX:ParallelGCThreads=4 -XX:ConcGCThreads=1 " + jdk},
		{"8u181, Serial", 4, Target{JavaMajor: 8, JavaVersion: old}, Policy{}, "-XX:+UseSerialGC", jdk},
		{"8u181, user's GC threads", 4, Target{JavaMajor: 8, JavaVersion: old}, Policy{}, "-XX:+UseG1GC -XX:ParallelGCThreads=1", jdk},
		{"9", 4, Target{JavaMajor: 9}, Policy{}, "", "-XX:ParallelGCThreads=4 -XX:ConcGCThreads=1 " + jdk},
		{"floor", 1.5, Target{JavaMajor: 17}, Policy{CPUs: CPUsFloor}, "", count + "2 -XX:ParallelGCThreads=1 -XX:ConcGCThreads=1"},
		{"floor, Parallel", 3.5, Target{JavaMajor: 17}, Policy{CPUs: CPUsFloor}, "-XX:+UseParallelGC", count + "4 -XX:ParallelGCThreads=3"},
		{"ceil", 1.5, Target{JavaMajor: 17}, Policy{CPUs: CPUsCeil}, "", count + "2"},
		{"floor of a whole number", 2, Target{JavaMajor: 17}, Policy{CPUs: CPUsFloor}, "", count + "2"},
		{"floor of a flavor", 8, Target{JavaMajor: 17}, Policy{CPUs: CPUsFloor, Flavor: Flavor{CPUs: 2.5}}, "",
			count + "3 -XX:ParallelGCThreads=2 -XX:ConcGCThreads=1"},
		{"floor, user's CPUs", 1.5, Target{JavaMajor: 17}, Policy{CPUs: CPUsFloor}, count + "3", ""},
		{"floor, user's ConcGCThreads", 3.5, Target{JavaMajor: 17}, Policy{CPUs: CPUsFloor}, "-XX:ConcGCThreads=4", count + "4"},
	} {
		r, err := Render(Input{Limits: gridLimits(4096, tc.cores), Target: tc.target, Policy: tc.policy,
			User: ParseArgs("u", strings.Fields(tc.user))})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range r.Options {
			if o.Source == "rule cpus" || o.Source == "rule thread-pins" {
				got = append(got, o.String())
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, strings.Join(got, " "), tc.want)
		}
	}
}

func TestArenas(t *testing.T) {
	for _, tc := range []struct {
		cores       float64
		given       map[string]string
		name, value string
		source      string
	}{
		{0.5, nil, "MALLOC_ARENA_MAX", "2", "rule malloc-arenas"},
		{3, nil, "MALLOC_ARENA_MAX", "3", "rule malloc-arenas"},
		{64, map[string]string{"GLIBC_TUNABLES": "glibc.malloc.perturb=1"}, "MALLOC_ARENA_MAX", "4", "rule malloc-arenas"},
		{64, map[string]string{"MALLOC_ARENA_MAX": "9"}, "MALLOC_ARENA_MAX", "9", "the service's environment"},
		{64, map[string]string{"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}, "GLIBC_TUNABLES", "glibc.malloc.arena_max=1",
			"the service's environment"},
	} {
		r, err := Render(Input{Limits: gridLimits(2048, tc.cores), Env: tc.given})
		if err != nil || len(r.Env) != 1 {
			t.Errorf("%g CPUs, %v: %v, %v", tc.cores, tc.given, r.Env, err)
			continue
		}
		if v := r.Env[0]; v.Name != tc.name || v.Value != tc.value || v.Source != tc.source || v.Why == "" {
			t.Errorf("%g CPUs, %v: %+v", tc.cores, tc.given, v)
		}
	}
	if r, err := Render(Input{Limits: gridLimits(2048, 2), NoSizing: true}); err != nil || len(r.Env) > 0 {
		t.Errorf("nothing of our own, and %v, %v", r.Env, err)
	}
}
