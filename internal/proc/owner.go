package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// contains says whether a process is a member of p. The cgroup of p may know more members
// than the other relations.
func (t *snapshot) contains(p *Process, pid int, cgroup map[int]bool) bool {
	if owner := t.owner(pid); owner == p || !cgroup[pid] {
		return owner == p
	}
	s, ok := t.stat(pid)
	return ok && s.Start >= p.startTicks() && t.m.tracked.find(pid, s) == nil && pid != t.m.init.Pid && pid != os.Getpid()
}

// owner is the service that a process belongs to; nil: none. The nearest relation decides,
// so that a job or console that was started from within a service is not the service's.
func (t *snapshot) owner(pid int) *Process {
	p, known := t.owners[pid]
	if known {
		return p
	}
	t.owners[pid] = nil // parents of a snapshot that changed while it was taken may form a loop
	s, ok := t.stat(pid)
	if !ok || pid == t.m.init.Pid || pid == os.Getpid() {
		return nil
	}
	if p = t.m.tracked.find(pid, s); p == nil {
		p = t.related(pid, s)
		if p != nil && s.Start < p.startTicks() {
			p = nil
		}
	}
	t.owners[pid] = p
	return p
}

// related finds the service of an untracked process by its group, its session, its parent
// or, if that has ended, by its marks.
func (t *snapshot) related(pid int, s procfs.Stat) *Process {
	for _, id := range [2]int{s.Pgrp, s.Session} {
		if p := t.m.tracked.lookup(id); p != nil && id != 0 {
			if leader, ok := t.stat(id); ok && p.rec.Start != 0 && leader.Start != p.rec.Start {
				return nil // another process has that number by now
			}
			return p
		}
	}
	switch s.Parent {
	case t.m.init.Pid:
		return t.marked(pid, s)
	case os.Getpid(): // a child between clone and exec
		return nil
	}
	return t.owner(s.Parent)
}

// execReads is how often the environment of a process is read that is within execve(2): until its new program is loaded, the
// environment and the arguments are empty. That takes well below a millisecond, unless the machine is overloaded.
const execReads = 20

// marked finds the service of an orphan, which the init has adopted: by the cookie in its
// environment or, where that was removed, by the log pipe that it writes to.
func (t *snapshot) marked(pid int, s procfs.Stat) *Process {
	m := t.m
	if p := m.tracked.escapedFrom(pid, s); p != nil {
		return p
	}
	cookie, err := cookieOf(pid)
	for n := 0; cookie == "" && err == nil && n < execReads; n++ {
		if args, argsErr := procfs.Cmdline(pid); n > 0 && (argsErr != nil || len(args) > 0) {
			break
		}
		unix.Poll(nil, min(n, 1)) // at first at once, then after 1 ms
		cookie, err = cookieOf(pid)
	}
	if id, ours := strings.CutSuffix(cookie, m.cookieSuffix); ours {
		return m.tracked.withID(id)
	}
	unreadable := errors.Is(err, fs.ErrPermission)
	if cookie == "" && !unreadable {
		if s, err := procfs.ReadStat(pid); err != nil || !s.Alive() {
			t.changed = true
			return nil
		}
	}
	if t.pipes == nil {
		t.pipes = logPipes(m.tracked.all()...)
	}
	p, pipeErr := writesTo(pid, t.pipes)
	if unreadable && p == nil && (errors.Is(pipeErr, fs.ErrPermission) || len(t.pipes) == 0) {
		m.tracked.warnUnreadable.Do(func() {
			m.warn(fmt.Sprintf("cannot see which service pid %d belongs to, and perhaps others: %v; the end of its service will not end it",
				pid, untrusted.Cause(err)))
		})
	}
	return p
}

// logPipes are the log pipes of processes.
func logPipes(all ...*Process) map[string]*Process {
	pipes := map[string]*Process{}
	for _, p := range all {
		for _, name := range append(p.capture.Inodes(), p.rec.Pipes...) {
			pipes[name] = p
		}
	}
	return pipes
}

// writesTo returns the owner of the pipe whose write end a process holds; nil: it holds
// none. A child of stoker that has not executed its program yet holds read ends.
func writesTo(pid int, pipes map[string]*Process) (owner *Process, err error) {
	if len(pipes) == 0 {
		return nil, nil
	}
	err = asuser.RetryAs(pid, func() error {
		owner = nil
		return procfs.EachFD(pid, func(path, target string) bool {
			const ownerMayWrite = 0o200 // the mode of the link shows how the file was opened
			if p := pipes[target]; p != nil {
				if info, err := os.Lstat(path); err == nil && info.Mode()&ownerMayWrite != 0 {
					owner = p
				}
			}
			return owner == nil
		})
	})
	return owner, err
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
