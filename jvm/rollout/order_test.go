package rollout

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/supervisor"
)

// fleet is services with the same source. A restarted one stays STARTING.
type fleet struct {
	mu       sync.Mutex // guards what follows
	services []JVM
	now      string
	renewed  []string
}

func (f *fleet) JVMs() []JVM {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.services)
}

func (f *fleet) Digest(context.Context, string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, nil
}

func (f *fleet) Compare(context.Context, JVM, string) (Comparison, error) {
	return Comparison{Changes: []string{"-Da=2 instead of -Da=1"}, Sources: true}, nil
}

func (f *fleet) Renew(_ context.Context, name string, _ int, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed = append(f.renewed, name)
	s := f.of(name)
	s.State, s.Pid, s.Sources = supervisor.Starting, s.Pid+100, f.now
	return nil
}

func (f *fleet) Start(_ context.Context, name string) error {
	return f.Renew(context.Background(), name, 0, "")
}

// change calls do and waits until the rollout is idle.
func (f *fleet) change(do func()) {
	f.mu.Lock()
	do()
	f.mu.Unlock()
	time.Sleep(5 * time.Minute)
	synctest.Wait()
}

func (f *fleet) of(name string) *JVM {
	return &f.services[slices.IndexFunc(f.services, func(j JVM) bool { return j.Name == name })]
}

// If a change prevents the start of one service, the others are not restarted.
func TestRolloutRestartsOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{now: "1"}
		for k, name := range []string{"a", "b", "c"} {
			f.services = append(f.services, JVM{name, supervisor.Running, k + 1, "1", true, false})
		}
		w := New(f, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		changed := make(chan struct{}, 1)
		go w.Run(ctx, changed) // ends with ctx
		synctest.Wait()
		f.change(func() { f.now = "2"; signal(changed) })
		for _, step := range []struct {
			name  string
			state supervisor.State // that a takes
			want  string           // restarted so far
			held  bool             // c says that a holds it
		}{
			{"it takes its time", supervisor.Starting, "a", false},
			{"it has not come up", supervisor.Backoff, "a", true},
			{"it tries again", supervisor.Starting, "a", true},
			{"for the last time", supervisor.Fatal, "a", true},
			{"it is repaired", supervisor.Running, "a b", false},
		} {
			f.change(func() { f.of("a").State = step.state })
			if got := strings.Join(f.renewed, " "); got != step.want {
				t.Errorf("%s: restarted %q, want %q", step.name, got, step.want)
			}
			p := w.Pending("c", f.of("c").Pid)
			if p == nil || (p.BlockedBy == "a") != step.held || strings.Contains(p.String(), `"a" is not RUNNING`) != step.held {
				t.Errorf("%s: c says %v", step.name, p)
			}
		}
		// A service that was removed from the configuration blocks no other.
		f.change(func() { f.services = slices.DeleteFunc(f.services, func(j JVM) bool { return j.Name == "b" }) })
		f.change(func() { f.of("c").State = supervisor.Running })
		if got := strings.Join(f.renewed, " "); got != "a b c" || w.Pending("c", f.of("c").Pid) != nil {
			t.Errorf("restarted %q", got)
		}
		cancel()
		synctest.Wait()
	})
}
