package proc

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
)

// snapshotAge is how old a shared snapshot may be: a hundred services that stop together
// need one, not a hundred. An old one shows too much and never too little: a process that
// came later is the child of one that it shows.
const snapshotAge = 10 * time.Millisecond

// snapshot is the stat of every visible process.
type snapshot struct {
	at      int64 // before it was taken; CLOCK_BOOTTIME, ns
	stats   map[int]procfs.Stat
	changed bool // a process ended while it was taken, and may have left a child behind
	lazy    bool // a process is read when it is asked for

	assigned sync.Once // guards what follows
	owned    map[*Process][]int
	unowned  []int // processes whose owner the snapshot alone does not show
}

// stat is the stat of a process; false: it is not in the snapshot.
func (t *snapshot) stat(pid int) (procfs.Stat, bool) {
	s, ok := t.stats[pid]
	if ok || !t.lazy {
		return s, ok
	}
	s, err := procfs.ReadStat(pid)
	if err == nil {
		t.stats[pid] = s
	}
	return s, err == nil
}

// snapshots takes and shares snapshots, one at a time.
type snapshots struct {
	mu    sync.Mutex
	last  *snapshot
	count int
}

// since returns a snapshot that is not older than a time and, at the call, than
// snapshotAge. Those who call while one is taken share the next.
func (t *snapshots) since(ns int64) *snapshot {
	return t.from(max(ns, initproto.BootNow()-int64(snapshotAge)))
}

// from returns a snapshot that is not older than a time.
func (t *snapshots) from(ns int64) *snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || t.last.at < ns {
		t.count++
		at := initproto.BootNow()
		all := procfs.TakeSnapshot()
		t.last = &snapshot{at: at, stats: all.Stats, changed: all.Changed}
	}
	return t.last
}

// candidates are the processes that may be members of p: all but those that are certainly
// of another. When two thousand services stop, each examines its own few only.
func (t *snapshot) candidates(p *Process) []int {
	t.assigned.Do(func() { t.assignOwners(p.m) })
	return slices.Concat(t.owned[p], t.unowned)
}

// assignOwners finds the owner of each process as membership.decide does, as far as that
// is the same for every service.
func (t *snapshot) assignOwners(m *Manager) {
	t.owned = map[*Process][]int{}
	known := map[int]*Process{}
	var owner func(pid int) *Process
	owner = func(pid int) *Process {
		if p, done := known[pid]; done {
			return p
		}
		known[pid] = nil // parents of a snapshot that changed while it was taken may form a loop
		s, ok := t.stats[pid]
		if !ok {
			return nil
		}
		p := m.tracked.find(pid, s)
		for _, id := range [2]int{s.Pgrp, s.Session} {
			if p == nil && id != 0 {
				p = m.tracked.lookup(id)
			}
		}
		if p == nil && s.Parent != m.initPid && s.Parent != os.Getpid() {
			p = owner(s.Parent)
		}
		known[pid] = p
		return p
	}
	for pid := range t.stats {
		if p := owner(pid); p != nil {
			t.owned[p] = append(t.owned[p], pid)
		} else {
			t.unowned = append(t.unowned, pid)
		}
	}
}
