package pid1

import (
	"fmt"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/memory"
	"golang.org/x/sys/unix"
)

// disconnect closes the connection with the supervisor.
func (s *supervisorProc) disconnect() {
	if s.conn != nil {
		s.readable.Close()
		s.conn.Close()
		s.conn, s.readable = nil, nil
	}
}

// maxReceive is more than a socket's queue holds, and keeps a flood from holding up the rest.
const maxReceive = 1000

// receive handles everything that the supervisor has sent.
func (i *initState) receive() {
	for n := 0; i.supervisor.conn != nil && n < maxReceive; n++ {
		m, raw, err := i.supervisor.conn.TryRecv()
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			i.supervisor.disconnect()
			return
		}
		i.supervisor.noteAlive(time.Now())
		i.handle(m, raw)
	}
}

// releaseDelay is after the first supervisor's first Ping: its services then have had the
// processors to themselves.
const releaseDelay = 2 * time.Second

// handle acts on a message of the supervisor.
func (i *initState) handle(m *initproto.Msg, raw []byte) {
	s := &i.supervisor
	switch m.Type {
	case initproto.Hello:
		i.replay()
	case initproto.Put:
		i.started = i.started || m.Pid > 0 // an intent whose start fails is deleted again
		if err := i.store.Put(m, raw); err != nil {
			i.started = i.started || m.Intent
			i.logRefusal(m.Name, err)
		}
	case initproto.Del:
		i.store.Delete(m.Name)
	case initproto.Sync:
		i.syncAsked = true
		i.leavePipes()
	case initproto.Ack:
		i.events.ack(m.Seq)
		s.awaitAck = s.awaitAck && !i.events.stopAcked()
	case initproto.Ping:
		if !s.healthy && s.starts == 1 {
			time.AfterFunc(releaseDelay, memory.ReleaseStartup)
		}
		i.pinged(time.Now())
	case initproto.Upgrade:
		i.upgrade(m)
	case initproto.Final:
		switch {
		case s.onTrial && !s.healthy: // it refuses what its predecessor runs
			if s.exitBy.IsZero() {
				i.revertBinary(fmt.Sprintf("wanted to end the container with code %d before it had taken over", m.Code))
			}
		case i.killAll == nil:
			i.endContainer(m.Code, time.Duration(m.Grace))
		}
	default: // of a newer supervisor
		initproto.CloseAll(m.Fds)
	}
}

// pinged handles a Ping; the first one says that the supervisor has adopted everything.
func (i *initState) pinged(now time.Time) {
	s := &i.supervisor
	if !s.healthy {
		s.healthy, s.healthyAt, s.watchAt = true, now, now.Add(watchDelay)
		i.binaries.healthTicks = tickCounter{at: now}
		s.noteAlive(now)
	}
	i.leavePipes()
}

// leavePipes leaves the log pipes to the supervisor for as long as it lives.
func (i *initState) leavePipes() {
	i.supervisor.readsPipes = true
	i.store.StopDraining()
	i.reportLost()
}

// logRefusal logs that an item does not fit into the fd store, once for each supervisor.
func (i *initState) logRefusal(name string, err error) {
	if s := &i.supervisor; !s.refusalLogged {
		s.refusalLogged = true
		i.log.printf("cannot keep %q for supervisor (pid %d): %v; other items may be refused too", shorten(name), s.pid, err)
	}
}

// replay answers a new supervisor: the fd store, the events that are not acknowledged, the
// level of the stop request.
func (i *initState) replay() {
	i.store.StopDraining()
	if s := &i.supervisor; !s.hello {
		s.hello, s.helloAt = true, time.Now() // it has a moment to adopt before the init drains its pipes again
	}
	welcome := &initproto.Msg{Type: initproto.Welcome, Version: initproto.Version, Pid: os.Getpid(), Stops: i.stops,
		Starts: i.supervisor.starts, Orphans: i.events.orphans, MaxFds: i.store.MaxFds(), Binary: i.binaries.message(i.opts.Version)}
	i.out = append(i.out[:0], encode(welcome))
	for raw, fds := range i.store.Replay {
		i.out = append(i.out, packet{raw, fds})
	}
	i.reportLost()
	i.events.sent = 0
	for m := i.events.next(); m != nil; m = i.events.next() {
		i.out = append(i.out, encode(m))
	}
	i.out = append(i.out, encode(&initproto.Msg{Type: initproto.Ready, Stops: i.stops}))
}

// reportLost reports what was discarded from log pipes.
func (i *initState) reportLost() {
	for _, m := range i.store.LostReports() {
		i.out = append(i.out, encode(m))
	}
}

// flush sends what waits, as far as the supervisor's queue takes it.
func (i *initState) flush() {
	i.blocked = false
	if i.supervisor.conn == nil || !i.supervisor.hello {
		return
	}
	for {
		if len(i.out) == 0 {
			m := i.events.next()
			if m == nil {
				return
			}
			i.out = append(i.out, encode(m))
			i.supervisor.expectActivity(time.Now())
		}
		switch err := i.supervisor.conn.TrySend(i.out[0].data, i.out[0].fds); err {
		case nil:
			i.out = i.out[1:]
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.ETOOMANYREFS: // the last: descriptors in flight
			i.blocked = true
			return
		case unix.EBADF, unix.EINVAL, unix.EMSGSIZE: // this one can never be sent
			i.log.printf("cannot give an item of the fd store back: %v; the supervisor goes on without it", err)
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

// encode encodes one of the init's own messages. JSON refuses none of them; if it did, a
// message without a type, which is ignored, is better than an end of PID 1.
func encode(m *initproto.Msg) packet {
	data, err := initproto.Encode(m)
	if err != nil {
		data = []byte("{}\n")
	}
	return packet{data: data}
}
