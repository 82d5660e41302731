package pid1

import (
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
)

// eventQueue holds the exits and signals that the supervisor has not acknowledged, which it
// does after what follows from them is in the fd store. The next supervisor gets them again.
type eventQueue struct {
	list    []event
	sent    int    // list[:sent] was sent to the present supervisor; 0 sends all again
	seq     uint64 // the last number
	orphans uint64 // children reaped that no item of the fd store follows
}

// event is an exit, or the message about a signal or a Sync.
type event struct {
	seq  uint64
	exit initproto.Exit
	msg  *initproto.Msg // nil: an exit
}

const (
	maxExits  = 100    // in one message, which keeps it below 30 KiB
	maxQueued = 100000 // events kept for supervisors that acknowledge nothing
)

// add numbers an event.
func (q *eventQueue) add(e event) {
	q.seq++
	e.seq, e.exit.Seq = q.seq, q.seq
	if e.msg != nil {
		e.msg.Seq = q.seq
	}
	q.list = append(q.list, e)
}

// addSignal merges a signal into an equal one that was not sent yet, so that a flood of
// signals needs no memory. Stop requests are a level, which Ready carries too.
func (q *eventQueue) addSignal(sig, stops int) {
	for _, e := range q.list[q.sent:] {
		if e.msg != nil && e.msg.Signal == sig {
			e.msg.Count++
			e.msg.Stops = stops
			return
		}
	}
	if len(q.list) <= maxQueued {
		q.add(event{msg: &initproto.Msg{Type: initproto.Signal, Signal: sig, Count: 1, Stops: stops}})
	}
}

// addSync answers a Sync behind everything that happened before it.
func (q *eventQueue) addSync() {
	n := len(q.list)
	if last := n - 1; n > q.sent && q.list[last].msg != nil && q.list[last].msg.Type == initproto.Synced {
		return
	}
	if n <= maxQueued {
		q.add(event{msg: &initproto.Msg{Type: initproto.Synced}})
	}
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

// stopAcked reports whether no stop request waits for an acknowledgement.
func (q *eventQueue) stopAcked() bool {
	for k := range q.list {
		if m := q.list[k].msg; m != nil && isStop(m.Signal) {
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
	if m := q.list[q.sent].msg; m != nil {
		q.sent++
		return m
	}
	m := &initproto.Msg{Type: initproto.Exited, Orphans: q.orphans}
	for q.sent < len(q.list) && q.list[q.sent].msg == nil && len(m.Exits) < maxExits {
		m.Exits = append(m.Exits, q.list[q.sent].exit)
		q.sent++
	}
	return m
}
