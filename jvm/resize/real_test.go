package resize

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

// TestShrinkRealJVM changes JVMs of this machine, each with another collector and a heap of 256 MiB that was full, and restores their
// flags.
func TestShrinkRealJVM(t *testing.T) {
	dir, major := t.TempDir(), compiled(t)
	if out, err := exec.Command("javac", "-d", dir, "../../tests/testdata/Heap.java").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const (
		byRule = "-XX:InitialHeapSize=256m -XX:MaxHeapFreeRatio=100"
		ratios = "MinHeapFreeRatio is 5, MaxHeapFreeRatio is 10, the JVM has collected its heap"
	)
	for name, tc := range map[string]struct {
		options string
		since   int    // Java
		did     string // the beginning of what it did; empty: nothing can be done
		flags   string // those changed, with their values
		gives   bool   // memory at once
	}{
		"G1":           {"-XX:+UseG1GC " + byRule, 11, ratios, "MinHeapFreeRatio=5 MaxHeapFreeRatio=10", true},
		"G1 with -Xms": {"-XX:+UseG1GC -Xms256m", 9, ratios, "MinHeapFreeRatio=5 MaxHeapFreeRatio=10", false},
		"G1 with lower ratios": {"-XX:+UseG1GC -XX:MinHeapFreeRatio=2 -XX:MaxHeapFreeRatio=4", 9, "the JVM has collected its heap", "",
			false},
		"G1 without System.gc()": {"-XX:+UseG1GC -XX:+DisableExplicitGC " + byRule, 11, ratios, "MinHeapFreeRatio=5 MaxHeapFreeRatio=10", true},
		// Its MinHeapFreeRatio is 0.
		"Parallel": {"-XX:+UseParallelGC " + byRule, 9, "MaxHeapFreeRatio is 10, the JVM has collected its heap", "MaxHeapFreeRatio=10",
			major >= 26},
		"Serial": {"-XX:+UseSerialGC", 8, "", "", false},
		"ZGC": {"-XX:+UseZGC", 15, "SoftMaxHeapSize is 128 MiB (ZGC gives memory back that it has not used for 300 s), the JVM has collected",
			"SoftMaxHeapSize=134217728", false},
		"Shenandoah": {"-XX:+UseShenandoahGC", 17, "SoftMaxHeapSize is 128 MiB, the JVM has collected", "SoftMaxHeapSize=134217728", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.since > major {
				t.Skipf("Java %d is older than %d", major, tc.since)
			}
			at, used := started(t, dir, strings.Fields(tc.options))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			flags, full := flagsOf(ctx, t, at), used()
			all, err := readFlags(ctx, at)
			if err != nil {
				t.Fatal(err)
			}
			before, err := plan(all, 128*mib, nil)
			if tc.did == "" {
				if !errors.Is(err, errFixedHeap) || len(before) > 0 {
					t.Errorf("%v, %v", before, err)
				}
				return
			}
			collected := ""
			if err == nil {
				err = apply(ctx, at, all, before)
			}
			if err == nil {
				collected, err = collect(ctx, at)
			}
			if did := strings.Join(append(describe(before, all), collected), ", "); err != nil || !strings.HasPrefix(did, tc.did) {
				t.Fatalf("%q, %v; want %q", did, err, tc.did)
			}
			want := maps.Clone(flags)
			for flag := range strings.FieldsSeq(tc.flags) {
				k, v, _ := strings.Cut(flag, "=")
				want[k] = v
			}
			if got := flagsOf(ctx, t, at); !maps.Equal(got, want) {
				t.Errorf("the flags are %v, want %v", got, want)
			}
			if n := len(strings.Fields(tc.flags)); len(before) != n {
				t.Errorf("%d flags to restore, want %d: %v", len(before), n, before)
			}
			for tc.gives && used() > full*2/3 { // it gives memory back concurrently
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					t.Fatalf("it had %d MiB, and has %d", full/mib, used()/mib)
				}
			}
			t.Logf("%d MiB, then %d", full/mib, used()/mib)
			if err := restore(ctx, at, before); err != nil {
				t.Fatal(err)
			}
			if got := flagsOf(ctx, t, at); !maps.Equal(got, flags) {
				t.Errorf("the flags are %v again, want %v", got, flags)
			}
		})
	}
}

// compiled skips where there is no Java compiler, and returns the version of Java.
func compiled(t *testing.T) (major int) {
	t.Helper()
	for _, program := range []string{"java", "javac"} {
		path, err := exec.LookPath(program)
		if err != nil {
			if os.Getenv("STOKER_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		if j, _, err := hotspot.Find("/", filepath.Dir(path)); program == "java" && err == nil {
			major = j.Major
		}
	}
	return major
}

// started starts a JVM that has filled its heap of 256 MiB. used is its resident memory in bytes.
func started(t *testing.T, classes string, options []string) (at JVM, used func() int64) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("java", append(options, "-Xmx256m", "-cp", classes, "Heap", dir)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // ends with the JVM
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = os.Remove(fmt.Sprintf("/tmp/.java_pid%d", cmd.Process.Pid))
	})
	for {
		if _, err := os.Stat(dir + "/filled"); err == nil {
			break
		}
		select {
		case <-ended:
			if strings.Contains(out.String(), "not supported") { // Shenandoah of some builds
				t.Skip(out.String())
			}
			t.Fatalf("the JVM has ended: %s", &out)
		case <-time.After(10 * time.Millisecond):
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at, err := hotspot.Attach(ctx, hotspot.Target{Pid: cmd.Process.Pid, Quit: func() error { return cmd.Process.Signal(syscall.SIGQUIT) }})
	if err != nil {
		t.Fatal(err)
	}
	return at, func() int64 {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		found := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(text)
		if found == nil {
			t.Fatalf("the JVM has ended: %s", &out)
		}
		kib, _ := strconv.ParseInt(string(found[1]), 10, 64)
		return kib << 10
	}
}

// flagsOf returns the values of the flags that may be changed.
func flagsOf(ctx context.Context, t *testing.T, at JVM) map[string]string {
	t.Helper()
	text, err := at.Command(ctx, "jcmd", "VM.flags -all")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, f := range hotspot.ParseFlags(text) {
		switch name {
		case "MinHeapFreeRatio", "MaxHeapFreeRatio", "SoftMaxHeapSize":
			out[name] = f.Value
		}
	}
	return out
}
