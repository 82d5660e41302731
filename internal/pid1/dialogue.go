package pid1

import (
	"fmt"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// maxReceive is more messages than a socket's queue holds: everything that was
// sent before a look is read, and one that sends for ever holds nothing else up.
const maxReceive = 1000

// receive reads everything that the supervisor has sent.
func (i *initState) receive() {
	for n := 0; i.keeper.conn != nil && n < maxReceive; n++ {
		m, raw, err := i.keeper.conn.TryRecv()
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			i.keeper.conn.shut()
			i.keeper.conn = nil
			return
		}
		i.keeper.heard(time.Now())
		i.handle(m, raw)
	}
}

// handle obeys one message of the supervisor.
func (i *initState) handle(m *initproto.Msg, raw []byte) {
	switch m.Type {
	case initproto.Hello:
		i.replay()
	case initproto.Put:
		i.began = i.began || m.Pid > 0 // an intent that comes to nothing is taken back
		if err := i.bag.put(m, raw); err != nil {
			i.began = i.began || m.Open
			i.refused(m.Name, err)
		}
	case initproto.Del:
		i.bag.del(m.Name)
	case initproto.Sync:
		i.sync = true
		i.leavePipes()
	case initproto.Ack:
		i.events.ack(m.Seq)
		i.keeper.awaitAck = i.keeper.awaitAck && !i.events.stopAcked()
	case initproto.Ping:
		if !i.keeper.healthy && i.keeper.starts == 1 {
			time.AfterFunc(returnDelay, ReturnStartup)
		}
		i.healthy(time.Now())
	case initproto.Upgrade:
		i.upgrade(m)
	case initproto.Final:
		switch k := &i.keeper; {
		case k.trial && !k.healthy: // it refuses what its predecessor runs
			if k.leaveBy.IsZero() {
				i.fallBack(fmt.Sprintf("wanted to end the container with code %d before it had taken over", m.Code))
			}
		case i.sweep == nil:
			i.beginEnd(m.Code, time.Duration(m.Grace))
		}
	default: // of a newer supervisor
		initproto.CloseAll(m.Fds)
	}
}

// healthy takes a ping.
func (i *initState) healthy(now time.Time) {
	k := &i.keeper
	if !k.healthy {
		k.healthy, k.healthyAt, k.lookAt = true, now, now.Add(lookAfter)
		i.bins.good = ticks{at: now}
		k.heard(now)
	}
	i.leavePipes()
}

// leavePipes leaves the log pipes to the supervisor, for as long as it lives.
func (i *initState) leavePipes() {
	i.keeper.reads = true
	i.bag.stopDraining()
	i.tellLost()
}

// refused says that the bag has no room; a supervisor that goes on and on is told
// of once.
func (i *initState) refused(name string, err error) {
	if k := &i.keeper; !k.refused {
		k.refused = true
		i.log.printf("cannot keep %q for supervisor (pid %d): %v; nor may others be kept", cut(name), k.pid, err)
	}
}

// replay answers a new supervisor: the bag, what is not acknowledged, the level
// of the stop request.
func (i *initState) replay() {
	i.bag.stopDraining()
	if k := &i.keeper; !k.hello {
		k.hello, k.helloAt = true, time.Now() // it has a moment to adopt before we read its pipes again
	}
	welcome := &initproto.Msg{Type: initproto.Welcome, Version: initproto.Version, Pid: os.Getpid(), Stop: i.stop,
		Starts: i.keeper.starts, Orphans: i.events.orphans, Room: i.bag.maxFds, Binary: i.bins.tell(i.opts.Version)}
	i.out = append(i.out[:0], message(welcome))
	for _, name := range i.bag.order {
		it := i.bag.items[name]
		it.told = lost{}
		i.out = append(i.out, packet{it.raw, it.fds})
	}
	i.tellLost()
	i.events.rewind()
	for {
		m := i.events.next()
		if m == nil {
			break
		}
		i.out = append(i.out, message(m))
	}
	i.out = append(i.out, message(&initproto.Msg{Type: initproto.Ready, Stop: i.stop}))
}

// tellLost says what was discarded from log pipes, in totals for each item.
func (i *initState) tellLost() {
	for _, name := range i.bag.order {
		if it := i.bag.items[name]; *it.lost != it.told {
			it.told = *it.lost
			i.out = append(i.out, message(&initproto.Msg{Type: initproto.Lost, Name: name, Bytes: it.told.bytes, Lines: it.told.lines, Each: &it.told.each}))
		}
	}
}

// flush sends what waits, as far as the supervisor's queue takes it.
func (i *initState) flush() {
	i.blocked = false
	if i.keeper.conn == nil || !i.keeper.hello {
		return
	}
	for {
		if len(i.out) == 0 {
			m := i.events.next()
			if m == nil {
				return
			}
			i.out = append(i.out, message(m))
			i.keeper.owe(time.Now())
		}
		switch err := i.keeper.conn.TrySend(i.out[0].data, i.out[0].fds); err {
		case nil:
			i.out = i.out[1:]
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.ETOOMANYREFS: // the last: descriptors in flight
			i.blocked = true
			return
		case unix.EBADF, unix.EINVAL, unix.EMSGSIZE: // this one can never be sent
			i.log.printf("cannot give a bag item back: %v; the supervisor goes on without it", err)
			i.out = i.out[1:]
		default:
			return // the peer is dying; its exit will be seen
		}
	}
}

// packet is an encoded message.
type packet struct {
	data []byte
	fds  []int
}

// message encodes one of the init's own messages, which are small and have
// nothing in them that JSON refuses. If it did, a message of no type, which is
// ignored, is better than an end of PID 1.
func message(m *initproto.Msg) packet {
	data, err := initproto.Encode(m)
	if err != nil {
		data = []byte("{}\n")
	}
	return packet{data: data}
}
