package resize

import (
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
	saved   *Cut
	lookups int
}

func (f *fakeJVM) Running() ([]Target, map[string]int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	if f.starts {
		return nil, nil, true
	}
	pids := map[string]int{"app": f.pid}
	if f.limit >= f.budget {
		return nil, pids, false
	}
	return []Target{{"app", f.pid, f.limit, f.budget, f.limit / 2, f.adjust}}, pids, false
}

func (f *fakeJVM) Attach(context.Context, string, int) (JVM, error) { return f, f.attach }
func (f *fakeJVM) Used(int) int64                                   { return 300 * mib }
func (f *fakeJVM) Save(_ string, c *Cut)                            { f.saved = c }

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
	default:
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
			time.Sleep(uncommitTime) // of the bubble
			synctest.Wait()
		}, shown)
		cancel()
		synctest.Wait()
	})
}

func TestAdjusterAdjusts(t *testing.T) {
	for name, tc := range map[string]struct {
		flags         map[string]string
		cut, deeper   string // the calls
		up, back      string
		want, atStart string
	}{
		"G1": {g1(), "setflag MinHeapFreeRatio 5, setflag MaxHeapFreeRatio 10, jcmd GC.run", "jcmd GC.run", "",
			"setflag MaxHeapFreeRatio 100, setflag MinHeapFreeRatio 40",
			"the memory limit is 512 MiB now, and the JVM may use 1000 MiB: the kernel may kill it; MinHeapFreeRatio is 5, " +
				"MaxHeapFreeRatio is 10, the JVM has collected its heap: it uses 300 MiB (it used 300 MiB)", ""},
		"ratios of the user": {map[string]string{"UseG1GC": "true", "MinHeapFreeRatio": "3", "MaxHeapFreeRatio": "8"}, "jcmd GC.run",
			"jcmd GC.run", "", "", "the JVM has collected its heap", ""},
		"ZGC": {map[string]string{"UseZGC": "true", "SoftMaxHeapSize": "943718400", "MaxHeapSize": "943718400", "ZUncommitDelay": "300"},
			"setflag SoftMaxHeapSize 268435456, jcmd GC.run", "setflag SoftMaxHeapSize 134217728, jcmd GC.run",
			"setflag SoftMaxHeapSize 268435456", "setflag SoftMaxHeapSize 943718400",
			"SoftMaxHeapSize is 256 MiB (ZGC gives memory back that it has not used for 300 s)", ""},
		"Serial": {map[string]string{"UseSerialGC": "true"}, "", "", "", "", "its collector does not give memory back while it runs", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJVM{flags: maps.Clone(tc.flags)}
			adjusting(t, f, nil, func(change func(func()), shown func() string) {
				for _, step := range []struct {
					limit int64
					calls string
				}{{1024, ""}, {512, tc.cut}, {512, ""}, {256, tc.deeper}, {512, tc.up}, {1000, tc.back}, {2000, ""}} {
					change(func() { f.limit = step.limit * mib })
					if got := strings.Join(f.calls, ", "); got != step.calls {
						t.Errorf("%d MiB: %q, want %q", step.limit, got, step.calls)
					}
					if got := shown(); (got != "") != (step.limit < 1000) || step.calls == tc.cut && tc.cut != "" && step.limit == 512 &&
						!strings.Contains(got, tc.want) {
						t.Errorf("%d MiB: it says %q, want %q", step.limit, got, tc.want)
					}
				}
			})
			if !maps.Equal(f.flags, tc.flags) || f.saved != nil {
				t.Errorf("left: %v, %+v", f.flags, f.saved)
			}
		})
	}
}

func TestAdjusterOnlyReports(t *testing.T) {
	f := &fakeJVM{flags: g1(), pid: 7, budget: 1000 * mib, limit: 1024 * mib}
	adjusting(t, f, nil, func(change func(func()), shown func() string) {
		if change(func() { f.limit = 512 * mib }); len(f.calls) > 0 || !strings.Contains(shown(), "nothing in the JVM was changed") {
			t.Errorf("%q, it says %q", f.calls, shown())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := f.lookups; n != 2 {
			t.Errorf("looked %d times", n)
		}
		if change(func() { f.pid = 8 }); !strings.Contains(shown(), "512 MiB") { // a new process under the limit of before
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
		"hangs":   {nil, true, "has not answered within 10s", true},
		"not yet": {errors.New("it is stopped"), false, "it is stopped", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJVM{flags: g1(), attach: tc.attach, hangs: tc.hangs}
			adjusting(t, f, nil, func(change func(func()), shown func() string) {
				change(func() { f.limit = 512 * mib })
				time.Sleep(adjustTime)
				if !strings.Contains(shown(), tc.want) {
					t.Errorf("it says %q", shown())
				}
				f.mu.Lock()
				f.attach, f.hangs = nil, false
				f.mu.Unlock()
				time.Sleep(retryDelay + uncommitTime)
				if got := strings.Contains(shown(), "has collected"); got != tc.again {
					t.Errorf("then it says %q", shown())
				}
			})
		})
	}
}

// The next supervisor knows what the flags were, and a JVM that starts is looked at later.
func TestAdjusterTakesOver(t *testing.T) {
	f := &fakeJVM{flags: map[string]string{"UseG1GC": "true", "MinHeapFreeRatio": "5", "MaxHeapFreeRatio": "10"}, pid: 7, starts: true,
		budget: 1000 * mib, limit: 512 * mib, adjust: true}
	before := &Cut{Limit: 512 * mib, Budget: 1000 * mib, Pid: 7, Done: "done",
		Before: []Setting{{"MinHeapFreeRatio", "40"}, {"MaxHeapFreeRatio", "100"}}}
	adjusting(t, f, map[string]*Cut{"app": before, "gone": {Pid: 3}}, func(change func(func()), shown func() string) {
		if f.starts = false; shown() != "" {
			t.Errorf("of a JVM that starts it says %q", shown())
		}
	})
	f.starts, f.calls = false, nil
	adjusting(t, f, map[string]*Cut{"app": before, "gone": {Pid: 3}}, func(change func(func()), shown func() string) {
		if len(f.calls) > 0 || !strings.Contains(shown(), "done") {
			t.Errorf("%q, it says %q", f.calls, shown())
		}
		if change(func() { f.limit = 2000 * mib }); f.flags["MaxHeapFreeRatio"] != "100" || f.flags["MinHeapFreeRatio"] != "40" || shown() != "" {
			t.Errorf("%v, it says %q", f.flags, shown())
		}
	})
}
