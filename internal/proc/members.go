package proc

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// CookieVar is the variable by which a process, and all that come of it, are
// known again wherever they went: ID@PID.START, the Spec's ID and the init that
// it is under. The second part keeps the processes of another stoker apart,
// which may have the same names and run within one of our services.
const CookieVar = "STOKER_PROCESS"

// tracked are the processes that are somebody's: each is the first of its own
// kin, whoever made it.
type tracked struct {
	mu             sync.Mutex
	byPid          map[int]*Process
	cookieSuffix   string // the second part of our cookies
	warnUnreadable sync.Once
}

func (t *tracked) add(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPid == nil {
		t.byPid = map[int]*Process{}
	}
	t.byPid[p.rec.Pid] = p
}

func (t *tracked) remove(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPid[p.rec.Pid] == p {
		delete(t.byPid, p.rec.Pid)
	}
}

// find is the tracked process of a number; b is who has the number now.
func (t *tracked) find(pid int, b procfs.Stat) *Process {
	p := t.lookup(pid)
	if p == nil || p.rec.Start != 0 && p.rec.Start != b.Start {
		return nil
	}
	return p
}

// lookup is the tracked process that has, or had, a number.
func (t *tracked) lookup(pid int) *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byPid[pid]
}

// runs says whether a number is that of a tracked process that has not ended.
func (t *tracked) runs(pid int) bool {
	p := t.lookup(pid)
	if p == nil {
		return false
	}
	_, ended := p.Exit()
	return !ended
}

// cookie is the value for a process.
func (m *Manager) cookie(id string) string {
	m.tracked.mu.Lock()
	defer m.tracked.mu.Unlock()
	if m.tracked.cookieSuffix == "" {
		b, _ := procfs.ReadStat(m.initPid) // without /proc there is nothing to be found anyway
		m.tracked.cookieSuffix = fmt.Sprintf("@%d.%d", m.initPid, b.Start)
	}
	return id + m.tracked.cookieSuffix
}

// environ is the environment of s, with its cookie and no other.
func (m *Manager) environ(s *Spec) []string {
	out := make([]string, 0, len(s.Env)+1)
	for _, kv := range s.Env {
		if !strings.HasPrefix(kv, CookieVar+"=") {
			out = append(out, kv)
		}
	}
	return append(out, CookieVar+"="+m.cookie(s.ID))
}

// Members lists the living processes of the service that p began, in order:
// those of its group and session, every descendant, and those that have left
// all of these and are known by the cookie, by the log pipe that they write to
// or by the cgroup of its own. Zombies are left out: nobody can end those, and
// they hold nothing. One that we may not signal is among them.
func (p *Process) Members() []int {
	return slices.Sorted(maps.Keys(p.members(0)))
}

// maxAttempts bounds how often we look anew at a scene that moves while we do: a
// process that ends in the middle may have handed on to one that we missed.
const maxAttempts = 5

// members are the Members, as a table shows them that was made after a time, less
// those that have ended since.
func (p *Process) members(after int64) map[int]procfs.Stat {
	for range maxAttempts {
		if p.isDone() {
			return nil
		}
		if !p.groupLives() {
			if roots, unsure := p.orphanedMembers(); len(roots) == 0 && !unsure {
				return nil
			}
		}
		c := p.membership(p.m.snapshots.since(max(after, p.rec.Time)))
		out := map[int]procfs.Stat{}
		for _, pid := range c.candidates() {
			b := c.snapshot.stats[pid]
			if !c.contains(pid) {
				continue
			}
			if now, err := procfs.ReadStat(pid); err == nil && now.Start == b.Start && now.Alive() {
				out[pid] = now
				if now.Pgrp != p.rec.Pid {
					p.rememberEscaped(pid, now.Start)
				}
			} else {
				c.incomplete = true
			}
		}
		if len(out) > 0 || !c.incomplete && !c.snapshot.changed {
			return out
		}
		after = initproto.BootNow()
	}
	return nil
}

// rememberEscaped keeps one that has left the group: when its parents are gone nothing may
// tell any more whose it is.
func (p *Process) rememberEscaped(pid int, start uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.escapees == nil {
		p.escapees = map[int]uint64{}
	}
	if len(p.escapees) < maxEscapees {
		p.escapees[pid] = start
	}
}

// maxEscapees bounds what is remembered of a service that makes daemons for ever.
const maxEscapees = 4096

// hasEscaped says whether a process is one of those.
func (p *Process) hasEscaped(pid int) bool {
	p.mu.Lock()
	start, known := p.escapees[pid]
	p.mu.Unlock()
	if !known {
		return false
	}
	b, err := procfs.ReadStat(pid)
	return err == nil && b.Start == start
}

func (p *Process) isDone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// groupLives says whether the leader runs or its group has a member, also one
// that is only a zombie.
func (p *Process) groupLives() bool {
	if _, ended := p.Exit(); !ended {
		return true
	}
	return !errors.Is(unix.Kill(-p.rec.Pid, 0), unix.ESRCH)
}

// orphanedMembers are the children of the init that nobody owns and that come from p.
// When the leader and the group are gone, whoever is left is one of them or comes
// of one, and mostly there is none: this is asked at each end of each service.
// unsure says that the list changed meanwhile.
func (p *Process) orphanedMembers() (roots map[int]procfs.Stat, unsure bool) {
	children, ok := procfs.Children(p.m.initPid)
	if !ok {
		children = procfs.Pids()
	} else if again, _ := procfs.Children(p.m.initPid); !slices.Equal(children, again) {
		unsure = true // and the kernel may have left some out
	}
	roots = map[int]procfs.Stat{}
	c := p.membership(nil)
	for pid := range c.cgroup {
		children = append(children, pid)
	}
	for _, pid := range children {
		if pid == p.m.initPid || pid == os.Getpid() || p.m.tracked.runs(pid) {
			continue
		}
		b, err := procfs.ReadStat(pid)
		switch {
		case err != nil || !b.Alive():
			unsure = true
		case b.Start < c.since || p.m.tracked.find(pid, b) != nil:
		case c.cgroup[pid] || b.Parent == p.m.initPid && c.marked(pid):
			roots[pid] = b
		}
	}
	return roots, unsure || c.incomplete
}

// startTicks is before, or in, the tick in which p started.
func (p *Process) startTicks() uint64 {
	if p.rec.Start != 0 {
		return p.rec.Start
	}
	return procfs.Ticks(p.rec.Time)
}

// signalEscaped sends sig to members of the service outside of the group.
func (p *Process) signalEscaped(sig syscall.Signal, strays map[int]procfs.Stat) error {
	result := ErrGone
	for pid, b := range strays {
		if err := p.m.features.signal(pid, b.Start, sig); err == nil || errors.Is(result, ErrGone) {
			result = err
		}
	}
	return result
}

// escaped are the members that a signal to the group does not reach.
func (p *Process) escaped(after int64) map[int]procfs.Stat {
	out := p.members(after)
	maps.DeleteFunc(out, func(_ int, b procfs.Stat) bool { return b.Pgrp == p.rec.Pid })
	return out
}

// maxRounds bounds a sweep: one who forks faster than we look is caught by the
// next KILL.
const maxRounds = 64

// freeze stops the members, until a look finds none that was not stopped before. One
// that is stopped cannot fork, keeps its place below a limit of pids, and tells whose
// its children are. One that is killed leaves its place to the child of another: so a
// fork bomb outlives every KILL.
//
// Each is stopped as soon as it is seen to be one: it takes processor time from us until
// then.
func (p *Process) freeze() {
	stopped := map[int]bool{}
	for fresh, round := true, 0; fresh && round < maxRounds; round++ {
		fresh = false
		_ = p.signalGroup(unix.SIGSTOP) // KILL ends what it does not reach
		c := p.membership(&snapshot{at: initproto.BootNow(), stats: map[int]procfs.Stat{}, lazy: true})
		for _, pid := range procfs.Pids() {
			if stopped[pid] || !c.contains(pid) {
				continue
			}
			b, _ := c.snapshot.stat(pid)
			stopped[pid], fresh = true, fresh || b.Alive()
			if b.Pgrp != p.rec.Pid {
				p.rememberEscaped(pid, b.Start)
				_ = p.m.features.signal(pid, b.Start, unix.SIGSTOP)
			}
		}
	}
}

// killEscaped kills the members outside of the group, and those that they make
// meanwhile, until a look finds none that was not killed. What hangs below one
// that dies becomes the init's child and is seen in the next round.
func (p *Process) killEscaped() error {
	result := ErrGone
	killed := map[int]uint64{}
	kill := func(who map[int]procfs.Stat) (fresh bool) {
		for pid, b := range who {
			if start, done := killed[pid]; done && start == b.Start {
				continue
			}
			killed[pid], fresh = b.Start, true
			if err := p.m.features.signal(pid, b.Start, unix.SIGKILL); err == nil || errors.Is(result, ErrGone) {
				result = err
			}
		}
		return fresh
	}
	for range maxRounds {
		if roots, unsure := p.orphanedMembers(); !kill(roots) && !unsure {
			break
		}
	}
	for range maxRounds {
		if !kill(p.escaped(initproto.BootNow())) {
			break
		}
	}
	return result
}

// signal sends sig to the process that has a number and a start time. The pidfd
// comes first: while we hold it, the look is at whom it stands for.
func (f *featureSet) signal(pid int, start uint64, sig syscall.Signal) error {
	fd := f.open(pid)
	if fd >= 0 {
		defer unix.Close(fd)
	}
	if b, err := procfs.ReadStat(pid); err != nil || b.Start != start {
		return ErrGone
	}
	if fd >= 0 {
		err := unix.PidfdSendSignal(fd, sig, nil, 0)
		if err == nil || !f.refusedPidfd(err) {
			return errGone(err)
		}
	}
	return errGone(unix.Kill(pid, sig))
}
