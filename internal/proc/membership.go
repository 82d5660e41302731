package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// membership says of each process of a table whether it is p's.
type membership struct {
	p          *Process
	snapshot   *snapshot
	since      uint64
	cgroup     map[int]bool
	pipes      []string // those of p
	seen       map[int]bool
	incomplete bool // somebody ended before it was known whose he was
}

func (p *Process) membership(t *snapshot) *membership {
	c := &membership{p: p, snapshot: t, since: p.startTicks(), cgroup: map[int]bool{}, seen: map[int]bool{}}
	for _, pid := range p.inCgroups() {
		c.cgroup[pid] = true
	}
	if p.capture != nil {
		c.pipes = p.capture.Inodes()
	}
	return c
}

// candidates are the processes of the table that may be p's.
func (c *membership) candidates() []int {
	out := c.snapshot.candidates(c.p)
	for pid := range c.cgroup {
		if _, there := c.snapshot.stats[pid]; there && !slices.Contains(out, pid) {
			out = append(out, pid)
		}
	}
	return out
}

// contains says whether a process is p's: what is nearest decides, so that a job or
// console that was started from within a service is not the service's.
func (c *membership) contains(pid int) bool {
	if known, ok := c.seen[pid]; ok {
		return known
	}
	c.seen[pid] = false // until it is decided: a table that changed while it was read may have loops
	known := c.decide(pid)
	c.seen[pid] = known
	return known
}

func (c *membership) decide(pid int) bool {
	m, p := c.p.m, c.p
	b, there := c.snapshot.stat(pid)
	if !there || pid == m.initPid || pid == os.Getpid() {
		return false
	}
	if owner := m.tracked.find(pid, b); owner != nil {
		return owner == p
	}
	switch {
	case b.Start < c.since:
		return false
	case c.cgroup[pid]:
		return true
	}
	for _, number := range [2]int{b.Pgrp, b.Session} {
		if owner := m.tracked.lookup(number); owner != nil && number != 0 {
			return owner == p && p.groupIs(c.snapshot, number)
		}
	}
	switch b.Parent {
	case m.initPid:
		return c.marked(pid)
	case os.Getpid(): // one that is being born
		return false
	}
	return c.contains(b.Parent)
}

// groupIs says whether the group or session of our number is still ours: nobody
// else leads it.
func (p *Process) groupIs(t *snapshot, number int) bool {
	leader, there := t.stat(number)
	return !there || p.rec.Start == 0 || leader.Start == p.rec.Start
}

// marked says whether a process that the init has as its child since its parent
// died comes from p: by its cookie, and where that was wiped out by the pipe
// that it writes to.
func (c *membership) marked(pid int) bool {
	if c.cgroup[pid] || c.p.hasEscaped(pid) {
		return true
	}
	m := c.p.m
	own := m.cookie(c.p.rec.ID)
	cookie, err := cookieOf(pid)
	if cookie == own {
		return true
	}
	if cookie == "" && err == nil { // or between two programs: then it shows none
		if cookie, err = cookieOf(pid); cookie == own {
			return true
		}
	}
	if cookie == "" && !errors.Is(err, fs.ErrPermission) {
		if b, err := procfs.ReadStat(pid); err != nil || !b.Alive() {
			c.incomplete = true
			return false
		}
	}
	if err == nil && strings.HasSuffix(cookie, strings.TrimPrefix(own, c.p.rec.ID)) {
		return false // another's
	}
	writes, pipeErr := writesTo(pid, c.pipes)
	if errors.Is(err, fs.ErrPermission) && !writes && (errors.Is(pipeErr, fs.ErrPermission) || len(c.pipes) == 0) {
		m.tracked.warnUnreadable.Do(func() {
			m.warn(fmt.Sprintf("cannot see which service pid %d belongs to, and perhaps others: %v; the end of its service will not end it", pid, untrusted.Cause(err)))
		})
	}
	return writes
}

// writesTo says whether a process holds the write end of one of the pipes. A child
// of ours that has not executed its program yet holds read ends.
func writesTo(pid int, pipes []string) (writes bool, err error) {
	if len(pipes) == 0 {
		return false, nil
	}
	err = asUser(pid, func() error {
		writes = false
		return procfs.EachFD(pid, func(fd, link string) bool {
			const ownerMayWrite = 0o200 // so the kernel shows how it was opened
			if slices.Contains(pipes, link) {
				info, err := os.Lstat(fd)
				writes = err == nil && info.Mode()&ownerMayWrite != 0
			}
			return !writes
		})
	})
	return writes, err
}
