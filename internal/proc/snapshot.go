package proc

import (
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
)

// snapshotAge is how old a shared snapshot may be: a hundred services that stop together
// need one, not a hundred. An old one shows too much and never too little: a process that
// came later is the child of one that it shows.
const snapshotAge = 10 * time.Millisecond

// snapshot is the stat of processes, and the service that each belongs to.
type snapshot struct {
	m    *Manager
	at   int64 // before it was taken; CLOCK_BOOTTIME, ns
	lazy bool  // a process is read when it is asked for

	mu      sync.Mutex // guards what follows, in a shared snapshot
	stats   map[int]procfs.Stat
	changed bool             // a process ended meanwhile, and may have left a child that is missing here
	owners  map[int]*Process // as far as they were asked for; nil: of no service
	owned   map[*Process][]int
	pipes   map[string]*Process // the log pipes of all services
}

// lazySnapshot reads a process when it is asked for.
func (m *Manager) lazySnapshot() *snapshot {
	return &snapshot{m: m, at: initproto.BootNow(), lazy: true, stats: map[int]procfs.Stat{}, owners: map[int]*Process{}}
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

// members are the processes of p; changed says that one may be missing. The first call
// finds the owner of every process: when two thousand services stop, each reads its own
// few only.
func (t *snapshot) members(p *Process) (out map[int]procfs.Stat, changed bool) {
	cgroup := p.inCgroups()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owned == nil {
		t.m.tracked.pruneEscaped(t)
		t.owned = map[*Process][]int{}
		for pid := range t.stats {
			owner := t.owner(pid)
			t.owned[owner] = append(t.owned[owner], pid)
		}
	}
	out = map[int]procfs.Stat{}
	for _, pid := range t.owned[p] {
		out[pid] = t.stats[pid]
	}
	for pid := range cgroup {
		if t.contains(p, pid, cgroup) {
			out[pid] = t.stats[pid]
		}
	}
	return out, t.changed
}

// snapshots takes and shares snapshots, one at a time.
type snapshots struct {
	mu    sync.Mutex
	last  *snapshot
	count int
}

// snapshotSince returns a snapshot that is not older than a time and, at the call, than
// snapshotAge. Those who call while one is taken share the next.
func (m *Manager) snapshotSince(ns int64) *snapshot {
	return m.snapshotFrom(max(ns, initproto.BootNow()-int64(snapshotAge)))
}

// snapshotFrom returns a snapshot that is not older than a time.
func (m *Manager) snapshotFrom(ns int64) *snapshot {
	t := &m.snapshots
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || t.last.at < ns {
		t.count++
		next := m.lazySnapshot()
		all := procfs.TakeSnapshot()
		next.lazy, next.stats, next.changed = false, all.Stats, all.Changed
		t.last = next
	}
	return t.last
}
