package resize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

const mib = 1 << 20

// fakeJVM is a service whose JVM has flags.
type fakeJVM struct {
	mu      sync.Mutex // guards what follows
	flags   map[string]string
	calls   []string
	attach  error
	hangs   bool
	pid     int
	limit   int64
	budget  int64
	adjust  bool
	starts  bool // it is STARTING
	high    bool // the limit is memory.high
	saved   *Cut
	lookups int
	used    int64         // by the JVM; 0: 400 MiB
	slow    time.Duration // a collection takes this long
	early   bool          // changed or collected before it was saved
	changed chan struct{} // has the Adjuster look
}

func (f *fakeJVM) Running() ([]Target, map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	pids := map[string]int{"app": f.pid}
	if f.limit >= f.budget {
		return nil, pids
	}
	return []Target{{Name: "app", Pid: f.pid, Limit: f.limit, Budget: f.budget, Heap: f.limit / 2, Adjust: f.adjust, High: f.high,
		Starting: f.starts}}, pids
}

func (f *fakeJVM) Attach(context.Context, string, int) (JVM, error) { return f, f.attach }

func (f *fakeJVM) Used(string, int) (own, all int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own = cmp.Or(f.used, 400*mib)
	return own, own + 20*mib
}

func (f *fakeJVM) Save(_ string, c *Cut) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved = c
}

// did returns the changes so far.
func (f *fakeJVM) did() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, ", ")
}

func (f *fakeJVM) Command(ctx context.Context, name string, args ...string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hangs {
		<-ctx.Done()
		return "", ctx.Err()
	}
	call := strings.Join(append([]string{name}, args...), " ")
	switch call {
	case "jcmd VM.flags -all":
		var b strings.Builder
		for k, v := range f.flags {
			fmt.Fprintf(&b, "size_t %s = %s {manageable} {default}\n", k, v)
		}
		return b.String(), nil
	case "jcmd GC.run":
		f.early = f.early || f.saved == nil || f.saved.Unfinished
		f.calls = append(f.calls, call)
		select {
		case <-time.After(f.slow):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		return "Command executed successfully", nil
	default:
		f.early = f.early || f.saved == nil
		f.flags[args[0]] = args[1]
	}
	f.calls = append(f.calls, call)
	return "Command executed successfully", nil
}

func g1() map[string]string {
	return map[string]string{"UseG1GC": "true", "MinHeapFreeRatio": "40", "MaxHeapFreeRatio": "100"}
}

// adjusting runs a Adjuster over f in a synctest bubble.
func adjusting(t *testing.T, f *fakeJVM, earlier map[string]*Cut, test func(change func(func()), shown func() string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if f.pid == 0 {
			f.pid, f.budget, f.limit, f.adjust = 7, 1000*mib, 1024*mib, true
		}
		a := New(f, hclog.NewNullLogger(), earlier)
		ctx, cancel := context.WithCancel(t.Context())
		changed := make(chan struct{}, 1)
		f.changed = changed
		go a.Run(ctx, changed, func() {}) // ends with ctx
		synctest.Wait()
		shown := func() string {
			synctest.Wait()
			if c := a.Cut("app", f.pid); c != nil {
				return c.String()
			}
			return ""
		}
		test(func(do func()) {
			f.mu.Lock()
			f.calls = nil
			do()
			f.mu.Unlock()
			changed <- struct{}{}
			synctest.Wait()
			time.Sleep(restoreDelay) // of the bubble
			synctest.Wait()
		}, shown)
		cancel()
		synctest.Wait()
	})
}

func TestAdjusterAdjusts(t *testing.T) {
	for name, tc := range map[string]struct {
		flags        map[string]string
		cut, deeper  string // the calls
		up, back     string
		want, deeply string
	}{
		"G1": {g1(), "setflag MinHeapFreeRatio 5, setflag MaxHeapFreeRatio 10, jcmd GC.run", "", "",
			"setflag MaxHeapFreeRatio 100, setflag MinHeapFreeRatio 40",
			"the memory limit is 512 MiB now: the JVM uses 400 MiB and may grow to 1000 MiB: the kernel may kill it; MinHeapFreeRatio is 5, " +
				"MaxHeapFreeRatio is 10, the JVM has collected its heap (it used 400 MiB)",
			"there is no room for a collection (36 MiB of the limit are free, it may need 64 MiB): restart the service"},
		"ratios of the user": {map[string]string{"UseG1GC": "true", "MinHeapFreeRatio": "3", "MaxHeapFreeRatio": "8"}, "jcmd GC.run",
			"", "", "", "the JVM has collected its heap", "no room"},
		"ZGC": {map[string]string{"UseZGC": "true", "SoftMaxHeapSize": "943718400", "MaxHeapSize": "943718400", "ZUncommitDelay": "300"},
			"setflag SoftMaxHeapSize 268435456, jcmd GC.run", "setflag SoftMaxHeapSize 239075328",
			"setflag SoftMaxHeapSize 268435456", "setflag SoftMaxHeapSize 943718400",
			"SoftMaxHeapSize is 256 MiB (ZGC gives memory back that it has not used for 300 s)", "SoftMaxHeapSize is 228 MiB"},
		"a lower SoftMaxHeapSize of the user": {map[string]string{"UseZGC": "true", "SoftMaxHeapSize": "250609664", "MaxHeapSize": "943718400"},
			"jcmd GC.run", "setflag SoftMaxHeapSize 239075328", "setflag SoftMaxHeapSize 250609664", "", "the JVM has collected its heap", ""},
		"Serial": {map[string]string{"UseSerialGC": "true"}, "", "", "", "", "its collector does not give memory back while it runs", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJVM{flags: maps.Clone(tc.flags)}
			adjusting(t, f, nil, func(change func(func()), shown func() string) {
				for _, step := range []struct {
					limit       int64
					calls, want string
				}{{1024, "", ""}, {512, tc.cut, tc.want}, {512, "", tc.want}, {456, tc.deeper, tc.deeply}, {512, tc.up, ""}, {1000, tc.back, ""},
					{2000, "", ""}} {
					change(func() { f.limit = step.limit * mib })
					if got := f.did(); got != step.calls {
						t.Errorf("%d MiB: %q, want %q", step.limit, got, step.calls)
					}
					if got := shown(); (got != "") != (step.limit < 1000) || !strings.Contains(got, step.want) {
						t.Errorf("%d MiB: it says %q, want %q", step.limit, got, step.want)
					}
				}
			})
			if !maps.Equal(f.flags, tc.flags) || f.saved != nil || f.early {
				t.Errorf("left: %v, %+v; a flag was set before it was saved: %v", f.flags, f.saved, f.early)
			}
		})
	}
}

// A collection stops the JVM, needs memory, and is asked for only where there is a need and room, once in a minute.
func TestAdjusterCollects(t *testing.T) {
	f := &fakeJVM{flags: g1()}
	adjusting(t, f, nil, func(change func(func()), shown func() string) {
		calls := func(step, want string) {
			t.Helper()
			if got := f.did(); got != want {
				t.Errorf("%s: %q, want %q", step, got, want)
			}
		}
		change(func() { f.limit = 900 * mib })
		calls("a cut of what is not used", "setflag MinHeapFreeRatio 5, setflag MaxHeapFreeRatio 10")
		if got := shown(); strings.Contains(got, "kill it") || !strings.Contains(got, "no collection was asked for") {
			t.Errorf("it says %q", got)
		}
		change(func() { f.limit, f.slow = 512*mib, time.Hour })
		calls("a slow collection", "jcmd GC.run")
		if got := shown(); !strings.Contains(got, "collects its heap; it had not finished within 10s") {
			t.Errorf("it says %q", got)
		}
		change(func() { f.limit, f.slow = 500*mib, 0 })
		calls("within a minute", "")
		if got := shown(); !strings.Contains(got, "less than 1m0s ago") {
			t.Errorf("it says %q", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		calls("a minute later", "jcmd GC.run")
		time.Sleep(time.Hour)
		synctest.Wait()
		calls("an hour later", "jcmd GC.run")
		f.mu.Lock()
		f.used = 100 * mib
		f.mu.Unlock()
		if got := shown(); !strings.Contains(got, "the JVM uses 100 MiB") || strings.Contains(got, "kill it") {
			t.Errorf("it says %q", got)
		}
		if change(func() { f.high, f.used = true, 450*mib }); !strings.HasPrefix(shown(), "memory.high is 500 MiB now") ||
			!strings.Contains(shown(), "the kernel slows it down") {
			t.Errorf("it says %q", shown())
		}
	})
}

// Limits that rise and fall again cost nothing, and a flag that someone else has changed is left alone.
func TestAdjusterFlaps(t *testing.T) {
	f := &fakeJVM{flags: g1()}
	adjusting(t, f, nil, func(change func(func()), shown func() string) {
		change(func() { f.limit = 512 * mib })
		for k := range 20 {
			f.mu.Lock()
			f.limit = []int64{2000 * mib, 512 * mib}[k%2]
			f.mu.Unlock()
			f.changed <- struct{}{}
			time.Sleep(600 * time.Millisecond)
		}
		synctest.Wait()
		if got := strings.Count(f.did(), ","); got != 2 { // two flags and a collection
			t.Errorf("%q", f.did())
		}
		change(func() { f.limit, f.flags["MinHeapFreeRatio"] = 2000*mib, "4" })
		if got := f.did(); got != "setflag MaxHeapFreeRatio 100" || shown() != "" {
			t.Errorf("%q, it says %q", got, shown())
		}
		if change(func() { f.limit = 512 * mib }); f.did() != "setflag MaxHeapFreeRatio 10" {
			t.Errorf("within a minute: %q", f.did())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := f.did(); got != "setflag MaxHeapFreeRatio 10, jcmd GC.run" {
			t.Errorf("after it: %q", got)
		}
	})
}

// The configuration may allow or forbid changes later.
func TestAdjusterOnlyReports(t *testing.T) {
	f := &fakeJVM{flags: g1(), pid: 7, budget: 1000 * mib, limit: 1024 * mib}
	adjusting(t, f, nil, func(change func(func()), shown func() string) {
		if change(func() { f.limit = 512 * mib }); f.did() != "" || !strings.Contains(shown(), "nothing in the JVM was changed") {
			t.Errorf("%q, it says %q", f.did(), shown())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := f.lookups; n != 2 {
			t.Errorf("looked %d times", n)
		}
		if change(func() { f.adjust = true }); f.flags["MaxHeapFreeRatio"] != "10" || !strings.Contains(shown(), "MaxHeapFreeRatio is 10") {
			t.Errorf("%v, it says %q", f.flags, shown())
		}
		if change(func() { f.adjust, f.limit = false, 500*mib }); f.did() != "" || !strings.Contains(shown(),
			"nothing more in the JVM was changed (jvm.apply: report); MinHeapFreeRatio is 5, MaxHeapFreeRatio is 10, as before") {
			t.Errorf("%q, it says %q", f.did(), shown())
		}
		if change(func() { f.pid = 8 }); !strings.Contains(shown(), "500 MiB") { // a new process under the limit of before
			t.Errorf("of another process it says %q", shown())
		}
	})
}

// A JVM that refuses is left alone, one that hangs is asked again.
func TestAdjusterFails(t *testing.T) {
	for name, tc := range map[string]struct {
		attach error
		hangs  bool
		want   string
		again  bool
	}{
		"refused": {fmt.Errorf("cannot attach to JVM 7: %w", hotspot.ErrNoAttach), false, "-XX:+DisableAttachMechanism", false},
		"script":  {hotspot.ErrNotJVM, false, "it is no JVM", false},
		"hangs":   {nil, true, "has not answered within 10s", true},
		"not yet": {errors.New("it is stopped"), false, "it is stopped", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJVM{flags: g1(), attach: tc.attach, hangs: tc.hangs}
			adjusting(t, f, nil, func(change func(func()), shown func() string) {
				change(func() { f.limit = 512 * mib })
				if !strings.Contains(shown(), tc.want) {
					t.Errorf("it says %q", shown())
				}
				f.mu.Lock()
				f.attach, f.hangs = nil, false
				f.mu.Unlock()
				time.Sleep(nextRetry + firstRetry)
				if got := strings.Contains(shown(), "has collected"); got != tc.again {
					t.Errorf("then it says %q", shown())
				}
			})
		})
	}
	f := &fakeJVM{flags: g1(), attach: errors.New("it is stopped")}
	adjusting(t, f, nil, func(change func(func()), _ func() string) {
		before := f.lookups
		change(func() { f.limit = 512 * mib })
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := f.lookups - before; n != 1+maxTries {
			t.Errorf("tried %d times", n)
		}
	})
}

// The next supervisor knows what the flags were, finishes what was begun, and adjusts a JVM that starts when it is RUNNING.
func TestAdjusterTakesOver(t *testing.T) {
	f := &fakeJVM{flags: map[string]string{"UseG1GC": "true", "MinHeapFreeRatio": "5", "MaxHeapFreeRatio": "10"}, pid: 7,
		budget: 1000 * mib, limit: 512 * mib, adjust: true}
	before := &Cut{Limit: 512 * mib, Budget: 1000 * mib, Pid: 7, Done: "done",
		Changed: []Setting{{"MinHeapFreeRatio", "40", "5"}, {"MaxHeapFreeRatio", "100", "10"}}}
	adjusting(t, f, map[string]*Cut{"app": before, "gone": {Pid: 3}}, func(change func(func()), shown func() string) {
		if f.did() != "" || !strings.Contains(shown(), "done") {
			t.Errorf("%q, it says %q", f.did(), shown())
		}
		if change(func() { f.limit = 2000 * mib }); f.flags["MaxHeapFreeRatio"] != "100" || f.flags["MinHeapFreeRatio"] != "40" || shown() != "" {
			t.Errorf("%v, it says %q", f.flags, shown())
		}
	})
	begun := *before // it ended before the second flag and the collection
	begun.Unfinished = true
	f.flags, f.limit, f.calls = g1(), 512*mib, nil
	f.flags["MinHeapFreeRatio"] = "5"
	adjusting(t, f, map[string]*Cut{"app": &begun}, func(change func(func()), _ func() string) {
		if got, want := f.did(), "setflag MaxHeapFreeRatio 10, jcmd GC.run"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if change(func() { f.limit = 2000 * mib }); !maps.Equal(f.flags, g1()) {
			t.Errorf("%v", f.flags)
		}
	})
	f.limit, f.calls, f.starts = 512*mib, nil, true
	adjusting(t, f, nil, func(_ func(func()), shown func() string) {
		if f.did() != "" || !strings.Contains(shown(), "when the service is RUNNING") {
			t.Errorf("of a JVM that starts: %q, it says %q", f.did(), shown())
		}
		f.mu.Lock()
		f.starts = false
		f.mu.Unlock()
		time.Sleep(startingDelay)
		if !strings.Contains(shown(), "has collected") {
			t.Errorf("then it says %q", shown())
		}
	})
}
