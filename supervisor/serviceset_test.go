package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
	"golang.org/x/sys/unix"
)

// fakeInit is the init's end of the wire, with an fd store that an earlier supervisor
// has left.
type fakeInit struct {
	conn  *initproto.Conn
	acked chan uint64
}

// connect makes a Manager of an init whose fd store holds blobs and that was asked to
// stop so many times.
func connect(t *testing.T, blobs map[string]any, stop int) (*fakeInit, *proc.Manager, *proc.Recovered) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := initproto.NewConn(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	i := &fakeInit{conn: conn, acked: make(chan uint64, 10)}
	if err := conn.Send(&initproto.Msg{Type: initproto.Welcome, Pid: os.Getppid(), Stops: stop, Starts: 2}); err != nil {
		t.Fatal(err)
	}
	for name, blob := range blobs {
		body, err := json.Marshal(blob)
		if err == nil {
			err = conn.Send(&initproto.Msg{Type: initproto.Put, Name: name, Body: body})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Send(&initproto.Msg{Type: initproto.Ready, Stops: stop}); err != nil {
		t.Fatal(err)
	}
	go i.receive() // ends with the connection
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, rec, err := proc.Connect(fds[1], proc.Options{Sinks: &[2]*logs.Sink{logs.NewSink(int(null.Fd())), logs.NewSink(int(null.Fd()))}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return i, m, rec
}

// syncSeq is the number of the answer to Sync.
const syncSeq = 1

func (i *fakeInit) receive() {
	for {
		msg, err := i.conn.Recv()
		if err != nil {
			return
		}
		switch msg.Type {
		case initproto.Ack:
			if msg.Seq != syncSeq {
				i.acked <- msg.Seq
			}
		case initproto.Sync:
			_ = i.conn.Send(&initproto.Msg{Type: initproto.Synced, Seq: syncSeq}) // Connect waits for it
		}
	}
}

// recorded waits until the incidents of what has happened are kept.
func recorded(s *Supervisor) {
	s.Incidents()
}

// cannotStart counts the calls of Prepare.
type cannotStart struct{ asked atomic.Int32 }

func (l *cannotStart) Prepare(context.Context) (*Launch, error) {
	l.asked.Add(1)
	return nil, errors.New("cannot find it")
}
func (l *cannotStart) Attach(context.Context, string) (*Launch, error) {
	return nil, errors.New("no process")
}

func options() Options {
	return Options{Log: hclog.NewNullLogger()}
}

func TestRunUntilTheEnd(t *testing.T) {
	over := savedState{State: Exited, Gen: 4, Exit: &incident.Exit{Code: 3}}
	term := &initproto.Msg{Type: initproto.Signal, Seq: 7, Signal: int(syscall.SIGTERM), Count: 1, Stops: 1}
	cases := map[string]struct {
		blobs     map[string]any
		essential bool
		stop      int
		signal    *initproto.Msg
		want      int
		asked     bool // what to start
	}{
		"TERM":                            {signal: term, blobs: map[string]any{"service/app": savedState{State: Stopped}}},
		"TERM while it cannot be started": {signal: term, want: 1, asked: true},
		"TERM before the takeover":        {stop: 1, blobs: map[string]any{"service/app": over}, want: 3},
		"nothing is started after TERM":   {stop: 1},
		"essential is over, unheard":      {essential: true, blobs: map[string]any{"service/app": over}, want: 3},
		"in the middle of such an end": {essential: true, want: 3, blobs: map[string]any{"service/app": over,
			"stopping": stopState{Until: initproto.BootNow() + int64(5*time.Second), For: "app"}}},
		"its other services are not started": {blobs: map[string]any{"stopping": stopState{Until: initproto.BootNow() + int64(5*time.Second)}}},
		"unreadable state begins anew":       {signal: term, want: 1, asked: true, blobs: map[string]any{"service/app": "nonsense"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			init, m, rec := connect(t, c.blobs, c.stop)
			cfg, l := defaults(), &cannotStart{}
			cfg.Essential = c.essential
			s := New(m, rec, ServiceSet{Main: "app", StopTimeout: 8 * time.Second, Definitions: []Definition{
				{Name: "app", Kind: "process", Config: cfg, Launcher: l}}}, options())
			code := make(chan int, 1)
			go func() { code <- s.Run(t.Context(), rec) }() // ends with the stop
			if c.signal != nil {
				limit := time.Now().Add(10 * time.Second)
				for c.asked && s.set.Load().services["app"].snap.Load().State != Backoff && time.Now().Before(limit) {
					runtime.Gosched()
				}
				if err := init.conn.Send(c.signal); err != nil {
					t.Fatal(err)
				}
				if seq := <-init.acked; seq != c.signal.Seq {
					t.Errorf("acknowledged %d", seq)
				}
			}
			if got := <-code; got != c.want {
				t.Errorf("code %d, want %d", got, c.want)
			}
			recorded(s)
			if (l.asked.Load() > 0) != c.asked {
				t.Errorf("asked %d times what to start", l.asked.Load())
			}
			if err := s.Command(t.Context(), "app", EvStart, "test"); !errors.Is(err, proc.ErrStopping) {
				t.Errorf("a start is answered with %v", err)
			}
		})
	}
}

func TestInitGone(t *testing.T) {
	init, m, rec := connect(t, nil, 0)
	s := New(m, rec, ServiceSet{}, options())
	init.conn.Close()
	if code := s.Run(t.Context(), rec); code != exit.InitFailed {
		t.Errorf("code %d", code)
	}
}

// setOf is a Supervisor without an init over services of a bubble.
func setOf(services ...*Service) *Supervisor {
	s := &Supervisor{opts: options(), log: hclog.NewNullLogger(), wake: make(chan struct{}, 1)}
	byName, want := map[string]*Service{}, ServiceSet{Main: "app", StopTimeout: 8 * time.Second}
	for _, svc := range services {
		byName[svc.name] = svc
		want.Definitions = append(want.Definitions, Definition{Name: svc.name, Config: svc.cfg})
	}
	s.set.Store(newActiveSet(want, byName))
	return s
}

func TestSecondRequestKillsAtOnce(t *testing.T) {
	for _, before := range []bool{false, true} { // the second request may overtake the first
		withHarness(t, func(st *harness) {
			p := st.up()
			p.ignores = true
			s, done := setOf(st.s), make(chan struct{})
			if before {
				s.hurry(st.t.Context())
			}
			go s.stopAll(st.t.Context(), 7*time.Second, 0, done) // ends with the stop
			if !before {
				synctest.Wait()
				s.hurry(st.t.Context())
			}
			<-done
			p.wantSignals(t, "TERM 0s", "KILL 1ms")
		})
	}
}

func TestStopAllSendsTheUsersSignalToACommand(t *testing.T) {
	for _, command := range []bool{false, true} {
		withHarness(t, func(st *harness) {
			p := st.up()
			s, done := setOf(st.s), make(chan struct{})
			s.opts.Command = command
			s.stopAll(st.t.Context(), 7*time.Second, syscall.SIGINT, done)
			<-done
			p.wantSignals(t, map[bool]string{false: "TERM 0s", true: "INT 0s"}[command])
		})
	}
}

func TestStopAllLeavesWhatIsOver(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.cfg.Restart.Policy = Never
		st.up().exits(3)
		st.want(Exited)
		s, done := setOf(st.s), make(chan struct{})
		s.stopAll(st.t.Context(), 7*time.Second, 0, done)
		<-done
		st.want(Exited)
	})
}

func TestForward(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.l.prepare = dumping
		p := st.up()
		p.catches[syscall.SIGUSR1] = true
		s := setOf(st.s)
		s.signal(syscall.SIGUSR1) // not for a service of a file
		s.signal(syscall.SIGQUIT) // not caught
		p.wantSignals(t)
		p.catches[syscall.SIGQUIT] = true
		s.signal(syscall.SIGQUIT)
		s.opts.Command = true
		s.signal(syscall.SIGUSR1)
		s.signal(syscall.SIGUSR2) // not caught
		s.signal(syscall.SIGPIPE) // never forwarded
		p.wantSignals(t, "QUIT alone 0s", "USR1 alone 0s")
	})
}

// serviceWith is a service that shows a snapshot.
func serviceWith(name string, snap Snapshot, process bool) *Service {
	s := &Service{name: name}
	if process {
		snap.process = &fakeProcess{}
	}
	s.snap.Store(&snap)
	return s
}

func TestCode(t *testing.T) {
	killed := &incident.Exit{Code: -1, Signal: syscall.SIGKILL}
	asked := &incident.Exit{Code: -1, Signal: syscall.SIGTERM, Success: true}
	cases := map[string]struct {
		exit    *incident.Exit
		process bool
		command bool
		end     string // the essential service that is over
		want    int
	}{
		"never ran":               {},
		"stopped as it should":    {exit: asked},
		"failed":                  {exit: &incident.Exit{Code: 3}, want: 3},
		"killed":                  {exit: killed, want: 137},
		"lives on":                {process: true, want: 137},
		"command: its own":        {exit: asked, command: true, want: 143},
		"command: 0":              {exit: &incident.Exit{Success: true}, command: true},
		"essential: its own":      {exit: asked, end: "app", want: 143},
		"essential: with success": {exit: &incident.Exit{Success: true}, end: "app"},
		"no such service":         {end: "gone"},
	}
	for name, c := range cases {
		s := setOf(serviceWith("app", Snapshot{Exit: c.exit}, c.process))
		s.opts.Command = c.command
		if got := s.code(stopState{For: c.end}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestReady(t *testing.T) {
	ok := &incident.Exit{Success: true}
	cases := map[string]Snapshot{
		"":              {State: Running},
		"b is STARTING": {State: Starting},
		"b is BACKOFF":  {State: Backoff},
		"b is STOPPING": {State: Stopping},
		"b is FATAL":    {State: Fatal},
		"b is EXITED":   {State: Exited, Exit: &incident.Exit{Code: 1}},
	}
	for want, snap := range cases {
		s := setOf(serviceWith("a", Snapshot{State: Stopped}, false), serviceWith("b", snap, false),
			serviceWith("c", Snapshot{State: Exited, Exit: ok}, false))
		ready, not := s.Ready()
		if ready != (want == "") || !ready && !reflect.DeepEqual(not, []string{want}) {
			t.Errorf("%+v: %v, %q", snap, ready, not)
		}
	}
	s := setOf()
	s.stopping.Store(1)
	if ready, _ := s.Ready(); ready {
		t.Error("ready while the container stops")
	}
}

func TestEssentialOver(t *testing.T) {
	for _, state := range States() {
		s := setOf(serviceWith("a", Snapshot{State: state}, false), serviceWith("b", Snapshot{State: state, Essential: true}, false))
		name, over := s.essentialOver()
		if _, over := setOf(serviceWith("b", Snapshot{State: state, Essential: true, Oneshot: true, Exit: &incident.Exit{Success: true}},
			false)).essentialOver(); over != (state == Fatal) {
			t.Errorf("%s: a oneshot that succeeded: %v", state, over)
		}
		if want := state == Exited || state == Fatal; over != want || over && name != "b" {
			t.Errorf("%s: %q, %v", state, name, over)
		}
		s = setOf(serviceWith("a", Snapshot{State: state}, false))
		for onFatal, want := range map[string]bool{"": false, OnFatalStay: false, OnFatalExit: state == Fatal} {
			s.set.Load().OnFatal = onFatal
			if _, over := s.essentialOver(); over != want {
				t.Errorf("%s, on_fatal %q: %v", state, onFatal, over)
			}
		}
	}
}
