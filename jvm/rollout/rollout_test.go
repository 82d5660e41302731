package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/supervisor"
)

// fakeJVMs is one service. Its sources are a text, and its process keeps the text of its start.
type fakeJVMs struct {
	mu      sync.Mutex // guards what follows
	state   supervisor.State
	pid     int
	started string
	now     string
	restart bool
	urgent  bool
	limits  string                                // how they have changed
	both    bool                                  // the sources have changed too
	reason  string                                // of the latest restart
	broken  error                                 // what they say cannot be used
	unread  error                                 // they cannot be read
	renewed []string                              // at which time, as which process
	gives   func(restarts int, now string) string // what a restart brings; nil: now
	begin   time.Time
	renders int
}

func (f *fakeJVMs) JVMs() []JVM {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []JVM{{"app", f.state, f.pid, f.started, f.restart, f.urgent}}
}

func (f *fakeJVMs) Digest(context.Context, string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.unread
}

func (f *fakeJVMs) Compare(context.Context, string, int) (Comparison, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renders++
	c := Comparison{Limits: f.limits, Sources: f.limits == "" || f.both}
	if f.broken != nil {
		return c, f.broken
	}
	before, _, _ := strings.Cut(f.started, "#")
	after, _, _ := strings.Cut(f.now, "#") // a comment makes no option
	if before != after {
		c.Changes = []string{after + " instead of " + before}
	}
	return c, nil
}

// Renew restarts at once: the next process has the current sources, or the text that gives returns.
func (f *fakeJVMs) Renew(_ context.Context, _ string, pid int, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if pid != f.pid {
		return errors.New("it is another process")
	}
	f.renewed = append(f.renewed, fmt.Sprintf("%v:%d", time.Since(f.begin), pid))
	f.reason = reason
	f.pid++
	f.started = f.now
	if f.gives != nil {
		f.started = f.gives(len(f.renewed), f.now)
	}
	return nil
}

func (f *fakeJVMs) Start(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed = append(f.renewed, fmt.Sprint("start at ", time.Since(f.begin)))
	f.state = supervisor.Starting
	return nil
}

// done returns the restarts so far.
func (f *fakeJVMs) done() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.renewed)
}

func (f *fakeJVMs) rendered() int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.renders
}

func (f *fakeJVMs) change(do func()) { f.mu.Lock(); defer f.mu.Unlock(); do() }

// signal puts a token into a channel with a buffer of one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watching runs a rollout over f in a synctest bubble.
func watching(t *testing.T, f *fakeJVMs, test func(w *Rollout, change func(func()), shown func() string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if f.state == "" {
			f.state, f.pid, f.started, f.now = supervisor.Running, 10, "-Xmx1g", "-Xmx1g"
		}
		f.begin = time.Now()
		w := New(f, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		changed := make(chan struct{}, 1)
		go w.Run(ctx, changed) // ends with ctx
		synctest.Wait()
		test(w, func(do func()) {
			f.change(do)
			signal(changed)
			synctest.Wait()
		}, func() string {
			synctest.Wait()
			if p := w.Pending("app", f.JVMs()[0].Pid); p != nil {
				return p.String()
			}
			return ""
		})
		cancel()
		synctest.Wait()
	})
}

// A change of its sources starts a service that is FATAL.
func TestRolloutStartsFatalService(t *testing.T) {
	f := &fakeJVMs{state: supervisor.Fatal, now: "-Xmx1x"}
	watching(t, f, func(_ *Rollout, change func(func()), _ func() string) {
		change(func() {})
		if got := f.done(); len(got) > 0 {
			t.Errorf("nothing has changed: %q", got)
		}
		change(func() { f.unread = errors.New("read udp 127.0.0.1:43512: i/o timeout") })
		time.Sleep(time.Second)
		change(func() { f.state, f.unread = supervisor.Fatal, errors.New("read udp 127.0.0.1:43513: i/o timeout") }) // the same once more
		change(func() { f.state, f.unread, f.now = supervisor.Fatal, nil, "-Xmx1g" })
		change(func() { f.state, f.now = supervisor.Stopped, "-Xmx2g" })
		change(func() { f.state = supervisor.Fatal }) // for another reason, and with these
		if got, want := f.done(), []string{"start at 0s", "start at 1s"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestRolloutReports(t *testing.T) {
	f := &fakeJVMs{}
	watching(t, f, func(w *Rollout, change func(func()), shown func() string) {
		if got := shown(); got != "" {
			t.Errorf("nothing has changed, and it says %q", got)
		}
		change(func() { f.now = "-Xmx2g" })
		if want := "restart to apply changed JVM options: -Xmx2g instead of -Xmx1g"; shown() != want {
			t.Errorf("it says %q, want %q", shown(), want)
		}
		change(func() { f.now = "-Xmx1g" })
		if got := shown(); got != "" {
			t.Errorf("it is what it was, and it says %q", got)
		}
		change(func() { f.now = "-Xmx1g# a comment" })
		if got := shown(); got != "" {
			t.Errorf("a comment is no change, and it says %q", got)
		}
		// Unusable options are reported and not applied.
		change(func() { f.now, f.broken = "-version", errors.New("x:1: -version ends the JVM") })
		if got := shown(); !strings.Contains(got, "cannot be used, and nothing is done: x:1") {
			t.Errorf("it says %q", got)
		}
		time.Sleep(10 * recheckDelay)
		if f.rendered() != 3 {
			t.Errorf("%d renders of three outcomes", f.rendered())
		}
		change(func() { f.now, f.broken, f.unread = "-Xmx3g", nil, errors.New("permission denied") })
		if got := shown(); !strings.Contains(got, "nothing is done: permission denied") {
			t.Errorf("it says %q", got)
		}
		// What cannot be read is looked at again.
		f.change(func() { f.unread = nil })
		time.Sleep(recheckDelay)
		if got := shown(); !strings.Contains(got, "-Xmx3g instead of -Xmx1g") {
			t.Errorf("after the repair it says %q", got)
		}
		// The process that it spoke of is gone.
		f.change(func() { f.pid, f.started = 11, "-Xmx3g" })
		if got := shown(); got != "" {
			t.Errorf("of the next process it says %q", got)
		}
		time.Sleep(time.Hour)
		if len(f.done()) > 0 {
			t.Errorf("report restarts: %v", f.done())
		}
	})
}

// Without a change nothing is rendered: that runs setenv.sh and reads files.
func TestRolloutIsIdle(t *testing.T) {
	f := &fakeJVMs{}
	watching(t, f, func(_ *Rollout, change func(func()), _ func() string) {
		change(func() { f.now = "-Xmx2g" })
		for range 5 {
			change(func() {})
		}
		time.Sleep(24 * time.Hour)
		if f.rendered() != 1 {
			t.Errorf("%d renders of one change", f.rendered())
		}
	})
}

func TestRolloutRestarts(t *testing.T) {
	f := &fakeJVMs{restart: true}
	watching(t, f, func(_ *Rollout, change func(func()), shown func() string) {
		// Several changes are one restart, restartDelay after the last.
		for k := range 4 {
			change(func() { f.now = fmt.Sprintf("-Xmx%dg", k+2) })
			time.Sleep(restartDelay / 2)
		}
		time.Sleep(time.Minute)
		if want := []string{"5s:10"}; !slices.Equal(f.done(), want) || shown() != "" {
			t.Errorf("restarted %v, want %v; it says %q", f.done(), want, shown())
		}
		// And back again.
		change(func() { f.now = "-Xmx1g" })
		time.Sleep(time.Minute)
		if len(f.done()) != 2 {
			t.Errorf("restarted %v", f.done())
		}
		// One that is taken back in time is none.
		change(func() { f.now = "-Xmx9g" })
		time.Sleep(restartDelay / 2)
		change(func() { f.now = "-Xmx1g" })
		time.Sleep(time.Minute)
		if len(f.done()) != 2 {
			t.Errorf("restarted %v for nothing", f.done())
		}
	})
}

// A restart that does not apply the sources is repeated with growing delays.
func TestRolloutTriesAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		gives func(restarts int, now string) string
		want  []string // the restarts of a day after the change
	}{
		"at once": {nil, []string{"2s:10"}},
		"the third brings it": {func(restarts int, now string) string {
			if restarts < 3 {
				return "-Xmx1g"
			}
			return now
		}, []string{"2s:10", "1m4s:11", "3m6s:12"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJVMs{restart: true, gives: tc.gives}
			watching(t, f, func(_ *Rollout, change func(func()), shown func() string) {
				change(func() { f.now = "-Xmx2g" })
				time.Sleep(24 * time.Hour)
				if !slices.Equal(f.done(), tc.want) || shown() != "" {
					t.Errorf("restarted %v, want %v; it says %q", f.done(), tc.want, shown())
				}
				// All is well for long: the next change need not wait.
				rendered := f.rendered()
				f.change(func() { f.gives = nil })
				change(func() { f.now = "-Xmx3g" })
				time.Sleep(restartDelay)
				if len(f.done()) != len(tc.want)+1 || f.rendered() != rendered+1 {
					t.Errorf("restarted %v, with %d renders", f.done(), f.rendered()-rendered)
				}
			})
		})
	}
}

// Sources that never agree, such as replicas of a configuration service, cause one restart an hour.
func TestRolloutTriesAreBounded(t *testing.T) {
	for name, f := range map[string]*fakeJVMs{
		"never brought": {restart: true, gives: func(int, string) string { return "-Xmx1g" }},
		"alternating":   {restart: true},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, f, func(_ *Rollout, change func(func()), _ func() string) {
				for k := range 24 * 60 * 2 {
					change(func() { f.now = fmt.Sprintf("-Xmx%dg", 2+k%2) })
					time.Sleep(30 * time.Second)
				}
				if n := len(f.done()); n < 24 || n > 24+7 {
					t.Errorf("%d restarts in a day: %v", n, f.done())
				}
			})
		})
	}
}

func TestRolloutWaitsForReadiness(t *testing.T) {
	f := &fakeJVMs{restart: true, state: supervisor.Starting, pid: 10, started: "-Xmx1g", now: "-Xmx1g"}
	watching(t, f, func(_ *Rollout, change func(func()), shown func() string) {
		change(func() { f.now = "-Xmx2g" })
		time.Sleep(time.Minute)
		if len(f.done()) > 0 || shown() != "" {
			t.Errorf("a service that starts is restarted: %v, %q", f.done(), shown())
		}
		f.change(func() { f.state = supervisor.Running })
		time.Sleep(recheckDelay + restartDelay)
		synctest.Wait()
		if len(f.done()) != 1 {
			t.Errorf("restarted %v", f.done())
		}
		// One that is stopped before its restart stays so.
		change(func() { f.now = "-Xmx3g" })
		f.change(func() { f.state, f.pid = supervisor.Stopped, 0 })
		time.Sleep(time.Minute)
		if len(f.done()) != 1 {
			t.Errorf("restarted %v", f.done())
		}
	})
}
