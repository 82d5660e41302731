package cgroup

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

func FuzzParseMountinfo(f *testing.F) {
	f.Add("30 29 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup rw\n")
	f.Add("36 32 0:31 /docker/x\\134 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, _ := parseMountinfo(text)
		points := map[string]bool{}
		for _, m := range mounts {
			if points[m.Mountpoint] {
				t.Errorf("two mounts on %q", m.Mountpoint)
			}
			points[m.Mountpoint] = true
		}
	})
}

func FuzzParseCgroupFile(f *testing.F) {
	f.Add("4:cpu,cpuacct:/docker/x\n0::/\n")
	f.Add("0::/../../x:y\nrubbish\n1:name=systemd:/")
	f.Fuzz(func(t *testing.T, text string) {
		own, _ := parseCgroupFile(text)
		for controller, dir := range own {
			if dir == "" || dir[0] != '/' {
				t.Errorf("controller %q at %q", controller, dir)
			}
		}
	})
}

func FuzzParseCPUList(f *testing.F) {
	f.Add("0-3,8")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseCPUList(text)
		if err == nil && (len(set) == 0 || len(set) > maxCPU) {
			t.Errorf("%d CPUs in %q", len(set), text)
		}
	})
}

func FuzzParseLimit(f *testing.F) {
	for _, text := range []string{"max", "-1", "1073741824", "9223372036854771712", "9223372036854710272", "18446744073709551616", "0x10",
		"+5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok, err := parseLimit(text)
		if ok && (err != nil || n <= 0 || n >= noLimit) || !ok && n != 0 {
			t.Errorf("%q: %d, %v, %v", text, n, ok, err)
		}
	})
}

func FuzzRatio(f *testing.F) {
	f.Add("150000", "100000")
	f.Add("9223372036854775807", "1")
	f.Add("-1", "0")
	f.Fuzz(func(t *testing.T, quota, period string) {
		if cores, err := ratio(quota, period); err == nil && !(cores > 0 && cores < 1e19) {
			t.Errorf("%q of %q: %g", quota, period, cores)
		}
	})
}

// readable is a layout in which every file is well-formed: v1 and v2 side by
// side. FuzzRead replaces some of them.
func readable() map[string]string {
	return map[string]string{
		"proc/self/mountinfo":                     "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n31 29 0:27 /a /v1 rw - cgroup cgroup rw,cpu,cpuset,memory\n",
		"proc/self/cgroup":                        "3:cpu,cpuset,memory:/a/b\n0::/a/b\n",
		"proc/self/status":                        "Cpus_allowed_list:\t0-3\n",
		"proc/meminfo":                            "MemTotal: 4194304 kB\n",
		"sys/devices/system/cpu/online":           "0-3\n",
		"sys/fs/cgroup/cgroup.controllers":        "cpu cpuset memory pids\n",
		"sys/fs/cgroup/a/b/cgroup.controllers":    "cpu cpuset memory pids\n",
		"sys/fs/cgroup/a/b/memory.high":           "805306368\n",
		"sys/fs/cgroup/a/b/pids.max":              "max\n",
		"sys/fs/cgroup/a/b/cpu.max":               "150000 100000\n",
		"sys/fs/cgroup/a/b/memory.max":            "1073741824\n",
		"sys/fs/cgroup/a/b/cpuset.cpus.effective": "0-1\n",
		"v1/b/cpu.cfs_quota_us":                   "150000\n",
		"v1/b/cpu.cfs_period_us":                  "100000\n",
		"v1/b/memory.limit_in_bytes":              "1073741824\n",
		"v1/b/memory.stat":                        "hierarchical_memory_limit 536870912\n",
		"v1/b/cpuset.cpus":                        "0-1\n",
	}
}

// FuzzRead makes a layout: steer is mountinfo and the own cgroup, edits are lines
// "PATH CONTENT" that replace files of a readable one, or add some.
func FuzzRead(f *testing.F) {
	f.Add("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/a/b\n",
		"sys/fs/cgroup/a/b/cpu.max 7 100000\nproc/meminfo MemTotal: 1 kB")
	f.Add("30 29 0:26 /../x /v1 rw - cgroup cgroup rw,cpu,memory\n", "3:cpu,memory:/../y\n",
		"v1/memory.limit_in_bytes -1\nv1/cpu.cfs_quota_us max")
	f.Add("30 29 0:26 / /sys/fs/cg", "0::", "proc/self/status Cpus_allowed_list: 9\nsys/devices/system/cpu/online 5-2")
	f.Add("", "", "proc/meminfo \xff")
	f.Add("", "", "sys/fs/cgroup/pids.max 20\nsys/fs/cgroup/memory.high 1\nsys/fs/cgroup/a/b/pids.max -7")
	f.Fuzz(func(t *testing.T, mountinfo, own, edits string) {
		all := readable()
		if mountinfo != "" {
			all["proc/self/mountinfo"], all["proc/self/cgroup"] = mountinfo, own
		}
		for line := range strings.Lines(edits) {
			name, content, ok := strings.Cut(line, " ")
			if name = strings.TrimPrefix(path.Clean("/"+name), "/"); ok && usableName(name, all) {
				all[name] = content
			}
		}
		var files []archiveFile
		for _, name := range slices.Sorted(maps.Keys(all)) {
			files = append(files, archiveFile{name: name, data: []byte(all[name])})
		}
		root := tree(t, files)
		l := Read(root)
		if l.EffectiveCPUs < 1 || l.EffectiveMemory != nil && *l.EffectiveMemory <= 0 || l.CPUSet != nil && *l.CPUSet < 1 || l.CPUQuota != nil &&
			!(*l.CPUQuota > 0) || l.MemoryHigh != nil && *l.MemoryHigh <= 0 || l.PIDsLimit != nil && *l.PIDsLimit < 0 {
			t.Errorf("limits make no sense: %+v", l)
		}
		r := &reader{root: openRoot(t, root)}
		if total, ok := r.memTotal(); ok && (l.EffectiveMemory == nil || *l.EffectiveMemory > total) {
			t.Errorf("the memory to use is not within the machine's %d: %+v", total, l)
		}
		if data, err := json.Marshal(l); err != nil || !json.Valid(data) {
			t.Errorf("no JSON: %v, %q", err, data)
		}
	})
}

// usableName says whether a file of that name can be beside the others.
func usableName(name string, all map[string]string) bool {
	if name == "" || len(name) > 200 || strings.ContainsRune(name, 0) || strings.ContainsFunc(name, func(r rune) bool { return r > 126 }) {
		return false
	}
	for other := range all {
		if strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/") {
			return false
		}
	}
	return true
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}
