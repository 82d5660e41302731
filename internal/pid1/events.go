package pid1

import (
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
)

// eventQueue holds the exits and signals that the supervisor has not acknowledged. A
// supervisor acknowledges an event after the state that follows from it is in the fd
// store; the others are sent again to the next supervisor.
type eventQueue struct {
	list    []event
	sent    int    // list[:sent] was sent to the present supervisor
	seq     uint64 // the last number
	orphans uint64 // children reaped that no item of the fd store follows
}

// event is an exit, a signal (sig > 0) or the answer to a Sync.
type event struct {
	seq   uint64
	exit  initproto.Exit
	sig   int
	count int
	stops int
	sync  bool
}

const (
	maxExits  = 100    // in one message, which keeps it below 30 KiB
	maxQueued = 100000 // events kept for supervisors that acknowledge nothing
)

func (q *eventQueue) addExit(e initproto.Exit) {
	q.seq++
	e.Seq = q.seq
	q.list = append(q.list, event{seq: q.seq, exit: e})
}

// addSignal merges a signal into an equal one that was not sent yet, so that a flood of
// signals needs no memory. Stop requests are a level, which Ready carries too.
func (q *eventQueue) addSignal(sig, stops int) {
	for k := q.sent; k < len(q.list); k++ {
		if e := &q.list[k]; e.sig == sig {
			e.count++
			e.stops = stops
			return
		}
	}
	if len(q.list) > maxQueued {
		return
	}
	q.seq++
	q.list = append(q.list, event{seq: q.seq, sig: sig, count: 1, stops: stops})
}

// addSync answers a Sync behind everything that happened before it.
func (q *eventQueue) addSync() {
	if n := len(q.list); n > maxQueued || n > q.sent && q.list[n-1].sync {
		return
	}
	q.seq++
	q.list = append(q.list, event{seq: q.seq, sync: true})
}

// ack drops the events up to seq.
func (q *eventQueue) ack(seq uint64) {
	n := 0
	for n < q.sent && q.list[n].seq <= seq {
		n++
	}
	q.list = q.list[n:]
	q.sent -= n
	if len(q.list) == 0 {
		q.list = nil
	}
}

// rewind makes every event be sent again, to a new supervisor.
func (q *eventQueue) rewind() { q.sent = 0 }

// stopAcked reports whether no stop request waits for an acknowledgement.
func (q *eventQueue) stopAcked() bool {
	for k := range q.list {
		if isStop(q.list[k].sig) {
			return false
		}
	}
	return true
}

// isStop reports whether a signal asks the container to stop.
func isStop(sig int) bool { return sig == int(syscall.SIGTERM) || sig == int(syscall.SIGINT) }

// next returns the next message, nil when everything is sent.
func (q *eventQueue) next() *initproto.Msg {
	if q.sent == len(q.list) {
		return nil
	}
	switch e := q.list[q.sent]; {
	case e.sync:
		q.sent++
		return &initproto.Msg{Type: initproto.Synced, Seq: e.seq}
	case e.sig > 0:
		q.sent++
		return &initproto.Msg{Type: initproto.Signal, Seq: e.seq, Signal: e.sig, Count: e.count, Stops: e.stops}
	}
	m := &initproto.Msg{Type: initproto.Exited, Orphans: q.orphans}
	for q.sent < len(q.list) && q.list[q.sent].exit.Pid > 0 && len(m.Exits) < maxExits {
		m.Exits = append(m.Exits, q.list[q.sent].exit)
		q.sent++
	}
	return m
}
