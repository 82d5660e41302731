package pid1

import (
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/initstore"
	"golang.org/x/sys/unix"
)

func TestEvents(t *testing.T) {
	var e eventQueue
	e.add(event{exit: initproto.Exit{Pid: 1}})
	e.addSignal(15, 1)
	e.addSignal(15, 2)
	e.addSignal(1, 2)
	e.add(event{exit: initproto.Exit{Pid: 2}})
	sent := func() (seqs []uint64) {
		for m := e.next(); m != nil; m = e.next() {
			if m.Type == initproto.Exited {
				for _, x := range m.Exits {
					seqs = append(seqs, x.Seq)
				}
				continue
			}
			seqs = append(seqs, m.Seq)
			if m.Signal == 15 && (m.Count != 2 || m.Stops != 2) {
				t.Errorf("TERM twice was sent as %+v", m)
			}
		}
		return seqs
	}
	if got := sent(); !reflect.DeepEqual(got, []uint64{1, 2, 3, 4}) {
		t.Errorf("sent %v", got)
	}
	e.ack(1)
	if e.stopAcked() {
		t.Error("the stop request counts as acknowledged")
	}
	e.sent = 0
	if got := sent(); !reflect.DeepEqual(got, []uint64{2, 3, 4}) {
		t.Errorf("sent again %v", got)
	}
	e.ack(4)
	if !e.stopAcked() || e.next() != nil || len(e.list) != 0 {
		t.Errorf("after the last acknowledgement: %+v", e)
	}
	e.add(event{exit: initproto.Exit{Pid: 3}})
	if e.ack(99); len(e.list) != 1 {
		t.Error("an exit that was not sent was acknowledged")
	}
}

// A gap in the watchdog's own ticks starts its count again.
func TestWatchdog(t *testing.T) {
	t0 := time.Now()
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	tests := []struct {
		name  string
		ticks []float64
		hung  bool
	}{
		{"silence", []float64{40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50}, true},
		{"not yet", []float64{40, 41, 42, 43, 44, 45, 46, 47, 48, 49}, false},
		{"paused for a minute", []float64{40, 41, 42, 43, 44, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113}, false},
		{"paused, then still silent", []float64{40, 41, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112}, true},
	}
	for _, tt := range tests {
		k := supervisorProc{instance: instance{pid: 1, hello: true, healthy: true, aliveAt: t0}}
		hung := false
		for _, s := range tt.ticks {
			_, h := k.watchdog(at(s), false)
			hung = hung || h
		}
		if hung != tt.hung {
			t.Errorf("%s: hung %v, want %v", tt.name, hung, tt.hung)
		}
	}
}

// A packet that can never be sent must not hold up those behind it.
func TestFlushPassesOverBadPacket(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := initproto.NewConn(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := initproto.NewConn(pair[1])
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	i := &initState{store: initstore.New(), log: newLogger(io.Discard)}
	i.supervisor.conn, i.supervisor.hello = conn, true
	i.out = []packet{{data: []byte("{}\n"), fds: []int{1 << 20}}, encode(&initproto.Msg{Type: initproto.Ready})}
	i.flush()
	if m, err := peer.Recv(); err != nil || m.Type != initproto.Ready || i.blocked {
		t.Errorf("got %+v %v, blocked %v", m, err, i.blocked)
	}
}
