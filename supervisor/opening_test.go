package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// awaitLimit bounds what a test waits for that is to happen.
const awaitLimit = 30 * time.Second

// runningSet is a Supervisor with one service that cannot be started, and a Listener.
type runningSet struct {
	t    *testing.T
	init *fakeInit
	s    *Supervisor
	l    *cannotStart
	log  *lockedBuffer
	code chan int
}

// lockedBuffer is written to by others.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) text() string { b.mu.Lock(); defer b.mu.Unlock(); return b.buf.String() }

func runWith(t *testing.T, c Listener, budget time.Duration, blobs map[string]any, stop int) *runningSet {
	t.Helper()
	return runWithNetwork(t, c, nil, budget, blobs, stop)
}

func runWithNetwork(t *testing.T, c Listener, network func(context.Context, func(string)) error, budget time.Duration,
	blobs map[string]any, stop int) *runningSet {
	t.Helper()
	init, m, rec := connect(t, blobs, stop)
	o := &runningSet{t: t, init: init, l: &cannotStart{}, log: &lockedBuffer{}, code: make(chan int, 1)}
	opts := Options{Log: hclog.New(&hclog.LoggerOptions{Output: o.log}), Listener: c, Network: network,
		Stops: func(why string, _ time.Duration) { fmt.Fprintln(o.log, "stops:", why) }}
	o.s = New(m, rec, ServiceSet{Main: "app", StopTimeout: budget, Definitions: []Definition{
		{Name: "app", Kind: "process", Config: defaults(), Launcher: o.l}}}, opts)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { o.code <- o.s.Run(ctx, rec) }() // ends with the stop, or with the test
	return o
}

// await waits for something that is to happen.
func (o *runningSet) await(what string, holds func() bool) {
	o.t.Helper()
	for limit := time.Now().Add(awaitLimit); !holds(); runtime.Gosched() {
		if time.Now().After(limit) {
			o.t.Fatalf("%s: does not happen", what)
		}
	}
}

func (o *runningSet) term(level int) {
	o.t.Helper()
	msg := &initproto.Msg{Type: initproto.Signal, Seq: uint64(level), Signal: int(syscall.SIGTERM), Count: 1, Stops: level}
	if err := o.init.conn.Send(msg); err != nil {
		o.t.Fatal(err)
	}
}

func (o *runningSet) wantCode(want int) {
	o.t.Helper()
	select {
	case got := <-o.code:
		if got != want {
			o.t.Errorf("code %d, want %d", got, want)
		}
	case <-time.After(awaitLimit):
		o.t.Fatal("the container does not end")
	}
}

// app is the service's snapshot.
func (o *runningSet) app() *Snapshot { return o.s.set.Load().services["app"].snap.Load() }

// containerEvents are what was published of the container.
func (c *fakeListener) containerEvents() []lifecycle.Event {
	var out []lifecycle.Event
	for _, m := range c.occurrences() {
		if m.Service == "" {
			out = append(out, m.Event)
		}
	}
	return out
}

func (o *runningSet) wantContainerEvents(c *fakeListener, want ...lifecycle.Event) {
	o.t.Helper()
	if got := c.containerEvents(); !slices.Equal(got, want) {
		o.t.Errorf("published of the container: %q, want %q", got, want)
	}
}

// No service starts before the container's first hooks have ended, whichever supervisor began them.
func TestServicesWaitForTheFirstHooks(t *testing.T) {
	held := savedState{State: Starting, Gen: 1, Start: 1, Phase: PhaseWaiting}
	for name, blobs := range map[string]map[string]any{"first": nil, "taken over": {openItem: "", servicePrefix + "app": held}} {
		t.Run(name, func(t *testing.T) {
			c := newFakeListener(nil, lifecycle.Init, lifecycle.NetworkReady)
			o := runWith(t, c, 8*time.Second, blobs, 0)
			o.await("the service waits", func() bool { return o.app().Waiting == notOpen })
			if ready, not := o.s.Ready(); ready || not[0] != notOpen {
				t.Errorf("ready %v, %q", ready, not)
			}
			o.await("init", func() bool { return len(c.containerEvents()) == 1 })
			c.end(lifecycle.Init, nil)
			o.await("the network's hooks", func() bool { return len(c.containerEvents()) == 2 })
			if o.l.asked.Load() != 0 {
				t.Error("it was started too early")
			}
			c.end(lifecycle.NetworkReady, nil)
			o.await("the failed start", func() bool { return o.app().State == Backoff })
			o.term(1)
			o.wantCode(1)
			o.wantContainerEvents(c, lifecycle.Init, lifecycle.NetworkReady, lifecycle.Exit)
		})
	}
}

// Without first hooks the services start at once.
func TestWithoutFirstHooks(t *testing.T) {
	c := newFakeListener(nil)
	o := runWith(t, c, 8*time.Second, nil, 0)
	o.await("the failed start", func() bool { return o.app().State == Backoff })
	o.wantContainerEvents(c, lifecycle.Init, lifecycle.NetworkReady)
	o.term(1)
	o.wantCode(1)
}

// Hooks that are configured later do not come when a supervisor takes over.
func TestFirstHooksDoNotComeLater(t *testing.T) {
	c := newFakeListener(nil, lifecycle.Init)
	o := runWith(t, c, 8*time.Second, map[string]any{servicePrefix + "app": savedState{State: Stopped, Gen: 1}}, 0)
	if err := o.s.Command(t.Context(), "app", EvStart, "test"); err != nil {
		t.Fatal(err)
	}
	o.await("the failed start", func() bool { return o.app().State == Backoff })
	o.term(1)
	o.wantCode(1)
	o.wantContainerEvents(c, lifecycle.Exit)
}

// fakeNetwork is configured when it gets a result.
type fakeNetwork struct {
	begun  atomic.Int32
	result chan error
}

func (n *fakeNetwork) configure(ctx context.Context, waits func(string)) error {
	n.begun.Add(1)
	waits("no answer of the agent")
	select {
	case err := <-n.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The network comes before the first hooks, also after a supervisor that has died in the middle of it, and the services wait for both.
func TestServicesWaitForTheNetwork(t *testing.T) {
	held := savedState{State: Starting, Gen: 1, Start: 1, Phase: PhaseWaiting}
	for name, blobs := range map[string]map[string]any{"first": nil, "taken over": {openItem: "", servicePrefix + "app": held}} {
		t.Run(name, func(t *testing.T) {
			c, n := newFakeListener(nil), &fakeNetwork{result: make(chan error)}
			o := runWithNetwork(t, c, n.configure, 8*time.Second, blobs, 0)
			const why = noNetwork + ": no answer of the agent"
			o.await("the service waits", func() bool { return o.app().Waiting == why })
			if ready, not := o.s.Ready(); ready || not[0] != why {
				t.Errorf("ready %v, %q", ready, not)
			}
			if o.l.asked.Load() != 0 || len(c.containerEvents()) != 0 {
				t.Error("something came before the network")
			}
			const begins = "service starts: name=app"
			if strings.Contains(o.log.text(), begins) {
				t.Error("the log says that the service starts")
			}
			n.result <- nil
			o.await("the failed start", func() bool { return o.app().State == Backoff })
			if logged := strings.Contains(o.log.text(), begins); logged != (name == "first") {
				t.Errorf("the log says that the service starts: %v", logged)
			}
			o.term(1)
			o.wantCode(1)
			o.wantContainerEvents(c, lifecycle.Init, lifecycle.NetworkReady, lifecycle.Exit)
		})
	}
}

// A supervisor that takes over after the opening does not configure the network.
func TestNetworkIsNotConfiguredAgain(t *testing.T) {
	n := &fakeNetwork{}
	blobs := map[string]any{servicePrefix + "app": savedState{State: Stopped, Gen: 1}}
	o := runWithNetwork(t, newFakeListener(nil), n.configure, 8*time.Second, blobs, 0)
	if err := o.s.Command(t.Context(), "app", EvStart, "test"); err != nil {
		t.Fatal(err)
	}
	o.await("the failed start", func() bool { return o.app().State == Backoff })
	o.term(1)
	o.wantCode(1)
	if n.begun.Load() != 0 {
		t.Error("it was configured")
	}
}

func TestNetworkFails(t *testing.T) {
	c, n := newFakeListener(nil), &fakeNetwork{result: make(chan error, 1)}
	n.result <- &exit.Error{Err: errors.New("no such link: 02:00:5e:aa:0b:01"), Hint: "is it plugged in?", Code: exit.TryLater}
	o := runWithNetwork(t, c, n.configure, 8*time.Second, nil, 0)
	o.wantCode(exit.TryLater)
	o.wantContainerEvents(c, lifecycle.Exit)
	if m := c.last(t, lifecycle.Exit); m.Reason != "no such link: 02:00:5e:aa:0b:01" || *m.ExitCode != exit.TryLater {
		t.Errorf("%+v", m)
	}
	if text := o.log.text(); !strings.Contains(text, `no such link: 02:00:5e:aa:0b:01: hint="is it plugged in?"`) {
		t.Errorf("the log does not say so:\n%s", text)
	}
}

// TERM does not wait for the network.
func TestTermDuringTheNetwork(t *testing.T) {
	c, n := newFakeListener(nil), &fakeNetwork{}
	o := runWithNetwork(t, c, n.configure, 8*time.Second, nil, 0)
	o.await("the network", func() bool { return n.begun.Load() == 1 })
	o.term(1)
	o.wantCode(0)
	if o.l.asked.Load() != 0 {
		t.Error("a service was started")
	}
	o.wantContainerEvents(c, lifecycle.Exit)
}

// TERM does not wait for the first hooks, and nothing is started afterwards.
func TestTermDuringTheFirstHooks(t *testing.T) {
	for _, before := range []bool{false, true} { // the supervisor came in the middle of the stop
		c := newFakeListener(nil, lifecycle.Init)
		blobs, stop := map[string]any{}, 0
		if before {
			blobs, stop = map[string]any{openItem: "", servicePrefix + "app": savedState{State: Starting, Gen: 1, Start: 1, Phase: PhaseWaiting}}, 1
		}
		o := runWith(t, c, 8*time.Second, blobs, stop)
		if !before {
			o.await("init", func() bool { return len(c.containerEvents()) == 1 })
			o.term(1)
		}
		o.wantCode(0)
		if o.app().State != Stopped || o.l.asked.Load() != 0 {
			t.Errorf("%s, asked %d times", o.app().State, o.l.asked.Load())
		}
		if !before {
			o.wantContainerEvents(c, lifecycle.Init, lifecycle.Exit)
			if got := c.cuts(); !slices.Equal(got, []lifecycle.Event{lifecycle.Init}) {
				t.Errorf("brought to an end: %q", got)
			}
		}
	}
}

func TestFirstHooksFail(t *testing.T) {
	c := newFakeListener(nil, lifecycle.Init, lifecycle.NetworkReady, lifecycle.Exit)
	c.takes[lifecycle.Exit] = 0
	o := runWith(t, c, 8*time.Second, nil, 0)
	o.await("init", func() bool { return len(c.containerEvents()) == 1 })
	c.end(lifecycle.Init, errors.New("hook init/mount ended with code 3"))
	o.wantCode(1)
	if o.l.asked.Load() != 0 {
		t.Error("a service was started")
	}
	o.wantContainerEvents(c, lifecycle.Init, lifecycle.Exit)
	if m := c.last(t, lifecycle.Exit); m.Reason != "hook init/mount ended with code 3" || *m.ExitCode != 1 {
		t.Errorf("%+v", m)
	}
	for _, want := range []string{"the container ends: hook init/mount ended with code 3", "stops: hook init/mount ended with code 3"} {
		if !strings.Contains(o.log.text(), want) {
			t.Errorf("the log does not have %q:\n%s", want, o.log.text())
		}
	}
}

// A stop that began because of that goes on with its code.
func TestFirstHooksFailedBefore(t *testing.T) {
	c := newFakeListener(nil, lifecycle.Init)
	st := stopState{Until: initproto.BootNow() + int64(5*time.Second), Code: 1, Why: "hook init/mount ended with code 3"}
	o := runWith(t, c, 8*time.Second, map[string]any{stopItem: st, openItem: ""}, 0)
	o.wantCode(1)
	o.wantContainerEvents(c, lifecycle.Exit)
}

// The stopped services' hooks and the exit's come last, in that order.
func TestLastHooks(t *testing.T) {
	for name, blobs := range map[string]map[string]any{"asked": nil,
		"essential": {stopItem: stopState{Until: initproto.BootNow() + int64(time.Minute), For: "app", Why: "app is over"},
			servicePrefix + "app": savedState{State: Exited, Gen: 2, Exit: &incident.Exit{Code: 3}}}} {
		t.Run(name, func(t *testing.T) {
			c := newFakeListener(nil, lifecycle.Exit)
			o := runWith(t, c, time.Minute, blobs, 0)
			if blobs == nil {
				o.await("the start", func() bool { return o.app().State == Backoff })
				o.term(1)
			}
			o.await("exit", func() bool { return slices.Contains(c.containerEvents(), lifecycle.Exit) })
			if c.mu.Lock(); c.settled != 1 {
				t.Errorf("settled %d times before the exit", c.settled)
			}
			c.mu.Unlock()
			m := c.last(t, lifecycle.Exit)
			reason, code := "asked to stop", 1
			if name == "essential" {
				reason, code = "app is over", 3
			}
			if m.Reason != reason || *m.ExitCode != code || m.Until.IsZero() || m.Budget != time.Minute {
				t.Errorf("%+v", m)
			}
			c.end(lifecycle.Exit, errors.New("it does not matter any more"))
			o.wantCode(code)
		})
	}
}

// A second wish to stop does not wait for the last hooks.
func TestSecondTermDuringTheLastHooks(t *testing.T) {
	c := newFakeListener(nil, lifecycle.Exit)
	o := runWith(t, c, time.Hour, map[string]any{servicePrefix + "app": savedState{State: Stopped, Gen: 1}}, 0)
	o.term(1)
	o.await("exit", func() bool { return slices.Contains(c.containerEvents(), lifecycle.Exit) })
	o.term(2)
	o.wantCode(0)
	if got := c.cuts(); !slices.Equal(got, []lifecycle.Event{lifecycle.Exit}) {
		t.Errorf("brought to an end: %q", got)
	}
}

// stuckListener does not even obey its ctx.
type stuckListener struct {
	*fakeListener
	release chan struct{}
	settles bool
}

func (s *stuckListener) Settle(context.Context) {
	if !s.settles {
		<-s.release
	}
}

func (s *stuckListener) Await(_ context.Context, m lifecycle.Occurrence) error {
	s.Tell(m)
	<-s.release
	return nil
}

// The budget holds whatever the hooks do: without that the test would not end.
func TestBudgetHoldsWhateverHooksDo(t *testing.T) {
	for _, settles := range []bool{false, true} {
		c := &stuckListener{newFakeListener(nil, lifecycle.Exit), make(chan struct{}), settles}
		c.share = time.Hour
		o := runWith(t, c, 1500*time.Millisecond, map[string]any{servicePrefix + "app": savedState{State: Stopped, Gen: 1}}, 0)
		o.term(1)
		o.wantCode(0)
		if !strings.Contains(o.log.text(), "the last hooks are not waited for") {
			t.Errorf("settles %v: the log does not say so:\n%s", settles, o.log.text())
		}
		close(c.release)
	}
}

func TestOwnShare(t *testing.T) {
	cases := []struct{ reserve, budget, want time.Duration }{
		{0, 8 * time.Second, 0},
		{2 * time.Second, 8 * time.Second, 2 * time.Second},
		{time.Minute, 8700 * time.Millisecond, 4 * time.Second}, // the services keep half
		{time.Second, reserve, 0},
		{time.Second, reserve / 2, 0},
		{-time.Second, 8 * time.Second, 0},
	}
	for _, c := range cases {
		s := setOf()
		s.set.Store(newActiveSet(ServiceSet{StopTimeout: c.budget}, nil))
		f := newFakeListener(nil)
		f.share, s.opts.Listener = c.reserve, f
		if got := s.ownShare(); got != c.want {
			t.Errorf("%v of %v: %v, want %v", c.reserve, c.budget, got, c.want)
		}
	}
	if s := setOf(); s.ownShare() != 0 {
		t.Error("without a Listener")
	}
}

// A service that comes back begins behind the starts that it had.
func TestStartsOfRemovedServicesAreNumberedOn(t *testing.T) {
	o := runWith(t, nil, 8*time.Second, map[string]any{countsItem: map[string]uint64{"app": 7}}, 0)
	var first *Snapshot // the next start is half a second later
	o.await("the start", func() bool { first = o.app(); return first.State == Backoff })
	if first.Starts != 8 {
		t.Errorf("start %d", first.Starts)
	}
	o.term(1)
	o.wantCode(1)
}
