package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// adopt takes over the processes of an earlier supervisor. Of those that it was about to
// start only the intent is known.
func (m *Manager) adopt(items, events []*initproto.Msg, rest fdstore.Items) ([]*Process, error) {
	m.unclaimed = []initproto.Exit{}
	var all, intents []*Process
	for _, it := range items {
		p, ok := m.adoptRecord(it)
		switch {
		case !ok:
		case p.rec.Done:
			p.removeAtEnd()
		case p.rec.Pid == 0:
			intents = append(intents, p)
		default:
			all = append(all, p)
		}
	}
	m.adoptTerminals(rest)
	events, err := m.takePipes(events)
	if err != nil {
		return nil, err
	}
	for _, msg := range events {
		m.handle(msg)
	}
	slices.SortFunc(intents, func(a, b *Process) int { return int(min(max(a.rec.Time-b.rec.Time, -1), 1)) })
	for _, p := range intents {
		started, err := m.resolveIntent(p)
		if err != nil {
			return nil, err
		}
		if started {
			all = append(all, p)
		}
	}
	for _, x := range m.unclaimed {
		m.ack(x.Seq)
	}
	m.unclaimed = nil
	return all, nil
}

// takePipes begins to read the pipes, after the init has ended to discard what is in them.
// It returns the other events.
func (m *Manager) takePipes(events []*initproto.Msg) ([]*initproto.Msg, error) {
	if err := m.sync(func(msg *initproto.Msg) { events = append(events, msg) }); err != nil {
		return nil, err
	}
	isLost := func(msg *initproto.Msg) bool { return msg.Type == initproto.Lost }
	for _, msg := range events {
		if isLost(msg) {
			m.handle(msg)
		}
	}
	m.step("taking")
	for _, p := range m.procs {
		p.capture.Run()
	}
	return slices.DeleteFunc(events, isLost), nil
}

// adoptRecord makes the process of a record and opens its pipes.
func (m *Manager) adoptRecord(it *initproto.Msg) (*Process, bool) {
	p := m.newProcess(new(record))
	if err := json.Unmarshal(it.Body, p.rec); err != nil {
		m.warn(fmt.Sprintf("cannot read what was kept of %s: %v; it runs on unsupervised", it.Name, err))
		return nil, false
	}
	m.adoptCapture(p, it.Fds)
	m.procs[p.rec.ID] = p
	switch {
	case p.rec.Done && p.capture.Ended():
		m.remove(p)
		return nil, false
	case p.rec.Done || p.rec.Pid == 0:
	case p.rec.Exit != nil: // acknowledged; its group may live
		p.rec.Exit.Seq = 0
		close(p.exited)
	default:
		m.pids[p.rec.Pid] = append(m.pids[p.rec.Pid], p)
	}
	if p.rec.Pid != 0 && !p.rec.Done {
		m.tracked.add(p)
	}
	return p, true
}

// adoptCapture opens the pipes of a process. They are read even where its log is gone, or the
// process would wait in its write for ever.
func (m *Manager) adoptCapture(p *Process, fds []int) {
	if len(fds) == 0 {
		return
	}
	l := m.Logs.Get(p.rec.Log)
	if p.rec.OwnLog != nil {
		l = m.Logs.OnDemand(p.rec.ID, *p.rec.OwnLog)
	}
	if l == nil { // its log was a temporary one, or could not even be replaced
		var err error
		if l, err = logs.NewTemporary(p.rec.Log); err != nil {
			m.warn(fmt.Sprintf("cannot read the output of %s, which waits when its pipe is full: %v", p.rec.ID, err))
			return
		}
	}
	if capture, err := logs.OpenCapture(l, fds); err == nil {
		p.capture = capture
		if p.rec.Done && p.rec.OwnLog != nil {
			capture.RetireLog()
		}
	}
}

// execTimeout is how long a child may take between clone and exec before it is killed. It
// depends on nothing but the file system that its program is on.
const execTimeout = 10 * time.Second

// resolveIntent finds out whether an intent led to a process. The earlier supervisor is dead
// with all its threads, so no child can come any more; one that came is an untracked child
// of the init and not older than the intent.
func (m *Manager) resolveIntent(p *Process) (started bool, err error) {
	deadline := time.Now().Add(execTimeout)
	pid, living, executed := m.findLiving(p)
	for ; pid != 0 && !executed; pid, living, executed = m.findLiving(p) {
		if time.Now().After(deadline) {
			m.warn(fmt.Sprintf("pid %d did not become %s within %v; killing it", pid, p.rec.Path, execTimeout))
			unix.Kill(pid, unix.SIGKILL)
			deadline = time.Now().Add(execTimeout)
		}
		unix.Poll(nil, 1)
	}
	if err := m.sync(m.handle); err != nil { // after the init's answer every earlier exit is known
		return false, err
	}
	k, score := m.findDead(p)
	if pid != 0 && (score < leaderScore || isOlder(pid, living, m.unclaimed[k].Pid, *m.unclaimed[k].Stat)) {
		m.pids[pid] = append(m.pids[pid], p)
		m.claim(p, pid, living.Start)
		return true, m.putRecord(p.rec, false, nil)
	}
	if score == 0 || m.unclaimed[k].Stat.Comm == ownComm() && m.unclaimed[k].WaitStatus().ExitStatus() == execFailed {
		p.abandonStreams()
		m.remove(p)
		return false, nil
	}
	x := m.unclaimed[k]
	m.unclaimed = slices.Delete(m.unclaimed, k, k+1)
	m.claim(p, x.Pid, x.Stat.Start)
	p.ended(x)
	return true, m.putRecord(p.rec, false, nil)
}

// claim makes a child of the init the process of an intent.
func (m *Manager) claim(p *Process, pid int, start uint64) {
	p.rec.Pid, p.rec.Start = pid, start
	m.tracked.add(p)
}

// sync waits until the init has sent every exit up to now, and passes what comes to take.
func (m *Manager) sync(take func(*initproto.Msg)) error {
	m.send(&initproto.Msg{Type: initproto.Sync})
	for {
		select {
		case msg := <-m.msgs:
			if take(msg); msg.Type == initproto.Synced {
				return nil
			}
		case <-m.gone:
			return errors.New("cannot adopt the running processes: the init is gone")
		}
	}
}

// execFailed is the exit code of a Go child whose execve failed.
const execFailed = 253

// ownComm is the name of a child until it executes its program.
func ownComm() string {
	comm, err := procfs.Comm(os.Getpid())
	if err != nil {
		return "stoker"
	}
	return comm
}

// leaderScore is the score of an exit of a group leader with the program's name.
const leaderScore = 2

// findLiving looks for the child of an intent among the init's children: by its command line
// until it executes its program, then by its cookie, by its log pipe if it has cleared its
// environment, or by its name if neither can be read. Its own children have these too: the
// oldest is meant. pid is 0 for none.
func (m *Manager) findLiving(p *Process) (pid int, found procfs.Stat, executed bool) {
	byCookie := false
	for other, b := range procfs.TakeSnapshot().Stats {
		if b.Parent != m.init.Pid || other == os.Getpid() || !b.Alive() || b.Start < procfs.Ticks(p.rec.Time) || m.tracked.find(other, b) != nil {
			continue
		}
		args, _ := procfs.Cmdline(other)
		if slices.Equal(args, os.Args) || slices.Equal(args, execshim.Args(p.rec.ID)) {
			return other, b, false
		}
		if b.Pgrp != other || (b.Session == other) == p.rec.Group {
			continue
		}
		cookie, err := cookieOf(other)
		id, ours := strings.CutSuffix(cookie, m.cookieSuffix)
		if ours && id != p.rec.ID || !ours && byCookie {
			continue
		}
		unreadable := errors.Is(err, fs.ErrPermission) && b.Comm == p.rec.comm()
		if !ours && !unreadable {
			if owner, _ := writesTo(other, logPipes(p)); owner == nil {
				continue
			}
		}
		if pid == 0 || ours && !byCookie || isOlder(other, b, pid, found) {
			pid, found, byCookie = other, b, ours
		}
	}
	return pid, found, true
}

// comm is the name that the kernel gives the process.
func (r *record) comm() string {
	name := filepath.Base(r.Path)
	return name[:min(len(name), 15)]
}

// isOlder says whether a process started before another.
func isOlder(pid int, s procfs.Stat, otherPid int, other procfs.Stat) bool {
	return s.Start < other.Start || s.Start == other.Start && pid < otherPid
}

// findDead looks for the child of an intent among the unclaimed exits. The score is 0 for
// none, and leaderScore at best.
func (m *Manager) findDead(p *Process) (best, score int) {
	for k, x := range m.unclaimed {
		b := x.Stat
		if b == nil || x.At < p.rec.Time || b.Start < procfs.Ticks(p.rec.Time) || b.Parent != m.init.Pid {
			continue
		}
		s := 1
		switch {
		case b.Comm == p.rec.comm() && b.Pgrp == x.Pid:
			s = leaderScore
		case b.Comm != ownComm():
			s = 0 // an orphan: the child leads its group, or still has our own name
		}
		if s > score {
			best, score = k, s
		}
	}
	return best, score
}
