package proc

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
)

// snapshotAge is how old a table may be. A hundred services that stop together
// need one, not a hundred. An old one shows too much and never too little: a
// process that came since is the child of one that it shows.
const snapshotAge = 10 * time.Millisecond

// snapshot is every process that can be seen, at one moment.
type snapshot struct {
	at      int64 // before it was made; CLOCK_BOOTTIME, ns
	stats   map[int]procfs.Stat
	changed bool // somebody ended while it was made, and may have left a child behind
	lazy    bool // a process is read when it is asked for, and not before

	assigned sync.Once // guards what follows
	owned    map[*Process][]int
	unowned  []int // those of which nothing in the table says whose they are
}

// stat is what the table has of a process.
func (t *snapshot) stat(pid int) (b procfs.Stat, there bool) {
	b, there = t.stats[pid]
	if there || !t.lazy {
		return b, there
	}
	b, err := procfs.ReadStat(pid)
	if err == nil {
		t.stats[pid] = b
	}
	return b, err == nil
}

// snapshots makes them, one at a time.
type snapshots struct {
	mu    sync.Mutex
	last  *snapshot
	count int // so many
}

// since gives a table that is not older than a time, nor by more than tableAge than the
// call. Where making one takes longer than that, those who call meanwhile share the next.
func (t *snapshots) since(ns int64) *snapshot {
	return t.from(max(ns, initproto.BootNow()-int64(snapshotAge)))
}

// from gives a table that is not older than a time.
func (t *snapshots) from(need int64) *snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || t.last.at < need {
		t.count++
		at := initproto.BootNow()
		all := procfs.TakeSnapshot()
		t.last = &snapshot{at: at, stats: all.Stats, changed: all.Changed}
	}
	return t.last
}

// candidates are the processes that may be p's: all but those that are certainly
// another's. Where two thousand services stop, each looks at its own few only.
func (t *snapshot) candidates(p *Process) []int {
	t.assigned.Do(func() { t.assignOwners(p.m) })
	return slices.Concat(t.owned[p], t.unowned)
}

// assignOwners finds the owner of each process as decide does, as far as that is the same for
// whoever asks.
func (t *snapshot) assignOwners(m *Manager) {
	t.owned = map[*Process][]int{}
	known := map[int]*Process{}
	var owner func(pid int) *Process
	owner = func(pid int) *Process {
		if p, done := known[pid]; done {
			return p
		}
		known[pid] = nil // a table that changed while it was read may have loops
		b, there := t.stats[pid]
		if !there {
			return nil
		}
		p := m.tracked.find(pid, b)
		for _, number := range [2]int{b.Pgrp, b.Session} {
			if p == nil && number != 0 {
				p = m.tracked.lookup(number)
			}
		}
		if p == nil && b.Parent != m.initPid && b.Parent != os.Getpid() {
			p = owner(b.Parent)
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

// asUser calls look, and where that is not permitted calls it again with the rights of
// the process: root in a default container lacks CAP_SYS_PTRACE and may not look into
// another user's process. It is for what the kernel shows in /proc alone: at places that
// the process can choose, asuser.Identity.Do comes first.
func asUser(pid int, look func() error) error {
	err := look()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	id, idErr := asuser.Of(pid)
	if idErr != nil {
		return err
	}
	return id.Do(look)
}

// AsUser calls look, and where that is not permitted calls it again with the rights of
// the process.
func (p *Process) AsUser(look func() error) error { return asUser(p.Pid(), look) }

// cookieOf reads the cookie in a process's environment; empty: it has none.
func cookieOf(pid int) (cookie string, err error) {
	err = asUser(pid, func() error {
		environ, err := procfs.Environ(pid)
		for _, kv := range environ {
			if value, ok := strings.CutPrefix(kv, CookieVar+"="); ok {
				cookie = value
			}
		}
		return err
	})
	return cookie, err
}
