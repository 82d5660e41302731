package cgroup

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Followed are limit files with copies of the container's limits, each with its content.
type Followed struct {
	Wrote []string
	// Left are those that hold something else than the copy: they were set by hand.
	Left []string
}

// Follow writes the container's limits to the cgroups below the own one where they have copies of its limits of before: InitLeaf, and
// the cgroups of the services in own, by name. The cgroups of jobs keep theirs.
func (t *Tree) Follow(own map[string]OwnLimits, before Limits) (done Followed, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	places, err := t.places(OwnLimits{})
	if err != nil {
		return done, nil // no cgroup was made
	}
	now := Read(t.root)
	var errs []error
	for _, p := range places {
		children, err := t.files.list(p.dir)
		errs = append(errs, err)
		for _, child := range children {
			name, isOwn := strings.CutPrefix(child, OwnPrefix)
			w, known := own[name[:max(len(name)-2, 0)]] // after the name: a dot and a digit
			if child == InitLeaf && p.controller == unified || isOwn && known {
				errs = append(errs, t.relimit(p.controller, path.Join(p.dir, child), w, before, now, &done))
			}
		}
	}
	return done, errors.Join(errs...)
}

// relimit writes the limits of now to a cgroup where it has those of before.
func (t *Tree) relimit(controller, dir string, w OwnLimits, before, now Limits, done *Followed) error {
	copies := w.copies(controller, before)
	var errs []error
	for k, f := range w.copies(controller, now) {
		file := path.Join(dir, f[0])
		have, err := t.files.read(file)
		written := copies[k][1]
		if failed, ok := t.unwritten[file]; ok {
			written = failed
		}
		switch {
		case err != nil, sameLimit(have, f[1]): // it does not have that controller, or nothing is to be done
			delete(t.unwritten, file)
			continue
		case sameLimit(written, f[1]): // another limit has changed
			continue
		case !sameLimit(have, written):
			done.Left = append(done.Left, file+": "+have)
			continue
		}
		if err := t.write(dir, f[0], f[1]); err != nil {
			t.unwritten[file] = have
			errs = append(errs, err)
			continue
		}
		delete(t.unwritten, file)
		done.Wrote = append(done.Wrote, file+": "+f[1])
	}
	return errors.Join(errs...)
}

// copies returns the names and contents of all limit files of a cgroup in a container with limits, in an order that does not depend on
// these.
func (w OwnLimits) copies(controller string, container Limits) [][2]string {
	memory, cpus := w.within(container)
	none := [][2]string{{"memory.max", maxText}, {"cpu.max", maxText}}
	switch controller {
	case "memory":
		none = [][2]string{{"memory.limit_in_bytes", "-1"}}
	case "cpu":
		none = [][2]string{{"cpu.cfs_period_us", strconv.Itoa(period)}, {"cpu.cfs_quota_us", "-1"}}
	}
	for _, f := range limitFiles(controller, memory, cpus) {
		if k := slices.IndexFunc(none, func(n [2]string) bool { return n[0] == f[0] }); k >= 0 {
			none[k] = f
		}
	}
	return none
}

// maxText is what files of v2 hold without a limit.
const maxText = "max"

// sameLimit reports whether two contents of a limit file mean the same. The kernel rounds memory to pages, adds the period to a quota
// that is max, and prints a large number for -1.
func sameLimit(a, b string) bool { return limitKey(a) == limitKey(b) }

func limitKey(text string) string {
	text, _ = strings.CutPrefix(text, maxText)
	switch n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); {
	case text == "" || strings.HasPrefix(text, " ") || err == nil && (n < 0 || n >= 1<<62):
		return maxText
	case err == nil && n >= 1<<20: // a quota is less
		return strconv.FormatInt(n/int64(os.Getpagesize()), 10) + " pages"
	}
	return text
}
