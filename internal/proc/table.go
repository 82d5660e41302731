package proc

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// tableAge is how old a table may be. A hundred services that stop together
// need one, not a hundred. An old one shows too much and never too little: a
// process that came since is the child of one that it shows.
const tableAge = 10 * time.Millisecond

// table is every process that can be seen, at one moment.
type table struct {
	at    int64 // before it was made; CLOCK_BOOTTIME, ns
	born  map[int]initproto.Birth
	moved bool // somebody ended while it was made, and may have left a child behind
	asked bool // a process is read when it is asked for, and not before

	sorted sync.Once // guards what follows
	owned  map[*Process][]int
	loose  []int // those of which nothing in the table says whose they are
}

// birth is what the table has of a process.
func (t *table) birth(pid int) (b initproto.Birth, there bool) {
	b, there = t.born[pid]
	if there || !t.asked {
		return b, there
	}
	b, err := pid1.ReadBirth(pid)
	if err == nil {
		t.born[pid] = b
	}
	return b, err == nil
}

// tables makes them, one at a time.
type tables struct {
	mu   sync.Mutex
	last *table
	made int // so many
}

// since gives a table that is not older than a time, nor by more than tableAge than the
// call. Where making one takes longer than that, those who call meanwhile share the next.
func (t *tables) since(ns int64) *table {
	return t.from(max(ns, initproto.BootNow()-int64(tableAge)))
}

// from gives a table that is not older than a time.
func (t *tables) from(need int64) *table {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || t.last.at < need {
		t.made++
		t.last = &table{at: initproto.BootNow(), born: map[int]initproto.Birth{}}
		for _, pid := range allPids() {
			if b, err := pid1.ReadBirth(pid); err == nil {
				t.last.born[pid] = b
			} else {
				t.last.moved = true
			}
		}
	}
	return t.last
}

// candidates are the processes that may be p's: all but those that are certainly
// another's. Where two thousand services stop, each looks at its own few only.
func (t *table) candidates(p *Process) []int {
	t.sorted.Do(func() { t.sort(p.m) })
	return slices.Concat(t.owned[p], t.loose)
}

// sort finds the owner of each process as decide does, as far as that is the same for
// whoever asks.
func (t *table) sort(m *Manager) {
	t.owned = map[*Process][]int{}
	known := map[int]*Process{}
	var owner func(pid int) *Process
	owner = func(pid int) *Process {
		if p, done := known[pid]; done {
			return p
		}
		known[pid] = nil // a table that changed while it was read may have loops
		b, there := t.born[pid]
		if !there {
			return nil
		}
		p := m.kin.at(pid, b)
		for _, number := range [2]int{b.Pgrp, b.Session} {
			if p == nil && number != 0 {
				p = m.kin.number(number)
			}
		}
		if p == nil && b.Parent != m.initPid && b.Parent != os.Getpid() {
			p = owner(b.Parent)
		}
		known[pid] = p
		return p
	}
	for pid := range t.born {
		if p := owner(pid); p != nil {
			t.owned[p] = append(t.owned[p], pid)
		} else {
			t.loose = append(t.loose, pid)
		}
	}
}

// allPids lists the numeric folders of /proc.
func allPids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	all, _ := dir.Readdirnames(-1) // as far as it got
	return numbers(all)
}

func numbers(words []string) []int {
	out := make([]int, 0, len(words))
	for _, w := range words {
		if n, err := strconv.Atoi(w); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// orphansOf lists the children of a process that it did not make, and some that
// it did, zombies included. The kernel keeps them by the thread that is the
// parent, and hands orphans to the first (proc(5), needs CONFIG_PROC_CHILDREN);
// where it does not, ok is false.
func orphansOf(pid int) (children []int, ok bool) {
	number := strconv.Itoa(pid)
	data, err := os.ReadFile("/proc/" + number + "/task/" + number + "/children")
	return numbers(strings.Fields(string(data))), err == nil
}

// alive says whether a process can still do something.
func alive(b initproto.Birth) bool { return b.State != 'Z' && b.State != 'X' }

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
		data, err := untrusted.ReadProcess(pid, "environ")
		for _, kv := range strings.Split(string(data), "\x00") {
			if value, ok := strings.CutPrefix(kv, CookieVar+"="); ok {
				cookie = value
			}
		}
		return err
	})
	return cookie, err
}
