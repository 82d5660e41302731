package supervisor

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A thread dump that does not go to the output is preferred to the signal, and
// takes none of the time that was there for one.
func TestThreadDumpAside(t *testing.T) {
	for name, c := range map[string]struct {
		dump    func(context.Context, Process) ([]byte, error)
		signals []string
		given   []string
	}{
		"given": {func(context.Context, Process) ([]byte, error) { return []byte("threads"), nil }, []string{"TERM 0s", "KILL 7s"},
			[]string{"1 threads"}},
		"refused": {func(context.Context, Process) ([]byte, error) { return nil, errors.New("forbidden") },
			[]string{"TERM 0s", "QUIT alone 6s", "KILL 7s"}, nil},
		"empty": {func(context.Context, Process) ([]byte, error) { return nil, nil }, []string{"TERM 0s", "QUIT alone 6s", "KILL 7s"}, nil},
		"no answer": {func(ctx context.Context, _ Process) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			[]string{"TERM 0s", "KILL 7s"}, nil},
		"gives up": {func(context.Context, Process) ([]byte, error) {
			<-time.After(500 * time.Millisecond)
			return nil, errors.New("no answer")
		}, []string{"TERM 0s", "QUIT alone 6.5s", "KILL 7s"}, nil},
		"after a bit": {func(context.Context, Process) ([]byte, error) {
			<-time.After(300 * time.Millisecond)
			return []byte("late"), nil
		}, []string{"TERM 0s", "KILL 7s"}, []string{"1 late"}},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				yes := true
				st.cfg.Stop.ThreadDump = &yes
				st.l.prepare = func(context.Context, int) (*Launch, error) {
					return &Launch{DumpSignal: syscall.SIGQUIT, ThreadDump: c.dump}, nil
				}
				p := st.up()
				p.ignores, p.catches[syscall.SIGQUIT] = true, true
				stopped := st.send(request{event: EvStop, by: "test"})
				st.sleep(7 * time.Second)
				wantAnswer(t, stopped, "")
				p.wantSignals(t, c.signals...)
				st.w.mu.Lock()
				defer st.w.mu.Unlock()
				if !slices.Equal(st.w.dumps, c.given) {
					t.Errorf("given %q, want %q", st.w.dumps, c.given)
				}
			})
		})
	}
}

// Where the signal had to ask, the dump is in the output from that moment on.
func TestThreadDumpAsideFallsBack(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.out = newFakeOutput()
		st.out.write("up")
		st.neverAlive(LiveRestart)
		prepare := st.l.prepare
		st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
			l, err := prepare(ctx, n)
			if err == nil {
				l.ThreadDump = func(context.Context, Process) ([]byte, error) { return nil, errors.New("forbidden") }
			}
			return l, err
		}
		st.w.startup = func(_ int, p *fakeProcess) error {
			p.catches[syscall.SIGQUIT], p.onQuit = true, func() { st.out.write("threads") }
			return nil
		}
		st.up()
		st.until(90 * time.Second)
		st.w.mu.Lock()
		defer st.w.mu.Unlock()
		if !slices.Equal(st.w.dumps, []string{"1 threads\n"}) {
			t.Errorf("given %q", st.w.dumps)
		}
	})
}
