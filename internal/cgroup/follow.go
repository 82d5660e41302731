package cgroup

import (
	"errors"
	"path"
	"strings"
)

// Follow writes the container's limits to the cgroups below the own one where they have copies of them: InitLeaf, and the cgroups of
// the services in own, by name. The cgroups of jobs keep theirs.
func (t *Tree) Follow(own map[string]OwnLimits) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	places, err := t.places(OwnLimits{})
	if err != nil {
		return nil // no cgroup was made
	}
	limits := Read(t.root)
	var errs []error
	for _, p := range places {
		children, err := t.files.list(p.dir)
		errs = append(errs, err)
		for _, child := range children {
			name, isOwn := strings.CutPrefix(child, OwnPrefix)
			w, known := own[name[:max(len(name)-2, 0)]] // after the name: a dot and a digit
			if child == InitLeaf && p.controller == unified || isOwn && known {
				errs = append(errs, t.relimit(p.controller, path.Join(p.dir, child), w, limits))
			}
		}
	}
	return errors.Join(errs...)
}

// relimit writes other limits to a cgroup.
func (t *Tree) relimit(controller, dir string, w OwnLimits, container Limits) error {
	memory, cpus := w.within(container)
	files := limitFiles(controller, memory, cpus)
	if memory == nil {
		files = append(files, [2]string{"memory.max", "max"}, [2]string{"memory.limit_in_bytes", "-1"})
	}
	if cpus == nil {
		files = append(files, [2]string{"cpu.max", "max"}, [2]string{"cpu.cfs_quota_us", "-1"})
	}
	var errs []error
	for _, f := range files {
		if _, err := t.files.read(path.Join(dir, f[0])); err == nil { // it has that controller
			errs = append(errs, t.write(dir, f[0], f[1]))
		}
	}
	return errors.Join(errs...)
}
