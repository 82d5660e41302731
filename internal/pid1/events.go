package pid1

import (
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
)

// events are the exits and signals that the supervisor has not acknowledged.
// A supervisor acknowledges after the state that follows from an event is in
// the bag; what is not acknowledged is told again to the next one.
type events struct {
	list    []event
	sent    int    // list[:sent] was told to the present supervisor
	seq     uint64 // last number given
	orphans uint64 // children that ended and that nobody had asked to follow
}

// event is an exit, a signal (sig > 0) or the answer to a Sync.
type event struct {
	seq       uint64
	exit      initproto.Exit
	sig       int
	count     int
	stopLevel int
	sync      bool
}

const (
	maxExits = 100    // in one message, which keeps it below 30 KiB
	maxHeld  = 100000 // events kept for supervisors that acknowledge nothing
)

func (e *events) addExit(x initproto.Exit) {
	e.seq++
	x.Seq = e.seq
	e.list = append(e.list, event{seq: e.seq, exit: x})
}

// addSignal merges a signal into an equal one that was not told yet, so that a
// flood of signals needs no memory. For a stop the level counts, which Ready
// tells too.
func (e *events) addSignal(sig, stop int) {
	for k := e.sent; k < len(e.list); k++ {
		if ev := &e.list[k]; ev.sig == sig {
			ev.count++
			ev.stopLevel = stop
			return
		}
	}
	if len(e.list) > maxHeld {
		return
	}
	e.seq++
	e.list = append(e.list, event{seq: e.seq, sig: sig, count: 1, stopLevel: stop})
}

// addSync answers a Sync behind everything that happened before it.
func (e *events) addSync() {
	if n := len(e.list); n > maxHeld || n > e.sent && e.list[n-1].sync {
		return
	}
	e.seq++
	e.list = append(e.list, event{seq: e.seq, sync: true})
}

// ack forgets everything up to seq.
func (e *events) ack(seq uint64) {
	n := 0
	for n < e.sent && e.list[n].seq <= seq {
		n++
	}
	e.list = e.list[n:]
	e.sent -= n
	if len(e.list) == 0 {
		e.list = nil
	}
}

// rewind lets everything be told again, to a new supervisor.
func (e *events) rewind() { e.sent = 0 }

// stopAcked says whether no stop request waits for an acknowledgement.
func (e *events) stopAcked() bool {
	for k := range e.list {
		if stopSignal(e.list[k].sig) {
			return false
		}
	}
	return true
}

// stopSignal says whether a signal asks the container to stop.
func stopSignal(sig int) bool { return sig == int(syscall.SIGTERM) || sig == int(syscall.SIGINT) }

// next gives the next message to tell, nil when all is told.
func (e *events) next() *initproto.Msg {
	if e.sent == len(e.list) {
		return nil
	}
	switch ev := e.list[e.sent]; {
	case ev.sync:
		e.sent++
		return &initproto.Msg{Type: initproto.Synced, Seq: ev.seq}
	case ev.sig > 0:
		e.sent++
		return &initproto.Msg{Type: initproto.Signal, Seq: ev.seq, Signal: ev.sig, Count: ev.count, Stop: ev.stopLevel}
	}
	m := &initproto.Msg{Type: initproto.Exited, Orphans: e.orphans}
	for e.sent < len(e.list) && e.list[e.sent].exit.Pid > 0 && len(m.Exits) < maxExits {
		m.Exits = append(m.Exits, e.list[e.sent].exit)
		e.sent++
	}
	return m
}
