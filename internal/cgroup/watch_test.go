package cgroup

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// nested is a v2 layout with an own cgroup and one above it.
func nested(t *testing.T) string {
	return tree(t, []archiveFile{
		{name: "proc/self/mountinfo", data: []byte("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n")},
		{name: "proc/self/cgroup", data: []byte("0::/a\n")},
		{name: "proc/meminfo", data: []byte("MemTotal: 8388608 kB\n")},
		{name: "sys/devices/system/cpu/online", data: []byte("0-3\n")},
		{name: "sys/fs/cgroup/a/memory.max", data: []byte("1073741824          \n")},
		{name: "sys/fs/cgroup/a/memory.high", data: []byte("max                 \n")},
		{name: "sys/fs/cgroup/a/cpu.max", data: []byte("200000 100000       \n")},
		{name: "sys/fs/cgroup/a/pids.max", data: []byte("max                 \n")},
		{name: "sys/fs/cgroup/memory.max", data: []byte("max                 \n")},
		{name: "sys/fs/cgroup/cpu.max", data: []byte("max 100000          \n")},
	})
}

// writeTo writes a limit file in place.
func writeTo(t *testing.T, root, file, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(root, "sys/fs/cgroup", file), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%-20s\n", text); err != nil { // one write, as long as the one before: no reader sees a part
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	root := nested(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan Limits, 10), make(chan error, 1)
	go func() { // ends with ctx
		_, err := Watch(ctx, root, Read(root), func(_, now Limits) { changes <- now })
		done <- err
	}()
	watched(t, root, changes)
	for _, tc := range []struct {
		writes [][2]string
		want   string
	}{
		{[][2]string{{"a/memory.max", "536870912"}, {"a/cpu.max", "100000 100000"}}, "memory 1 GiB -> 512 MiB, CPUs 2 -> 1, CPU quota 2 -> 1"},
		{[][2]string{{"a/memory.high", "268435456"}}, "memory.high none -> 256 MiB"},
		{[][2]string{{"memory.max", "134217728"}}, "memory 512 MiB -> 128 MiB"},
		{[][2]string{{"memory.max", "max"}, {"a/memory.max", "max"}}, "memory 128 MiB -> none"},
		{[][2]string{{"cpu.max", "50000 100000"}, {"a/pids.max", "77"}}, "CPU quota 1 -> 0.5, processes none -> 77"},
		// A write of the same is no change, and neither is a quota that the one above does not allow.
		{[][2]string{{"a/pids.max", "77"}, {"a/cpu.max", "300000 100000"}, {"a/pids.max", "78"}}, "processes 77 -> 78"},
	} {
		before, begun := Read(root), time.Now()
		for _, w := range tc.writes {
			writeTo(t, root, w[0], w[1])
		}
		together := time.Since(begun) < settleTime/10 // else a part of them may be noticed before the rest
		for got := ""; got != tc.want; {
			select {
			case now := <-changes:
				if got = now.Changes(before); together && got != tc.want {
					t.Fatalf("%v: %q, want %q", tc.writes, got, tc.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%v: %q is noticed, want %q", tc.writes, got, tc.want)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the watch ends with %v", err)
	}
	if len(changes) > 0 {
		t.Errorf("one change more: %+v", <-changes)
	}
}

// watched waits until the watch has begun: it notices a change.
func watched(t *testing.T, root string, changes <-chan Limits) {
	t.Helper()
	for n := range 1000 {
		writeTo(t, root, "a/pids.max", strconv.Itoa(n+1))
		select {
		case <-changes:
			writeTo(t, root, "a/pids.max", "max")
			for (<-changes).PIDsLimit != nil {
			}
			return
		case <-time.After(settleTime / 2):
		}
	}
	t.Fatal("nothing is noticed")
}

func TestWatchWithoutRoot(t *testing.T) {
	if _, err := Watch(t.Context(), t.TempDir()+"/none", Limits{}, nil); err == nil {
		t.Error("there is something to watch")
	}
}

func TestPoll(t *testing.T) {
	root := nested(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		go Poll(ctx, root, Read(root), func(before, now Limits) { got = append(got, now.Changes(before)) }) // ends with ctx
		synctest.Wait()
		writeTo(t, root, "a/memory.max", "536870912")
		time.Sleep(PollTime)
		synctest.Wait()
		time.Sleep(3 * PollTime)
		synctest.Wait()
		if len(got) != 1 || got[0] != "memory 1 GiB -> 512 MiB" {
			t.Errorf("%q", got)
		}
		cancel()
		synctest.Wait()
	})
}

func TestChanges(t *testing.T) {
	gib, odd, half, cpus := int64(3<<30), int64(1025), 0.5, 2
	for _, tc := range []struct {
		before, now Limits
		want        string
	}{
		{Limits{}, Limits{}, ""},
		{Limits{EffectiveMemory: &gib, Warnings: []Warning{{}}}, Limits{Sources: Sources{CPUSet: "x"}}, ""},
		{Limits{MemoryLimit: &gib}, Limits{MemoryLimit: &odd}, "memory 3 GiB -> 1025 bytes"},
		{Limits{EffectiveCPUs: 4}, Limits{EffectiveCPUs: 2, CPUSet: &cpus}, "CPUs 4 -> 2, cpuset none -> 2"},
		{Limits{CPUQuota: &half}, Limits{PIDsLimit: &odd}, "CPU quota 0.5 -> none, processes none -> 1025"},
	} {
		if got := tc.now.Changes(tc.before); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// A change before the watch is a change, by notification and by polling.
func TestWatchKnowsBefore(t *testing.T) {
	root := nested(t)
	before := Read(root)
	writeTo(t, root, "a/memory.max", "536870912")
	for name, watch := range map[string]func(context.Context, func(before, now Limits)){
		"Watch": func(ctx context.Context, changed func(before, now Limits)) {
			if last, err := Watch(ctx, root, before, changed); err != nil || last.Changes(Read(root)) != "" {
				t.Errorf("Watch returns %v, %v", last, err)
			}
		},
		"Poll": func(ctx context.Context, changed func(before, now Limits)) { Poll(ctx, root, before, changed) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		got := ""
		watch(ctx, func(before, now Limits) { got = now.Changes(before); cancel() })
		if got != "memory 1 GiB -> 512 MiB" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// The copies of the container's limits follow it; what is of the service's own stays, and so does what was set by hand.
func TestFollow(t *testing.T) {
	const c = "/sys/fs/cgroup"
	own := map[string]OwnLimits{"web": {Memory: 512 << 20}, "api": {}, "night": {}, "removed": {}}
	for version, tc := range map[int]struct {
		want                   map[string]string
		memory, quota, unlimit string
	}{
		2: {memory: "memory.max", quota: "cpu.max", unlimit: "max 100000", want: map[string]string{
			"/stoker.init/memory.max":            "2147483648",
			"/stoker.init/cpu.max":               "max",
			"/stoker.service.web.0/memory.max":   "536870912",
			"/stoker.service.web.0/cpu.max":      "max",
			"/stoker.service.api.0/memory.max":   "2147483648",
			"/stoker.service.night.0/memory.max": "300000000",
			"/stoker.service.job.0/memory.max":   "1073741824",
		}},
		1: {memory: "memory/memory.limit_in_bytes", quota: "cpu/cpu.cfs_quota_us", unlimit: "-1", want: map[string]string{
			"/memory/stoker.service.web.0/memory.limit_in_bytes":   "536870912",
			"/memory/stoker.service.api.0/memory.limit_in_bytes":   "2147483648",
			"/memory/stoker.service.night.0/memory.limit_in_bytes": "300000000",
			"/cpu/stoker.service.api.0/cpu.cfs_quota_us":           "-1",
		}},
	} {
		k, tree := newKernel(t, version)
		for _, name := range []string{"web", "api", "night", "job"} {
			if _, err := tree.Make(name, own[name]); err != nil {
				t.Fatal(err)
			}
		}
		before := Read(tree.root)
		night := c + "/stoker.service.night.0/memory.max"
		if version == 1 {
			night = c + "/memory/stoker.service.night.0/memory.limit_in_bytes"
		}
		k.put(night, "300000000")
		if done, err := tree.Follow(own, before); err != nil || len(done.Wrote)+len(done.Left) > 0 {
			t.Errorf("v%d: nothing has changed: %v, %v", version, done, err)
		}
		k.put(c+"/"+tc.memory, "2147483648")
		k.put(c+"/"+tc.quota, tc.unlimit)
		k.refuse = map[string]error{"api.0/" + path.Base(tc.memory): syscall.EBUSY}
		if done, err := tree.Follow(own, before); err == nil || !slices.Equal(done.Left, []string{night + ": 300000000"}) {
			t.Errorf("v%d: with a rejected write it left %q, %v", version, done.Left, err)
		}
		k.refuse = nil
		again, err := tree.Follow(own, Read(tree.root))
		if err != nil || len(again.Wrote) != 1 {
			t.Errorf("v%d: after the rejection: %v, %v", version, again, err)
		}
		for file, text := range tc.want {
			k.want(c+file, text)
		}
	}
}

func TestSameLimit(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"max", "max 100000", true}, {"-1", "9223372036854771712", true}, {"314572800", "314572803", true},
		{"314572800", "314580000", false}, {"100000", "100001", false}, {"50000 100000", "50000 100000", true},
		{"max", "50000 100000", false}, {"-1", "100000", false},
	} {
		if got := sameLimit(tc.a, tc.b); got != tc.want {
			t.Errorf("sameLimit(%q, %q) is %t", tc.a, tc.b, got)
		}
	}
}
