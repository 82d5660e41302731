package supervisor

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/proc"
)

// await lets others run until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestApply(t *testing.T) {
	init, m, rec := connect(t, nil, 0)
	off := false
	def := func(name, made string, autostart *bool) Definition {
		cfg := defaults()
		cfg.Autostart = autostart
		return Definition{Name: name, Config: cfg, ConfigHash: made, Launcher: &cannotStart{}}
	}
	s := New(m, rec, ServiceSet{Main: "a", StopTimeout: time.Second, Definitions: []Definition{def("a", "1", nil), def("b", "1", &off)}},
		options())
	applied := make(chan error, 1)
	next := ServiceSet{Main: "c", StopTimeout: 2 * time.Second, Definitions: []Definition{def("a", "2", nil), def("c", "1", nil)}}
	go func() { applied <- s.Apply(next, []string{"a"}, "test") }() // ends with it
	code := make(chan int, 1)
	go func() { code <- s.Run(t.Context(), rec) }() // ends with the stop
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
	await(t, "b is gone", func() bool { return s.set.Load().services["b"] == nil })
	await(t, "c is tried", func() bool { return s.set.Load().services["c"].snap.Load().State == Backoff })
	if snap, ok := s.Service("c"); !ok || !snap.Main {
		t.Errorf("c: %v, %+v", ok, snap)
	}
	if names := s.Services(); len(names) != 2 || names[0].Name != "a" || names[1].Name != "c" {
		t.Errorf("services %+v", names)
	}
	if made := s.set.Load().services["a"].configHash; made != "2" {
		t.Errorf("a is made of %q", made)
	}
	if err := init.conn.Send(&initproto.Msg{Type: initproto.Signal, Seq: 1, Signal: int(syscall.SIGTERM), Count: 1, Stops: 1}); err != nil {
		t.Fatal(err)
	}
	<-code
	recorded(s)
	if err := s.Apply(next, nil, "test"); !errors.Is(err, proc.ErrStopping) {
		t.Errorf("after the end: %v", err)
	}
}

// A reload that a kill cut short is finished by the next supervisor: what is in the
// fd store and not configured any more goes.
func TestLeftOver(t *testing.T) {
	init, m, rec := connect(t, map[string]any{"service/gone": savedState{State: Backoff, Gen: 2,
		Deadline: initproto.BootNow() + int64(time.Hour)}}, 0)
	s := New(m, rec, ServiceSet{StopTimeout: time.Second}, options())
	if snap, ok := s.Service("gone"); !ok || snap.State != Backoff {
		t.Fatalf("%v, %+v", ok, snap)
	}
	code := make(chan int, 1)
	go func() { code <- s.Run(t.Context(), rec) }() // ends with the stop
	await(t, "it is gone", func() bool { return len(s.Services()) == 0 })
	if err := init.conn.Send(&initproto.Msg{Type: initproto.Signal, Seq: 1, Signal: int(syscall.SIGTERM), Count: 1, Stops: 1}); err != nil {
		t.Fatal(err)
	}
	<-code
	recorded(s)
}
