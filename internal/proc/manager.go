// Package proc starts and signals processes. A Manager starts them as children of the init
// (clone with CLONE_PARENT), receives their exits from it and adopts those of an earlier
// supervisor; a Process is signalled together with the members of its service, wherever
// they have gone. It is the only package that starts processes. It reaps none, which the
// init does, and decides nothing about restarts.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/procfs"
)

// Signal is a signal that reached the container. Ack must be called once the state that
// follows from it is in the fd store; until then a new supervisor gets it again.
type Signal struct {
	Signal syscall.Signal
	Count  int // how often, merged
	Stop   int // stop requests (TERM, INT) so far
	Ack    func()
}

// Options adjust a Manager. The zero value is right outside of tests.
type Options struct {
	// Deny switches kernel features off, to force the fallbacks.
	Deny Features
	// Warn gets what the operator should know, such as a fallback in use.
	Warn func(msg string)
	// Sinks are the container's stdout and stderr; nil: descriptors 1 and 2.
	Sinks *[2]*logs.Sink
	// OOMRaise returns by how much the OOM score adjustment of what is started exceeds
	// stoker's. It is called once; nil: not at all.
	OOMRaise func() int
	// at is called between the steps of a start, for tests that die there.
	at func(step string)
}

// Manager starts processes and receives their exits. One goroutine, the loop, does both,
// so an exit never comes before the pid that it belongs to is known.
type Manager struct {
	Logs      *logs.Registry // of captured output
	Listeners *listen.Set    // sockets that are kept open for services

	conn         *initproto.Conn
	init         Init
	cookieSuffix string // the second part of the cookies
	opts         Options
	store        *fdstore.Store

	requests chan func() // to the loop
	signals  chan Signal
	msgs     chan *initproto.Msg
	gone     chan struct{} // closed when the init is gone
	loopEnd  chan struct{} // closed when the loop has ended

	// Of the loop alone:
	pids       map[int][]*Process  // not exited, in the order of their start
	procs      map[string]*Process // by ID, until their item is deleted
	pending    []uint64            // event numbers not acknowledged, ascending
	acked      map[uint64]bool     // of pending, done out of order
	stopping   bool
	lastSignal syscall.Signal   // to every process when the init is gone
	unclaimed  []initproto.Exit // while adopting: exits of unknown processes
	oomScores  func() (own, child []byte)
	onShortage func(error) // nil: not wanted, or a start has succeeded

	parentChecked bool // by checkParent
	ownChildren   bool // the init cannot reap, so the supervisor does

	orphans   atomic.Uint64
	tracked   tracked
	snapshots snapshots
	warnOwner sync.Once // that output cannot be given to its user
}

// Recovered is what the fd store held when the supervisor started.
type Recovered struct {
	Starts        int        // which supervisor of this container this is, from 1
	Stop          int        // stop requests so far
	fdstore.Items            // without those of this package
	Processes     []*Process // adopted, running or ended
}

// TakeProcesses takes the processes out of Processes whose ID begins with prefix, and returns them by their ID.
func (r *Recovered) TakeProcesses(prefix string) map[string]*Process {
	taken := map[string]*Process{}
	r.Processes = slices.DeleteFunc(r.Processes, func(p *Process) bool {
		ours := strings.HasPrefix(p.ID(), prefix)
		if ours {
			taken[p.ID()] = p
		}
		return ours
	})
	return taken
}

// Connect greets the init on its socket, and adopts what an earlier supervisor left.
// Nothing can be started before it returns.
func Connect(fd int, opts Options) (*Manager, *Recovered, error) {
	conn, err := initproto.NewConn(fd)
	if err != nil {
		return nil, nil, err
	}
	m := &Manager{conn: conn, opts: opts, requests: make(chan func()), signals: make(chan Signal, 64),
		msgs: make(chan *initproto.Msg, 64), gone: make(chan struct{}), loopEnd: make(chan struct{}),
		lastSignal: syscall.SIGTERM, pids: map[int][]*Process{},
		acked: map[uint64]bool{}, procs: map[string]*Process{}, tracked: newTracked()}
	m.oomScores = sync.OnceValues(m.opts.readOOMScores)
	m.store = fdstore.New(conn.Send)
	m.Logs = logs.NewRegistry(logs.Config{Sinks: opts.Sinks, Store: m.store, Warn: m.warn,
		Reserve: headroom.DescriptorsFor, Explain: withLimitHint, NoSplice: opts.Deny.Splice})
	if err := conn.Send(&initproto.Msg{Type: initproto.Hello, Version: initproto.Version, Pid: os.Getpid()}); err != nil {
		return nil, nil, err
	}
	go m.receive() // ends when the init is gone
	// All threads before the first child, which may use up the pids, and while the init
	// answers.
	threads := make(chan struct{})
	go func() { // ends when they are made
		headroom.SpareThreads(headroom.SupervisorThreads)
		close(threads)
	}()
	rec, err := m.recover()
	<-threads
	if err != nil {
		return nil, nil, err
	}
	go m.loop() // ends when the init is gone
	return m, rec, nil
}

// receive hands the init's messages to the loop.
func (m *Manager) receive() {
	for {
		msg, err := m.conn.Recv()
		if err != nil {
			close(m.gone)
			return
		}
		select {
		case m.msgs <- msg:
		case <-m.gone:
			return
		}
	}
}

// Pings keep the init's watchdog quiet; see watchdogLimits in internal/pid1.
const (
	pingIdle     = 30 * time.Second
	pingStopping = 250 * time.Millisecond
)

// loop owns the processes until the init is gone.
func (m *Manager) loop() {
	defer close(m.loopEnd)
	ping := time.NewTimer(pingIdle)
	for {
		select {
		case msg := <-m.msgs:
			m.handle(msg)
		case f := <-m.requests:
			f()
		case <-ping.C:
			m.send(&initproto.Msg{Type: initproto.Ping})
		case <-m.gone:
			m.initGone()
			return
		}
		every := pingIdle
		if m.stopping {
			every = pingStopping
		}
		ping.Reset(every)
	}
}

// do runs f in the loop and waits for it. False: the init is gone.
func (m *Manager) do(f func()) bool {
	done := make(chan struct{})
	select {
	case m.requests <- func() { f(); close(done) }:
		<-done
		return true
	case <-m.gone:
		return false
	}
}

// send sends a message to the init. An error means that the init is gone, which the loop
// notices by itself.
func (m *Manager) send(msg *initproto.Msg) { m.conn.Send(msg) }

func (m *Manager) handle(msg *initproto.Msg) {
	switch msg.Type {
	case initproto.Check:
		m.send(&initproto.Msg{Type: initproto.Ping})
	case initproto.Exited:
		m.orphans.Store(msg.Orphans)
		for _, x := range msg.Exits {
			m.exited(x)
		}
	case initproto.Signal:
		m.pending = append(m.pending, msg.Seq)
		m.stopping = m.stopping || msg.Stops > 0
		s := Signal{Signal: syscall.Signal(msg.Signal), Count: msg.Count, Stop: msg.Stops,
			Ack: func() { m.do(func() { m.ack(msg.Seq) }) }}
		m.deliver(s, msg.Seq)
	case initproto.Synced:
		m.pending = append(m.pending, msg.Seq)
		m.ack(msg.Seq)
	case initproto.Lost:
		if p := m.procs[strings.TrimPrefix(msg.Name, procPrefix)]; p != nil {
			p.outputLost(msg)
		}
	}
}

// deliver passes a signal on. The loop must not block when the channel is full: the oldest
// is dropped then, but never the latest stop, which counts those before it.
func (m *Manager) deliver(s Signal, seq uint64) {
	for {
		select {
		case m.signals <- s:
			return
		default:
		}
		if s.Stop == 0 {
			m.ack(seq)
			return
		}
		select {
		case old := <-m.signals:
			go old.Ack() // ends with the request to this loop
		default:
		}
	}
}

// exited assigns an exit to its process. A pid is given out again only after its exit was
// reaped, so exits of one pid come in the order of the starts; an exit that was reaped
// before a start began is of another process.
func (m *Manager) exited(x initproto.Exit) {
	if x.Seq > 0 { // 0: the supervisor has reaped it itself
		m.pending = append(m.pending, x.Seq)
	}
	list := m.pids[x.Pid]
	if len(list) == 0 || x.At < list[0].rec.Time {
		if m.unclaimed != nil {
			m.unclaimed = append(m.unclaimed, x)
			return // an open intent may claim it
		}
		m.ack(x.Seq)
		return
	}
	p := list[0]
	if m.pids[x.Pid] = list[1:]; len(list) == 1 {
		delete(m.pids, x.Pid)
	}
	p.ended(x)
}

// ack tells the init that what follows from an event is in the fd store. The protocol knows
// only "up to", so an event that is done early waits for those before it.
func (m *Manager) ack(seq uint64) {
	if seq == 0 {
		return
	}
	m.acked[seq] = true
	upTo := uint64(0)
	for len(m.pending) > 0 && m.acked[m.pending[0]] {
		upTo = m.pending[0]
		delete(m.acked, upTo)
		m.pending = m.pending[1:]
	}
	if upTo > 0 {
		m.send(&initproto.Msg{Type: initproto.Ack, Seq: upTo})
	}
}

// initGone ends every process: without the init none is reaped. It happens only outside of
// a PID namespace of stoker's own, where the kernel does not do it.
func (m *Manager) initGone() {
	for _, list := range m.pids {
		for _, p := range list {
			p.SignalGroup(m.lastSignal)
		}
	}
	for _, list := range m.pids {
		for _, p := range list {
			p.ended(initproto.Exit{Pid: p.rec.Pid, Status: uint32(syscall.SIGKILL), At: initproto.BootNow()})
		}
	}
}

// FDStore keeps what the next supervisor gets back.
func (m *Manager) FDStore() *fdstore.Store { return m.store }

// Signals delivers the signals that reach the container.
func (m *Manager) Signals() <-chan Signal { return m.signals }

// Gone is closed when the init is gone.
func (m *Manager) Gone() <-chan struct{} { return m.gone }

// Adopted tells the init that this supervisor works: after a death from now on the next
// one is started at once.
func (m *Manager) Adopted() { m.send(&initproto.Msg{Type: initproto.Ping}) }

// Stopping makes the pings frequent; the init allows a second of silence.
func (m *Manager) Stopping() {
	m.do(func() {
		m.stopping = true
		m.send(&initproto.Msg{Type: initproto.Ping})
	})
}

// KillWhenGone has the processes killed when the init is gone, instead of terminated: what
// they do is of no use then.
func (m *Manager) KillWhenGone() { m.do(func() { m.lastSignal = syscall.SIGKILL }) }

// Final ends the container with code. What is left gets TERM and, after
// grace, KILL. If the init is gone, it returns when every process has its last signal.
func (m *Manager) Final(code int, grace time.Duration) {
	m.send(&initproto.Msg{Type: initproto.Final, Code: code, Grace: int64(grace)})
	select {
	case <-m.gone:
		<-m.loopEnd
	default:
	}
}

// Orphans is the number of orphaned processes that the init has reaped.
func (m *Manager) Orphans() uint64 { return m.orphans.Load() }

// recover reads the replay up to Ready, and adopts the processes.
func (m *Manager) recover() (*Recovered, error) {
	rec := &Recovered{Items: fdstore.NewItems()}
	var records, events []*initproto.Msg
	deadline := time.After(10 * time.Second)
	for ready := false; !ready; {
		select {
		case msg := <-m.msgs:
			switch msg.Type {
			case initproto.Welcome:
				rec.Stop, rec.Starts = msg.Stops, msg.Starts
				m.orphans.Store(msg.Orphans)
				m.stopping = msg.Stops > 0
				m.store.SetLimit(msg.MaxFds)
				m.noteWelcome(msg)
				s, _ := procfs.ReadStat(m.init.Pid) // without /proc no member can be found anyway
				m.cookieSuffix = fmt.Sprintf("@%d.%d", m.init.Pid, s.Start)
			case initproto.Put:
				m.store.Replayed(msg)
				if strings.HasPrefix(msg.Name, procPrefix) {
					records = append(records, msg)
				} else {
					rec.Add(msg.Name, msg.Body, msg.Fds)
				}
			case initproto.Ready:
				rec.Stop, ready = msg.Stops, true
			default:
				events = append(events, msg)
			}
		case <-m.gone:
			return nil, errors.New("cannot start the supervisor: the init is gone")
		case <-deadline:
			return nil, errors.New("cannot start the supervisor: the init does not answer within 10s")
		}
	}
	m.Logs.Adopt(rec.Items)
	m.Listeners = listen.New(m.store, rec.Items, m.addressHolder)
	var err error
	rec.Processes, err = m.adopt(records, events, rec.Items)
	return rec, err
}

// putRecord keeps the record of a process in the fd store.
func (m *Manager) putRecord(r *record, open bool, pipes []int) error {
	child := fdstore.Process{Pid: r.Pid, Intent: open}
	if r.Exit != nil {
		child.Pid = 0 // it has ended: the pid may be another process's by now
	}
	for k := range pipes {
		child.Pipes = append(child.Pipes, k)
	}
	return m.store.PutProcess(procPrefix+r.ID, r, child, pipes...)
}

// newProcess makes a process without a pid and without pipes.
func (m *Manager) newProcess(r *record) *Process {
	return &Process{m: m, rec: r, exited: make(chan struct{}), capture: &logs.Capture{}}
}

// remove drops a process that is done.
func (m *Manager) remove(p *Process) {
	delete(m.procs, p.rec.ID)
	m.store.Delete(procPrefix + p.rec.ID)
}

// Start starts a process. The error of a program that is missing or cannot be
// executed is a *StartError.
func (m *Manager) Start(ctx context.Context, spec Spec) (*Process, error) {
	var p *Process
	var err error
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !m.do(func() { p, err = m.start(spec) }) {
		return nil, errors.New("cannot start anything: the init is gone")
	}
	return p, err
}
