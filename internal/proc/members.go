package proc

import (
	"errors"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Bounds of loops over processes that change meanwhile.
const (
	// maxAttempts bounds how often members are sought: a process that ends in the middle
	// may have left a child that was missed.
	maxAttempts = 5
	// maxRounds bounds the rounds of stopping or killing: what forks faster is left to the
	// next KILL.
	maxRounds = 64
)

// Members lists the living processes of the service that p began, in order: those of its
// group and session, every descendant, and those that have left all of these and are known
// by the cookie, by the log pipe that they write to or by their cgroup. Zombies are left
// out: they hold nothing. A process that stoker may not signal is among them.
//
// What was found once is known from then on, wherever it goes and whatever ends.
func (p *Process) Members() []int {
	return slices.Sorted(maps.Keys(p.members(0)))
}

// members returns the living members from a snapshot no older than after.
func (p *Process) members(after int64) map[int]procfs.Stat {
	for range maxAttempts {
		if p.done.Load() {
			return nil
		}
		if !p.groupLives() {
			if roots, incomplete := p.orphanedMembers(); len(roots) == 0 && !incomplete {
				return nil
			}
		}
		found, changed := p.m.snapshotSince(max(after, p.trackedAt)).members(p)
		out := map[int]procfs.Stat{}
		for pid, s := range found {
			now, err := procfs.ReadStat(pid)
			if err != nil || now.Start != s.Start || !now.Alive() {
				changed = true
				continue
			}
			out[pid] = now
			if pid != p.rec.Pid { // it may leave the group later
				p.m.tracked.addEscaped(pid, now, p)
			}
		}
		if len(out) > 0 || !changed {
			return out
		}
		after = initproto.BootNow()
	}
	return nil
}

// hasStart says whether the process with a pid is the one that started at a time; 0: unknown,
// any is.
func hasStart(pid int, start uint64) bool {
	s, err := procfs.ReadStat(pid)
	return err == nil && (start == 0 || s.Start == start)
}

// groupLives says whether the leader runs or its group has a member, even a zombie.
func (p *Process) groupLives() bool {
	if _, ended := p.Exit(); !ended {
		return true
	}
	return !errors.Is(unix.Kill(-p.rec.Pid, 0), unix.ESRCH)
}

// orphanedMembers are the untracked children of the init that come from p. When the leader
// and its group are gone, all members are among them or descend from them. Mostly there is
// none, which is cheap to see: each end of each service asks. incomplete says that the
// list changed meanwhile.
func (p *Process) orphanedMembers() (roots map[int]procfs.Stat, incomplete bool) {
	children, ok := procfs.Children(p.m.init.Pid)
	if !ok {
		children = procfs.Pids()
	} else if again, _ := procfs.Children(p.m.init.Pid); !slices.Equal(children, again) {
		incomplete = true // the kernel may have left some out
	}
	roots = map[int]procfs.Stat{}
	t, cgroup := p.m.lazySnapshot(), p.inCgroups()
	for _, pid := range slices.AppendSeq(children, maps.Keys(cgroup)) {
		if pid == p.m.init.Pid || pid == os.Getpid() || p.m.tracked.runs(pid) {
			continue
		}
		switch s, ok := t.stat(pid); {
		case !ok || !s.Alive():
			incomplete = true
		case t.contains(p, pid, cgroup) && p.m.tracked.find(pid, s) == nil:
			roots[pid] = s
		}
	}
	return roots, incomplete || t.changed
}

// startTicks is the tick in which p started, or one before it.
func (p *Process) startTicks() uint64 {
	if p.rec.Start != 0 {
		return p.rec.Start
	}
	return procfs.Ticks(p.rec.Time)
}

// escaped are the members that a signal to the group does not reach.
func (p *Process) escaped(after int64) map[int]procfs.Stat {
	out := p.members(after)
	maps.DeleteFunc(out, func(_ int, s procfs.Stat) bool { return s.Pgrp == p.rec.Pid })
	return out
}

// signalAll sends a signal to each of some processes. ErrGone says that none of them is
// there; another error, that none of them could be signalled.
func (p *Process) signalAll(sig syscall.Signal, pids map[int]procfs.Stat) error {
	result := ErrGone
	for pid, s := range pids {
		if err := p.m.signal(pid, s.Start, sig); err == nil || errors.Is(result, ErrGone) {
			result = err
		}
	}
	return result
}

// freeze stops the members until no running one is found. A stopped process cannot fork,
// keeps its place below a limit of pids, and shows whose its children are. A killed one
// leaves its place to the child of another: so a fork bomb outlives every KILL.
//
// Each is stopped as soon as it is found: until then it takes processor time from stoker.
func (p *Process) freeze() {
	stopped := map[int]bool{}
	for found, round := true, 0; found && round < maxRounds; round++ {
		found = false
		_ = p.signalGroup(unix.SIGSTOP) // KILL ends what it does not reach
		t, cgroup := p.m.lazySnapshot(), p.inCgroups()
		for _, pid := range procfs.Pids() {
			if stopped[pid] || !t.contains(p, pid, cgroup) {
				continue
			}
			s := t.stats[pid]
			stopped[pid], found = true, found || s.Alive()
			if s.Pgrp != p.rec.Pid {
				p.m.tracked.addEscaped(pid, s, p)
				_ = p.m.signal(pid, s.Start, unix.SIGSTOP)
			}
		}
	}
}

// killEscaped kills the members outside of the group, and those that they make meanwhile,
// until none is found that was not killed. The children of one that dies become the init's
// and are found in the next round.
func (p *Process) killEscaped() error {
	result := ErrGone
	killed := map[int]uint64{}
	kill := func(pids map[int]procfs.Stat) (found bool) {
		maps.DeleteFunc(pids, func(pid int, s procfs.Stat) bool { return killed[pid] == s.Start })
		for pid, s := range pids {
			killed[pid] = s.Start
		}
		if err := p.signalAll(unix.SIGKILL, pids); err == nil || errors.Is(result, ErrGone) {
			result = err
		}
		return len(pids) > 0
	}
	for range maxRounds {
		if roots, incomplete := p.orphanedMembers(); !kill(roots) && !incomplete {
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
