package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Names below the container's own cgroup.
const (
	// InitLeaf is the cgroup v2 leaf for all processes of the container's own cgroup, since one with processes can have no children
	// with controllers.
	InitLeaf = "stoker.init"
	// OwnPrefix is the name prefix of a service's cgroup. The service name and a digit follow; the digit changes while the previous
	// cgroup is still in use.
	OwnPrefix = "stoker.service."
)

// OwnLimits are the requested limits of a service's cgroup.
type OwnLimits struct {
	CPUs   float64 // cores; 0: no own limit
	Memory int64   // bytes; 0: no own limit
	PIDs   int     // processes and threads; 0: no own limit
}

// within returns the limits to write to the cgroup: its own, or the container's if that is lower or the only one. A JVM reads its own
// cgroup and not the parents.
func (w OwnLimits) within(container Limits) (memory *int64, cpus *float64) {
	memory, cpus = container.MemoryLimit, container.CPUQuota
	if w.Memory > 0 && (memory == nil || w.Memory < *memory) {
		memory = &w.Memory
	}
	if w.CPUs > 0 && (cpus == nil || w.CPUs < *cpus) {
		cpus = &w.CPUs
	}
	return memory, cpus
}

// Own is the cgroup of one service: a directory, or on v1 one per controller.
type Own struct {
	tree *Tree
	dirs []string
	OwnLimits
}

// Tree makes cgroups below the container's own. It is safe for concurrent use.
type Tree struct {
	mu    sync.Mutex
	files files
	root  string
}

// NewTree returns a Tree for the file systems below root; "/" is the live system. It reads nothing yet.
func NewTree(root string) *Tree { return &Tree{files: disk{root}, root: root} }

// place is a cgroup in which cgroups can be made: the container's own, per controller on v1.
type place struct {
	controller string // of v1, or unified
	dir        string
}

// Make makes the cgroup of a service with limits, and removes its unused previous ones. On v2 it first moves all processes of the
// container's own cgroup to InitLeaf and enables controllers. The error names the file that rejected a write; then all changes are
// undone.
func (t *Tree) Make(name string, w OwnLimits) (*Own, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	places, err := t.places(w)
	if err != nil {
		return nil, err
	}
	limits := Read(t.root)
	memory, cpus := w.within(limits)
	o := &Own{tree: t, OwnLimits: w}
	if places[0].controller == unified {
		if err := t.makeRoom(places[0].dir, w, limits); err != nil {
			return nil, err
		}
	}
	former, free, err := t.existing(places, name)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		dir := path.Join(p.dir, free)
		if err := t.files.mkdir(dir); err != nil {
			o.Remove()
			return nil, fmt.Errorf("cannot make %s: %w", dir, cause(err))
		}
		o.dirs = append(o.dirs, dir)
		err := t.limit(p.controller, dir, memory, cpus)
		if err == nil && w.PIDs > 0 && (p.controller == unified || p.controller == "pids") {
			err = t.write(dir, "pids.max", strconv.Itoa(w.PIDs))
		}
		if err != nil {
			o.Remove()
			return nil, err
		}
	}
	for _, dir := range former {
		_ = t.files.rmdir(dir) // fails while it has processes
	}
	return o, nil
}

// Dirs returns the directories that a process joins; see proc.Spec.
func (o *Own) Dirs() []string {
	out := make([]string, 0, len(o.dirs))
	for _, dir := range o.dirs {
		out = append(out, path.Join(o.tree.root, dir))
	}
	return out
}

// Remove removes the cgroup unless it has processes.
func (o *Own) Remove() {
	for _, dir := range slices.Backward(o.dirs) {
		_ = o.tree.files.rmdir(dir)
	}
}

// places finds the container's own cgroup.
func (t *Tree) places(w OwnLimits) ([]place, error) {
	r, err := open(t.root)
	if err != nil {
		return nil, fmt.Errorf("cannot see the cgroups: %w", err)
	}
	defer func() { _ = r.root.Close() }()
	var out []place
	for _, controller := range []string{"memory", "cpu"} {
		if dirs := r.dirs(controller); dirs != nil {
			out = append(out, place{controller, dirs[0]})
		}
	}
	if len(out) == 0 {
		if dirs := r.dirs(unified); dirs != nil {
			out = []place{{unified, strings.TrimSuffix(dirs[0], "/"+InitLeaf)}}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no cgroup file system is mounted")
	}
	if dirs := r.dirs("pids"); dirs != nil && w.PIDs > 0 && out[0].controller != unified {
		out = append(out, place{"pids", dirs[0]})
	}
	for _, warning := range r.limits.Warnings { // a fallback is fine for reading, but not for writing
		return nil, errors.New(warning.Message)
	}
	return out, t.check(out, w)
}

// check verifies that the places are the own cgroup and that the limits are possible there.
func (t *Tree) check(places []place, w OwnLimits) error {
	have := map[string]bool{}
	for _, p := range places {
		have[p.controller] = true
		if !t.holdsUs(p.dir) && !t.holdsUs(path.Join(p.dir, InitLeaf)) {
			return fmt.Errorf("%s is not our own cgroup: %s/cgroup.procs does not list stoker", p.dir, p.dir)
		}
		if p.controller != "memory" {
			continue
		}
		if text, err := t.files.read(path.Join(p.dir, "memory.use_hierarchy")); err == nil && text == "0" {
			return fmt.Errorf("%s/memory.use_hierarchy is 0: the container's limit would not hold in it", p.dir)
		}
	}
	switch {
	case places[0].controller == unified:
	case w.Memory > 0 && !have["memory"]:
		return errors.New("the controller memory is not mounted")
	case w.CPUs > 0 && !have["cpu"]:
		return errors.New("the controller cpu is not mounted")
	case w.PIDs > 0 && !have["pids"]:
		return errors.New("the controller pids is not mounted")
	}
	return nil
}

func (t *Tree) holdsUs(dir string) bool {
	text, err := t.files.read(path.Join(dir, "cgroup.procs"))
	return err == nil && slices.Contains(strings.Fields(text), strconv.Itoa(os.Getpid()))
}

// existing returns the cgroups of a service and an unused name for another one. The exit of the previous process may be about to
// remove the existing ones.
func (t *Tree) existing(places []place, name string) (former []string, free string, err error) {
	taken := map[string]bool{}
	for _, p := range places {
		children, err := t.files.list(p.dir)
		if err != nil {
			return nil, "", fmt.Errorf("cannot list %s: %w", p.dir, cause(err))
		}
		for _, child := range children {
			if digit, ok := strings.CutPrefix(child, OwnPrefix+name+"."); ok && len(digit) == 1 {
				taken[child] = true
				former = append(former, path.Join(p.dir, child))
			}
		}
	}
	for digit := range 10 {
		free = OwnPrefix + name + "." + strconv.Itoa(digit)
		if !taken[free] {
			return former, free, nil
		}
	}
	return nil, "", fmt.Errorf("%s has ten cgroups in use already", name)
}

// period is the period of the written CPU quotas, in microseconds.
const period = 100_000

// limit writes limits to a new cgroup.
func (t *Tree) limit(controller, dir string, memory *int64, cpus *float64) error {
	for _, f := range limitFiles(controller, memory, cpus) {
		if err := t.write(dir, f[0], f[1]); err != nil {
			return err
		}
	}
	return nil
}

// limitFiles returns the names and contents of the files that have limits.
func limitFiles(controller string, memory *int64, cpus *float64) (files [][2]string) {
	if memory != nil && (controller == unified || controller == "memory") {
		name := "memory.limit_in_bytes"
		if controller == unified {
			name = "memory.max"
		}
		files = append(files, [2]string{name, strconv.FormatInt(*memory, 10)})
	}
	if cpus != nil && (controller == unified || controller == "cpu") {
		quota := strconv.FormatInt(max(int64(*cpus*period+1e-6), 1000), 10) // the kernel's minimum is 1 ms
		if controller == unified {
			files = append(files, [2]string{"cpu.max", quota + " " + strconv.Itoa(period)})
		} else {
			files = append(files, [2]string{"cpu.cfs_period_us", strconv.Itoa(period)}, [2]string{"cpu.cfs_quota_us", quota})
		}
	}
	return files
}

func (t *Tree) write(dir, file, text string) error {
	if err := t.files.write(path.Join(dir, file), text); err != nil {
		return fmt.Errorf("cannot write %q to %s/%s: %w", text, dir, file, cause(err))
	}
	return nil
}

// files are the operations on the cgroup file systems.
type files interface {
	read(file string) (string, error) // trimmed
	write(file, text string) error    // in one write(2), since the kernel parses each one separately
	mkdir(dir string) error
	rmdir(dir string) error
	list(dir string) ([]string, error) // names of the subfolders
}

// disk implements files below a root.
type disk struct{ root string }

func (d disk) read(file string) (string, error) {
	data, err := os.ReadFile(path.Join(d.root, file))
	return strings.TrimSpace(string(data)), err
}

func (d disk) write(file, text string) error {
	f, err := os.OpenFile(path.Join(d.root, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (d disk) mkdir(dir string) error { return os.Mkdir(path.Join(d.root, dir), 0o755) }

func (d disk) rmdir(dir string) error { return syscall.Rmdir(path.Join(d.root, dir)) }

func (d disk) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(path.Join(d.root, dir))
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, err
}
