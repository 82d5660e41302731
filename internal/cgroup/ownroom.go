package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// moveRounds bounds the rounds of emptying a cgroup: processes forked meanwhile are moved in the next one.
const moveRounds = 100

// A process of another PID namespace is either one of docker exec or nsenter that is about to enter this namespace and get a pid, or
// one that stays and cannot be moved.
const (
	foreignRounds = 40
	foreignWait   = 5 * time.Millisecond
)

// makeRoom enables controllers for the children of a v2 cgroup. The kernel rejects that while it has processes (except in the root
// cgroup), so they move to a leaf. The leaf gets the container's limits for JVMs without a cgroup of their own.
func (t *Tree) makeRoom(base string, w OwnLimits, limits Limits) error {
	need, err := t.missing(base, w)
	if err != nil || len(need) == 0 {
		return err
	}
	order := "+" + strings.Join(need, " +")
	err = t.write(base, "cgroup.subtree_control", order)
	if err == nil || !errors.Is(err, syscall.EBUSY) {
		return err
	}
	leaf := path.Join(base, InitLeaf)
	mkErr := t.files.mkdir(leaf)
	if mkErr != nil && !errors.Is(mkErr, fs.ErrExist) {
		return fmt.Errorf("cannot make %s: %w", leaf, cause(mkErr))
	}
	for range moveRounds {
		if err = t.moveAll(base, leaf); err != nil {
			break
		}
		err = t.write(base, "cgroup.subtree_control", order)
		if !errors.Is(err, syscall.EBUSY) { // otherwise a process has entered in between
			break
		}
	}
	if err == nil {
		err = t.limit(unified, leaf, limits.MemoryLimit, limits.CPUQuota)
	}
	if err == nil {
		return nil
	}
	_ = t.write(base, "cgroup.subtree_control", "-"+strings.Join(need, " -")) // fails if it was not enabled
	if undo := t.moveAll(leaf, base); undo != nil {
		return fmt.Errorf("%w; the moved processes stay in %s: %w", err, leaf, undo)
	}
	_ = t.files.rmdir(leaf)
	return err
}

// missing returns the available controllers that are not enabled for children.
func (t *Tree) missing(base string, w OwnLimits) ([]string, error) {
	there, err := t.files.read(path.Join(base, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s/cgroup.controllers: %w", base, cause(err))
	}
	enabled, err := t.files.read(path.Join(base, "cgroup.subtree_control"))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s/cgroup.subtree_control: %w", base, cause(err))
	}
	var need []string
	for _, c := range []struct {
		name   string
		wished bool
	}{{"cpu", w.CPUs > 0}, {"memory", w.Memory > 0}, {"pids", w.PIDs > 0}} {
		switch {
		case !containsWord(there, c.name) && c.wished:
			return nil, fmt.Errorf("the controller %s is not in %s/cgroup.controllers", c.name, base)
		case c.name == "pids" && !c.wished: // no JVM reads it in its own cgroup
		case containsWord(there, c.name) && !containsWord(enabled, c.name):
			need = append(need, c.name)
		}
	}
	return need, nil
}

// moveAll moves every process from one cgroup to another.
func (t *Tree) moveAll(from, to string) error {
	foreign := 0
	for range moveRounds {
		text, err := t.files.read(path.Join(from, "cgroup.procs"))
		if err != nil {
			return fmt.Errorf("cannot read %s/cgroup.procs: %w", from, cause(err))
		}
		pids := strings.Fields(text)
		if len(pids) == 0 {
			return nil
		}
		if slices.Contains(pids, "0") {
			if foreign++; foreign > foreignRounds {
				return fmt.Errorf("a process of another PID namespace is in %s", from)
			}
			<-time.After(foreignWait)
			continue
		}
		for _, pid := range pids {
			err := t.write(to, "cgroup.procs", pid)
			if err != nil && !errors.Is(err, syscall.ESRCH) { // ESRCH: it has exited
				return err
			}
		}
	}
	return fmt.Errorf("cannot empty %s: its processes fork too fast", from)
}
