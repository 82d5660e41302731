package supervisor

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// defaults is a configuration with every default, as internal/config makes it,
// and no jitter.
func defaults() Config {
	first, jitter, slow, dump := 500*time.Millisecond, 0.0, 5*time.Minute, false
	return Config{
		SuccessCodes: []int{0},
		Ready:        Ready{Within: 2 * time.Minute, Every: time.Second},
		Restart: Restart{Policy: Always,
			Backoff: BackoffConfig{First: &first, Factor: 2, Max: 30 * time.Second, Jitter: &jitter, Reset: time.Minute},
			Limit:   Limit{Starts: 5, Within: 10 * time.Minute, RetryEvery: &slow}},
		Live: Live{Every: 10 * time.Second, Failures: 3, Successes: 1, Then: LiveRestart},
		Stop: Stop{Signal: "TERM", Timeout: 6 * time.Second, ThreadDump: &dump},
	}
}

// harness is a service that plays in a bubble.
type harness struct {
	t          *testing.T
	cfg        Config
	w          *fakeEnvironment
	host       processHost // nil: w
	l          *fakeLauncher
	out        *fakeOutput // nil: not captured
	configHash string
	log        hclog.Logger // nil: thrown away
	s          *Service
	cancel     context.CancelFunc
}

// withHarness runs f with a service that rests in STOPPED. At the end the bubble checks
// that no goroutine is left.
func withHarness(t *testing.T, f func(st *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := &harness{t: t, cfg: defaults(), w: &fakeEnvironment{t: t, epoch: time.Now()}, l: &fakeLauncher{}}
		defer func() {
			if st.cancel != nil {
				st.cancel()
				<-st.s.life.Done()
			}
		}()
		f(st)
	})
}

func (st *harness) newService() *Service {
	env := st.w.environment()
	if st.host != nil {
		env.processHost = st.host
	}
	log := st.log
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := newService(Definition{Name: "app", Config: st.cfg, ConfigHash: st.configHash, Launcher: st.l}, env, log)
	s.random = func() float64 { return 0.5 }
	st.w.explain = func(f *incident.Failure) {
		ctx, cancel := context.WithTimeout(s.life, 3*time.Second)
		defer cancel()
		if text := f.Explain(ctx); text != "" {
			s.report(s.life, event{kind: EvFailureFound, gen: f.Start, text: text, late: true})
		}
	}
	s.output = func() output {
		if st.out == nil {
			return nil
		}
		return st.out
	}
	return s
}

// open lets the service's goroutine begin.
func (st *harness) open() {
	ctx, cancel := context.WithCancel(context.Background())
	st.s, st.cancel = st.newService(), cancel
	go st.s.run(ctx) // ends with ctx
	synctest.Wait()
}

// crash kills the supervisor, if that has not happened yet, and lets a new one
// take over as Supervisor.New and Run do.
func (st *harness) crash() {
	st.w.dies.Store(true)
	st.cancel()
	<-st.s.life.Done()
	synctest.Wait()
	st.takeOver()
}

func (st *harness) takeOver() {
	st.w.dies.Store(false)
	st.w.mu.Lock()
	state, procs := st.w.stored, slices.Clone(st.w.procs)
	st.w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	st.s, st.cancel = st.newService(), cancel
	processes := map[string]Process{}
	for _, p := range procs {
		if !p.isDone() {
			processes[p.id] = p
		}
	}
	if err := st.s.resume(state, processes); err != nil {
		st.t.Fatal(err)
	}
	for _, p := range processes {
		go endStray(p) // ends with the process
	}
	s := st.s
	go func() { // ends with ctx
		s.continueState()
		s.run(ctx)
	}()
	synctest.Wait()
}

func (st *harness) ask(event Event) { st.t.Helper(); st.send(request{event: event, by: "test"}) }

// send asks and does not wait for the answer.
func (st *harness) send(r request) <-chan error {
	st.t.Helper()
	got := make(chan error, 1)
	s := st.s
	go func() { got <- s.ask(context.Background(), r) }() // ends with the answer
	synctest.Wait()
	return got
}

func (st *harness) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

// until goes on to the moment d after the beginning.
func (st *harness) until(d time.Duration) { st.sleep(d - st.w.elapsed()) }

func (st *harness) snap() Snapshot { synctest.Wait(); return st.s.Snapshot() }

func (st *harness) want(state State) {
	st.t.Helper()
	if snap := st.snap(); snap.State != state {
		st.t.Fatalf("at %v: state %s (%s), want %s", st.w.elapsed(), snap.State, snap.Reason, state)
	}
}

func (st *harness) wantReason(reason string) {
	st.t.Helper()
	if snap := st.snap(); snap.Reason != reason {
		st.t.Errorf("reason %q, want %q", snap.Reason, reason)
	}
}

// readyWhen is a Launch whose probe asks f.
func readyWhen(f func() error) func(context.Context, int) (*Launch, error) {
	return func(context.Context, int) (*Launch, error) {
		return &Launch{Ready: probe.Checker(func(context.Context, probe.Process) error { return f() })}, nil
	}
}
