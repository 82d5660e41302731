package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// fakeProcess ends at a signal.
type fakeProcess struct {
	endsAt syscall.Signal
	begun  time.Time
	exited chan struct{}

	mu      sync.Mutex // guards the fields below
	exit    proc.Exit
	signals []string
}

func newFakeProcess(endsAt syscall.Signal) *fakeProcess {
	return &fakeProcess{endsAt: endsAt, begun: time.Now(), exited: make(chan struct{})}
}

func (p *fakeProcess) SignalGroup(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signals = append(p.signals, fmt.Sprintf("%s@%v", proc.SignalName(sig), time.Since(p.begun)))
	if sig == p.endsAt {
		p.exit.Signal = sig
		close(p.exited)
	}
	return nil
}

func (p *fakeProcess) Exit() (proc.Exit, bool) {
	select {
	case <-p.exited:
		return p.exit, true
	default:
		return proc.Exit{}, false
	}
}

func (p *fakeProcess) Exited() <-chan struct{}               { return p.exited }
func (p *fakeProcess) Members() []int                        { return nil }
func (p *fakeProcess) Pid() int                              { return 4711 }
func (p *fakeProcess) Done()                                 {}
func (p *fakeProcess) Terminal() *os.File                    { return nil }
func (p *fakeProcess) Resize(uint16, uint16) error           { return nil }
func (p *fakeProcess) SignalForeground(syscall.Signal) error { return nil }

type fakeStore struct{}

func (fakeStore) PutJSON(string, any, ...int) error { return nil }
func (fakeStore) Delete(string)                     {}

type fakeHost struct{ launch *Launch }

func (h fakeHost) Prepare(Spec) (Launch, error) {
	if h.launch != nil {
		return *h.launch, nil
	}
	return Launch{}, errors.New("not here")
}

func (fakeHost) OOMKills() (uint64, bool) { return 1, true }
func (fakeHost) Start(context.Context, proc.Spec) (Process, error) {
	return nil, errors.New("not here")
}

// fakeChecker has a list of names that are refused.
type fakeChecker struct {
	mu      sync.Mutex // guards the fields below
	refused []string
	changed chan struct{}
}

func (c *fakeChecker) Check(id access.Identity, need access.Grants) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.refused {
		if name == id.Name {
			return errors.New("the token is gone")
		}
	}
	return nil
}

func (c *fakeChecker) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// refuse refuses a name from now on; loud tells the sessions.
func (c *fakeChecker) refuse(name string, loud bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, name)
	if loud {
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// auditLog notes what is audited.
type auditLog struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (a *auditLog) add(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, line)
}

func (a *auditLog) Begin(e Entry) error { a.add("begin " + e.By); return nil }
func (a *auditLog) Attached(e Entry) {
	a.add(fmt.Sprintf("%s %s %v", e.Mode, e.Identity.Name, e.Error))
}
func (a *auditLog) End(e Entry) { a.add("end " + e.Exit.Why) }

// bubble is a session with a fake process in a bubble of time.
type bubble struct {
	m       *Manager
	s       *Session
	p       *fakeProcess
	checker *fakeChecker
	audit   *auditLog
	begun   time.Time
}

func newBubble(t *testing.T, cfg Config, keep time.Duration) *bubble {
	t.Helper()
	b := &bubble{checker: &fakeChecker{changed: make(chan struct{})}, audit: &auditLog{}, begun: time.Now()}
	b.m = New(Options{Config: cfg, Host: fakeHost{}, Store: fakeStore{}, Checker: b.checker, Auditor: b.audit, Log: hclog.NewNullLogger(),
		Items: fdstore.NewItems()})
	b.serve(t, "abc", keep)
	return b
}

// serve begins a session.
func (b *bubble) serve(t *testing.T, id string, keep time.Duration) {
	t.Helper()
	b.s = b.m.newSession(id, saved{Identity: access.Kept{Identity: tester()}, Info: Info{ID: id, By: tester().Name, Started: time.Now(),
		Spec: Spec{Keep: Duration(keep), Command: []string{"x"}}}})
	b.s.opened = true
	var err error
	if b.s.ring, err = newRing(1, true); err != nil {
		t.Fatal(err)
	}
	b.s.in, _ = newInput(nil, false)
	b.p = newFakeProcess(unix.SIGHUP)
	b.s.proc = b.p
	b.m.open[tester().Name]++
	b.m.start(b.s)
}

// hold attaches the opener.
func (b *bubble) hold(t *testing.T) *Link {
	t.Helper()
	l, err := b.s.Attach(tester(), Attach{Mode: Hold, From: Everything()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// use is input or output after a time.
func (b *bubble) use(after time.Duration) {
	time.Sleep(after)
	b.s.mu.Lock()
	b.s.active = time.Now()
	b.s.mu.Unlock()
}

func TestLimits(t *testing.T) {
	cfg := testConfig()
	cfg.Idle, cfg.MaxTime = 10*time.Minute, time.Hour
	for name, c := range map[string]struct {
		keep time.Duration
		play func(*testing.T, *bubble)
		at   time.Duration
		why  string
	}{
		"no client ever":  {time.Minute, func(*testing.T, *bubble) {}, 30 * time.Second, "no client for 30s"},
		"idle":            {0, func(t *testing.T, b *bubble) { b.hold(t) }, 10 * time.Minute, "idle for 10m0s (console.idle)"},
		"idle later":      {0, func(t *testing.T, b *bubble) { b.hold(t); b.use(9 * time.Minute) }, 19 * time.Minute, "idle for 10m0s (console.idle)"},
		"its client went": {0, func(t *testing.T, b *bubble) { l := b.hold(t); b.use(time.Minute); l.Close() }, time.Minute, "its client is gone"},
		"detached": {time.Minute, func(t *testing.T, b *bubble) { l := b.hold(t); b.use(time.Minute); l.Close() }, 2 * time.Minute,
			"no client for 1m0s"},
		"detached, and back": {time.Minute, func(t *testing.T, b *bubble) {
			b.hold(t).Close()
			b.use(50 * time.Second)
			b.hold(t)
		}, 50*time.Second + 10*time.Minute, "idle for 10m0s (console.idle)"},
		"max_time": {0, func(t *testing.T, b *bubble) {
			b.hold(t)
			for range 8 {
				b.use(8 * time.Minute)
			}
		}, time.Hour, "it ran for 1h0m0s (console.max_time)"},
		"a smaller limit": {0, func(t *testing.T, b *bubble) {
			b.hold(t)
			c := cfg
			c.Idle = time.Minute
			b.m.Configure(c)
		}, time.Minute, "idle for 1m0s (console.idle)"},
		"switched off": {0, func(t *testing.T, b *bubble) {
			b.hold(t)
			b.use(time.Minute)
			c := cfg
			c.Enabled = false
			b.m.Configure(c)
		}, time.Minute, "the console was switched off"},
		"by hand": {0, func(t *testing.T, b *bubble) { b.hold(t); b.use(time.Minute); b.s.End("enough") }, time.Minute, "enough"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, cfg, c.keep)
				c.play(t, b)
				<-b.s.Done()
				info := b.s.Info()
				if at := info.Ended.Sub(b.begun); at != c.at || info.Exit.Why != c.why || info.Exit.Signal != "HUP" {
					t.Errorf("ended after %v with %+v, want %v, %q", at, *info.Exit, c.at, c.why)
				}
				b.m.mu.Lock()
				if len(b.m.open) > 0 {
					t.Errorf("%v are still counted", b.m.open)
				}
				b.m.mu.Unlock()
				b.s.mu.Lock()
				links := slices.Collect(maps.Keys(b.s.links))
				b.s.mu.Unlock()
				for _, l := range links {
					l.Close()
				}
				time.Sleep(c.keep)
				synctest.Wait()
				if _, err := b.m.Session("abc"); err == nil || len(b.m.Sessions()) != 1 {
					t.Errorf("%v, %d sessions", err, len(b.m.Sessions()))
				}
			})
		})
	}
}

// KILL follows for a process that ignores the rest.
func TestStubborn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, testConfig(), 0)
		b.p.endsAt = unix.SIGKILL
		b.hold(t).Close()
		<-b.s.Done()
		if want := []string{"HUP@0s", "TERM@0s", "CONT@0s", "KILL@2s"}; !reflect.DeepEqual(b.p.signals, want) {
			t.Errorf("%v, want %v", b.p.signals, want)
		}
		if x := b.s.Info().Exit; x.Code != 137 || x.OOM {
			t.Errorf("%+v", x)
		}
	})
}

// A KILL that nobody of us has sent, while the OOM counter rises.
func TestOOM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, testConfig(), 0)
		b.s.saved.OOMKills = new(uint64)
		l := b.hold(t)
		b.p.endsAt = unix.SIGKILL
		_ = b.p.SignalGroup(unix.SIGKILL)
		<-b.s.Done()
		if x := b.s.Info().Exit; !x.OOM {
			t.Errorf("%+v", x)
		}
		l.Close()
	})
}

func TestRevoked(t *testing.T) {
	for _, loud := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, testConfig(), time.Minute)
			l := b.hold(t)
			other := access.Identity{Name: "token other", Grants: access.Exec}
			v, err := b.s.Attach(other, Attach{Mode: View})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			b.checker.refuse(other.Name, loud)
			<-v.Gone()
			if late := time.Since(b.begun); !errors.Is(v.Err(), ErrRevoked) || loud && late > 0 || late > checkPeriod {
				t.Errorf("a viewer after %v: %v", late, v.Err())
			}
			if _, err := v.Next(t.Context()); !errors.Is(err, ErrRevoked) {
				t.Error(err)
			}
			if l.Err() != nil || !l.Holds() {
				t.Errorf("the holder is gone too: %v", l.Err())
			}
			b.checker.refuse(tester().Name, loud)
			<-b.s.Done()
			if x := b.s.Info().Exit; !errors.Is(l.Err(), ErrRevoked) || x.Why != "who opened it is no longer authorised" {
				t.Errorf("%v, %+v", l.Err(), x)
			}
			if want := []string{"view token other <nil>", "end " + b.s.Info().Exit.Why}; !reflect.DeepEqual(b.audit.lines, want) {
				t.Errorf("audited %q", b.audit.lines)
			}
			l.Close()
			v.Close()
			time.Sleep(time.Minute) // it lingers
		})
	}
}

func TestReserve(t *testing.T) {
	cfg := testConfig()
	cfg.Sessions, cfg.SessionsPerClient = 3, 2
	m := New(Options{Config: cfg, Items: fdstore.NewItems()})
	for _, step := range []struct{ by, limit string }{{"a", ""}, {"a", ""}, {"a", "console.sessions_per_client"}, {"b", ""},
		{"b", "console.sessions"}} {
		err := m.reserve(step.by)
		bad := (*LimitError)(nil)
		if got := errors.As(err, &bad); got != (step.limit != "") || got && bad.Limit != step.limit {
			t.Errorf("%s: %v", step.by, err)
		}
	}
	m.free("a")
	if err := m.reserve("b"); err != nil {
		t.Error(err)
	}
	m.Configure(Config{})
	if _, err := m.Open(t.Context(), Spec{}, tester()); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	if _, err := m.Session("x"); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
}
