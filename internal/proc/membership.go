package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// membership decides which processes of a snapshot are members of the service of p.
type membership struct {
	p          *Process
	snapshot   *snapshot
	since      uint64 // the start of p; a member is not older
	cgroup     map[int]bool
	pipes      []string // the log pipes of p
	decided    map[int]bool
	incomplete bool // a process ended before it was known whose it was
}

func (p *Process) membership(t *snapshot) *membership {
	c := &membership{p: p, snapshot: t, since: p.startTicks(), cgroup: map[int]bool{}, decided: map[int]bool{}, pipes: p.capture.Inodes()}
	for _, pid := range p.inCgroups() {
		c.cgroup[pid] = true
	}
	return c
}

// candidates are the processes of the snapshot that may be members.
func (c *membership) candidates() []int {
	pids := c.snapshot.candidates(c.p)
	for pid := range c.cgroup {
		if _, ok := c.snapshot.stats[pid]; ok && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// contains says whether a process is a member. The nearest relation decides, so that a
// job or console that was started from within a service is not the service's.
func (c *membership) contains(pid int) bool {
	member, ok := c.decided[pid]
	if !ok {
		c.decided[pid] = false // parents of a snapshot that changed while it was taken may form a loop
		member = c.decide(pid)
		c.decided[pid] = member
	}
	return member
}

func (c *membership) decide(pid int) bool {
	m, p := c.p.m, c.p
	s, ok := c.snapshot.stat(pid)
	if !ok || pid == m.initPid || pid == os.Getpid() {
		return false
	}
	if owner := m.tracked.find(pid, s); owner != nil {
		return owner == p
	}
	switch {
	case s.Start < c.since:
		return false
	case c.cgroup[pid]:
		return true
	}
	for _, id := range [2]int{s.Pgrp, s.Session} {
		if owner := m.tracked.lookup(id); owner != nil && id != 0 {
			return owner == p && p.leads(c.snapshot, id)
		}
	}
	switch s.Parent {
	case m.initPid:
		return c.marked(pid)
	case os.Getpid(): // a child between clone and exec
		return false
	}
	return c.contains(s.Parent)
}

// leads says whether the group or session with the number of p is still that of p: no
// other process leads it.
func (p *Process) leads(t *snapshot, id int) bool {
	leader, ok := t.stat(id)
	return !ok || p.rec.Start == 0 || leader.Start == p.rec.Start
}

// marked says whether an orphan, which the init has adopted, comes from p: by the cookie
// in its environment or, where that was removed, by the log pipe that it writes to.
func (c *membership) marked(pid int) bool {
	if c.cgroup[pid] || c.p.hasEscaped(pid) {
		return true
	}
	m := c.p.m
	own := m.cookie(c.p.rec.ID)
	cookie, err := cookieOf(pid)
	if cookie == "" && err == nil { // during an exec the environment is empty
		cookie, err = cookieOf(pid)
	}
	if cookie == own {
		return true
	}
	if cookie == "" && !errors.Is(err, fs.ErrPermission) {
		if s, err := procfs.ReadStat(pid); err != nil || !s.Alive() {
			c.incomplete = true
			return false
		}
	}
	if err == nil && strings.HasSuffix(cookie, strings.TrimPrefix(own, c.p.rec.ID)) {
		return false // it is of another process of this stoker
	}
	writes, pipeErr := writesTo(pid, c.pipes)
	if errors.Is(err, fs.ErrPermission) && !writes && (errors.Is(pipeErr, fs.ErrPermission) || len(c.pipes) == 0) {
		m.tracked.warnUnreadable.Do(func() {
			m.warn(fmt.Sprintf("cannot see which service pid %d belongs to, and perhaps others: %v; the end of its service will not end it",
				pid, untrusted.Cause(err)))
		})
	}
	return writes
}

// writesTo says whether a process holds the write end of one of the pipes. A child of
// stoker that has not executed its program yet holds read ends.
func writesTo(pid int, pipes []string) (writes bool, err error) {
	if len(pipes) == 0 {
		return false, nil
	}
	err = asuser.RetryAs(pid, func() error {
		writes = false
		return procfs.EachFD(pid, func(path, target string) bool {
			const ownerMayWrite = 0o200 // the mode of the link shows how the file was opened
			if slices.Contains(pipes, target) {
				info, err := os.Lstat(path)
				writes = err == nil && info.Mode()&ownerMayWrite != 0
			}
			return !writes
		})
	})
	return writes, err
}

// cookieOf reads the cookie in a process's environment; empty: it has none.
func cookieOf(pid int) (cookie string, err error) {
	err = asuser.RetryAs(pid, func() error {
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
