package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// fakeEnvironment is an environment whose processes exist only in the test.
type fakeEnvironment struct {
	t       *testing.T
	epoch   time.Time
	startup func(n int, p *fakeProcess) error // n from 1; prepares the process, or refuses it
	// dieAt kills the service's goroutine at that step, as SIGKILL of the
	// supervisor would; 0: never.
	dieAt int
	// gate holds the service's goroutine in Keep until it is closed; nil: open.
	gate atomic.Pointer[chan struct{}]
	// dies says that a supervisor is being killed: its end is not seen by others.
	dies atomic.Bool

	mu          sync.Mutex // guards what follows
	steps       int
	procs       []*fakeProcess
	tries       []time.Duration // when a start was tried
	stored      []byte
	recorded    []*incident.Failure
	dumps       []string                                   // thread dumps that were not in the output, after their starts
	before      string                                     // what must be up first
	after       string                                     // what must be gone first
	listener    Listener                                   // nil: none
	entered     func(service string, st State, rests bool) // nil: none
	removals    atomic.Int32
	explain     func(*incident.Failure) // as the recorder does
	planUpdates atomic.Int32
	endChecks   atomic.Int32
}

func (w *fakeEnvironment) environment() environment {
	return environment{w, w, w, w, w.listener, w.entered}
}

// elapsed is the time since the beginning of the test.
func (w *fakeEnvironment) elapsed() time.Duration { return time.Since(w.epoch) }

func (w *fakeEnvironment) now() int64                { return int64(time.Hour + w.elapsed()) }
func (w *fakeEnvironment) Log(name string) *logs.Log { return nil }

func (w *fakeEnvironment) updateStopPlan() { w.planUpdates.Add(1) }
func (w *fakeEnvironment) wakeWaiters()    {}
func (w *fakeEnvironment) Record(c *incident.Failure) {
	w.mu.Lock()
	w.recorded = append(w.recorded, c)
	w.mu.Unlock()
	if c.Explain != nil {
		go w.explain(c) // ends with Explain
	}
}
func (w *fakeEnvironment) logAfterOutput(string) {}
func (w *fakeEnvironment) AddThreadDump(_ string, start uint64, text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dumps = append(w.dumps, fmt.Sprint(start, " ", string(text)))
}
func (w *fakeEnvironment) oomCount([]string, bool) incident.OOMCount { return incident.OOMCount{} }
func (w *fakeEnvironment) removeStopped(string)                      { w.removals.Add(1) }
func (w *fakeEnvironment) mayStart(string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.before
}
func (w *fakeEnvironment) mayStop(string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.after
}

// failures are the failures that were noted.
func (w *fakeEnvironment) failures() []*incident.Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.recorded)
}

// setBlockers sets what the service must wait for to start and to stop.
func (w *fakeEnvironment) setBlockers(start, stop string) {
	w.mu.Lock()
	w.before, w.after = start, stop
	w.mu.Unlock()
}
func (w *fakeEnvironment) checkEnd() { w.endChecks.Add(1) }

func (w *fakeEnvironment) saveState(name string, state any) {
	w.step()
	stored, err := json.Marshal(state)
	if err != nil {
		panic(err)
	}
	if gate := w.gate.Load(); gate != nil {
		<-*gate
	}
	w.mu.Lock()
	w.stored = stored
	w.mu.Unlock()
	w.step()
}

// holdSave holds the service at its next Keep until the function is called.
func (w *fakeEnvironment) holdSave() (open func()) {
	gate := make(chan struct{})
	w.gate.Store(&gate)
	return func() {
		w.gate.Store(nil)
		close(gate)
		synctest.Wait()
	}
}

// step is a point at which the supervisor may be killed.
func (w *fakeEnvironment) step() {
	w.mu.Lock()
	w.steps++
	die := w.steps == w.dieAt
	w.mu.Unlock()
	if die {
		w.dies.Store(true)
		runtime.Goexit()
	}
}

func (w *fakeEnvironment) startProcess(_ context.Context, spec proc.Spec) (Process, error) {
	w.step()
	w.mu.Lock()
	n := len(w.tries) + 1
	w.tries = append(w.tries, w.elapsed())
	p := &fakeProcess{w: w, id: spec.ID, pid: 100 + n, exited: make(chan struct{}), catches: map[syscall.Signal]bool{}}
	for _, old := range w.procs {
		if len(old.Members()) > 0 {
			w.t.Errorf("%s starts while %s still has %v", spec.ID, old.id, old.Members())
		}
	}
	var err error
	if w.startup != nil {
		err = w.startup(n, p)
	}
	if err == nil {
		w.procs = append(w.procs, p)
	}
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	w.step()
	return p, nil
}

// last is the latest process.
func (w *fakeEnvironment) last() *fakeProcess {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.procs[len(w.procs)-1]
}

func (w *fakeEnvironment) count() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.procs) }

// fakeProcess obeys TERM and KILL unless a test says otherwise.
type fakeProcess struct {
	w       *fakeEnvironment
	id      string
	pid     int
	exited  chan struct{}
	catches map[syscall.Signal]bool
	ignores bool         // signals but KILL
	onTerm  func()       // instead of dying of TERM
	onQuit  func()       // makes a thread dump
	members map[int]bool // of its group, besides itself; true: ignores signals but KILL
	undead  bool         // even KILL does nothing
	held    bool         // a tracer keeps it from being waited for
	signals []string     // with the time, e.g. "TERM 1s"
	exit    proc.Exit
	acks    int
	dones   int

	mu sync.Mutex // guards members, signals, exit, acks and dones
}

func (p *fakeProcess) Pid() int                        { return p.pid }
func (p *fakeProcess) StartTicks() uint64              { return uint64(p.pid) }
func (p *fakeProcess) Exited() <-chan struct{}         { return p.exited }
func (p *fakeProcess) Catches(sig syscall.Signal) bool { return p.catches[sig] }
func (p *fakeProcess) FlushOutput()                    {}
func (p *fakeProcess) FreeOutput()                     {}
func (p *fakeProcess) Held() bool                      { return p.held }
func (p *fakeProcess) Cgroups() []string               { return nil }
func (p *fakeProcess) Signal(sig syscall.Signal) error {
	p.note(proc.SignalName(sig) + " alone")
	if sig == syscall.SIGQUIT && p.onQuit != nil {
		p.onQuit()
	}
	return nil
}
func (p *fakeProcess) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *fakeProcess) Exit() (proc.Exit, bool) {
	if !p.ended() {
		return proc.Exit{}, false
	}
	return p.exit, true
}

func (p *fakeProcess) note(what string) {
	p.mu.Lock()
	p.signals = append(p.signals, fmt.Sprint(what, " ", p.w.elapsed()))
	p.mu.Unlock()
}

func (p *fakeProcess) SignalGroup(sig syscall.Signal) error {
	if sig != syscall.SIGCONT {
		p.note(proc.SignalName(sig))
	}
	if sig != syscall.SIGCONT && !p.isUndead() {
		p.mu.Lock()
		for pid, stubborn := range p.members {
			if sig == syscall.SIGKILL || !stubborn {
				delete(p.members, pid)
			}
		}
		p.mu.Unlock()
		switch {
		case p.ended() || p.ignores && sig != syscall.SIGKILL:
		case p.onTerm != nil && sig != syscall.SIGKILL:
			p.onTerm()
		default:
			p.die(proc.Exit{Code: -1, Signal: sig})
		}
	}
	return nil
}

func (p *fakeProcess) die(x proc.Exit) {
	x.At = p.w.now()
	p.exit = x
	close(p.exited)
}

// exits ends the process by itself.
func (p *fakeProcess) exits(code int) { p.die(proc.Exit{Code: code}) }

func (p *fakeProcess) Members() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []int
	if !p.ended() {
		out = append(out, p.pid)
	}
	for pid := range p.members {
		out = append(out, pid)
	}
	slices.Sort(out)
	return out
}

func (p *fakeProcess) leave(members map[int]bool) { p.mu.Lock(); p.members = members; p.mu.Unlock() }

func (p *fakeProcess) Ack() {
	p.w.step()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended() || p.dones > 0 {
		p.w.t.Errorf("Ack of %s: ended %v, %d times done", p.id, p.ended(), p.dones)
	}
	p.acks++
}

func (p *fakeProcess) Done() {
	p.w.step()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended() || len(p.members) > 0 {
		p.w.t.Errorf("Done of %s: ended %v, members %v", p.id, p.ended(), p.members)
	}
	p.dones++
}

// obeys makes an undead process mortal.
func (p *fakeProcess) obeys() { p.mu.Lock(); p.undead = false; p.mu.Unlock() }

func (p *fakeProcess) isUndead() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.undead }

func (p *fakeProcess) acked() int { p.mu.Lock(); defer p.mu.Unlock(); return p.acks }

func (p *fakeProcess) isDone() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.dones > 0 }

func (p *fakeProcess) sent() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.signals)
}

func (p *fakeProcess) wantSignals(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.signals, want) {
		t.Errorf("signals %q, want %q", p.signals, want)
	}
}

// fakeLauncher gives a fresh Launch each time.
type fakeLauncher struct {
	prepare    func(ctx context.Context, n int) (*Launch, error)
	attach     func() (*Launch, error)
	mu         sync.Mutex
	asked      int
	attachData string // what the latest Attach was given
}

func (l *fakeLauncher) Prepare(ctx context.Context) (*Launch, error) {
	l.mu.Lock()
	l.asked++
	n, prepare := l.asked, l.prepare
	l.mu.Unlock()
	if prepare == nil {
		return &Launch{}, nil
	}
	return prepare(ctx, n)
}

// tries is how often it was asked.
func (l *fakeLauncher) tries() int { l.mu.Lock(); defer l.mu.Unlock(); return l.asked }

// setPrepare changes what is found from the next start on.
func (l *fakeLauncher) setPrepare(prepare func(ctx context.Context, n int) (*Launch, error)) {
	l.mu.Lock()
	l.prepare = prepare
	l.mu.Unlock()
}

func (l *fakeLauncher) Attach(ctx context.Context, learned string) (*Launch, error) {
	l.mu.Lock()
	l.attachData = learned
	l.mu.Unlock()
	if l.attach == nil {
		return l.Prepare(ctx)
	}
	return l.attach()
}

// fakeOutput is a log to which the test writes lines.
type fakeOutput struct {
	mu    sync.Mutex
	lines []string
	wake  chan struct{}
}

func newFakeOutput() *fakeOutput { return &fakeOutput{wake: make(chan struct{})} }

func (o *fakeOutput) write(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
	close(o.wake)
	o.wake = make(chan struct{})
}

func (o *fakeOutput) End() int64 { o.mu.Lock(); defer o.mu.Unlock(); return int64(len(o.lines)) }

func (o *fakeOutput) Lines(ctx context.Context, offset int64, follow bool, f func(logs.Line) error) error {
	for {
		o.mu.Lock()
		offset = min(offset, int64(len(o.lines)))
		lines, wake := o.lines[offset:], o.wake
		o.mu.Unlock()
		for _, line := range lines {
			offset++
			if err := f(logs.Line{Text: []byte(line), Offset: offset}); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		switch {
		case len(lines) > 0:
			continue
		case !follow:
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
