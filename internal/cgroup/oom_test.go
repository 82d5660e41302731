package cgroup

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMemoryInUse(t *testing.T) {
	const total = "MemTotal: 8388608 kB\n"
	v2 := map[string]string{"proc/meminfo": total, "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
		"proc/self/cgroup": "0::/app/init\n", "sys/fs/cgroup/app/cgroup.controllers": "memory", "sys/fs/cgroup/app/memory.max": "1000\n",
		"sys/fs/cgroup/app/memory.current": "700\n", "sys/fs/cgroup/app/memory.stat": "anon 1\ninactive_file 100\n"}
	v1 := map[string]string{"proc/meminfo": total, "proc/self/cgroup": "4:memory:/docker/abc\n",
		"proc/self/mountinfo":                        "31 23 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
		"sys/fs/cgroup/memory/memory.usage_in_bytes": "300\n",
		"sys/fs/cgroup/memory/memory.stat":           "inactive_file 1\nhierarchical_memory_limit 1000\ntotal_inactive_file 50\n",
	}
	without := func(files map[string]string, name string) map[string]string {
		files = maps.Clone(files)
		delete(files, name)
		return files
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		used  int64
		ok    bool
	}{
		{"v2, where the limit is", v2, 600, true},
		{"v1", v1, 250, true},
		{"no limit", without(v2, "sys/fs/cgroup/app/memory.max"), 0, false},
		{"no use", without(v2, "sys/fs/cgroup/app/memory.current"), 0, false},
		{"no stat", without(v2, "sys/fs/cgroup/app/memory.stat"), 0, false},
	} {
		var files []archiveFile
		for name, text := range c.files {
			files = append(files, archiveFile{name: name, data: []byte(text)})
		}
		root := tree(t, files)
		if used, ok := MemoryInUse(root, Read(root)); used != c.used || ok != c.ok {
			t.Errorf("%s: %d %v, want %d %v", c.name, used, ok, c.used, c.ok)
		}
	}
}

func TestOOMKills(t *testing.T) {
	const (
		v2mount = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
		v1mount = "31 23 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		events  = "low 0\nhigh 12\nmax 345\noom 6\noom_kill 5\noom_group_kill 1\n"
	)
	v2 := map[string]string{"proc/self/mountinfo": v2mount, "proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cgroup.controllers": "memory",
		"sys/fs/cgroup/app/memory.events": events, "sys/fs/cgroup/app/svc/memory.events": "oom_kill 2\n",
		"sys/fs/cgroup/app/hidden/memory.events.local": "oom_kill 1\n", "sys/fs/cgroup/app/odd/memory.events": "oom_kill many\n"}
	v1 := map[string]string{"proc/self/mountinfo": v1mount, "proc/self/cgroup": "4:memory:/docker/abc\n",
		"sys/fs/cgroup/memory/memory.oom_control":     "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"sys/fs/cgroup/memory/svc/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
		"sys/fs/cgroup/cpu/svc/cpu.cfs_quota_us":      "-1\n"}
	old := map[string]string{"proc/self/mountinfo": v1mount, "proc/self/cgroup": "4:memory:/docker/abc\n",
		"sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}
	for _, c := range []struct {
		name   string
		files  map[string]string
		dirs   []string
		count  uint64
		source string
		ok     bool
	}{
		{"v2, own", v2, nil, 5, "/sys/fs/cgroup/app/memory.events", true},
		{"v2, a service's", v2, []string{"/sys/fs/cgroup/app/svc"}, 2, "/sys/fs/cgroup/app/svc/memory.events", true},
		{"v2, local only", v2, []string{"sys/fs/cgroup/app/hidden"}, 1, "/sys/fs/cgroup/app/hidden/memory.events.local", true},
		{"v2, garbage", v2, []string{"/sys/fs/cgroup/app/odd"}, 0, "", false},
		{"v1, own", v1, nil, 3, "/sys/fs/cgroup/memory/memory.oom_control", true},
		{"v1, both", v1, []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/svc"}, 4,
			"/sys/fs/cgroup/memory/memory.oom_control, /sys/fs/cgroup/memory/svc/memory.oom_control", true},
		{"v1, a service's", v1, []string{"/sys/fs/cgroup/memory/svc", "/sys/fs/cgroup/cpu/svc"}, 1,
			"/sys/fs/cgroup/memory/svc/memory.oom_control", true},
		{"v1, no memory", v1, []string{"/sys/fs/cgroup/cpu/svc"}, 0, "", false},
		{"one is gone", v1, []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/gone"}, 0, "", false},
		{"v1 before 4.13", old, nil, 0, "", false},
		{"no cgroup", map[string]string{"proc/self/mountinfo": "", "proc/self/cgroup": "0::/\n"}, nil, 0, "", false},
		{"nothing", map[string]string{"etc/x": ""}, nil, 0, "", false},
		{"outside", v1, []string{"../../sys/fs/cgroup/memory"}, 3, "/sys/fs/cgroup/memory/memory.oom_control", true},
	} {
		var files []archiveFile
		for name, text := range c.files {
			files = append(files, archiveFile{name: name, data: []byte(text)})
		}
		root := tree(t, files)
		count, source, ok := OOMKills(root, c.dirs...)
		if count != c.count || source != c.source || ok != c.ok {
			t.Errorf("%s: %d %q %v, want %d %q %v", c.name, count, source, ok, c.count, c.source, c.ok)
		}
		if c.dirs == nil {
			checkCounter(t, c.name, root, c.source, c.count, c.ok)
		}
	}
	if _, _, ok := OOMKills("/no/such/folder"); ok {
		t.Error("a root that is not there has a counter")
	}
}

// checkCounter checks the open counter of the own cgroup, and that it sees the file change.
func checkCounter(t *testing.T, name, root, source string, want uint64, ok bool) {
	t.Helper()
	counter, err := OpenOOMCounter(root)
	if (err == nil) != ok {
		t.Errorf("%s: a counter is opened with %v", name, err)
	}
	if err != nil {
		return
	}
	if n, ok := counter.Read(); n != want || !ok {
		t.Errorf("%s: the counter is %d %v, want %d", name, n, ok, want)
	}
	if err := os.WriteFile(root+source, []byte("oom 9\noom_kill 17\n"), 0); err != nil {
		t.Fatal(err)
	}
	if n, ok := counter.Read(); n != 17 || !ok {
		t.Errorf("%s: the counter is %d %v after its change", name, n, ok)
	}
}

// TestOOMKillsForReal has the kernel kill a process in a cgroup made for it.
func TestOOMKillsForReal(t *testing.T) {
	dir, limit := oomFolder(t)
	if err := os.WriteFile(dir+"/"+limit, []byte("16777216"), 0); err != nil {
		t.Skipf("this cgroup takes no limit: %v", err)
	}
	before, source, ok := OOMKills("/", dir)
	if !ok {
		t.Skip("this kernel does not count")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := exec.CommandContext(ctx, "sh", "-c", `echo $$ >"$0"/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs=64M count=1`, dir).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Skipf("a process of 64 MiB below a limit of 16 MiB: %v", err) // there is swap
	}
	after, same, ok := OOMKills("/", dir)
	if after != before+1 || !ok || same != source || !strings.HasPrefix(source, dir) {
		t.Errorf("%d in %s, then %d in %s", before, source, after, same)
	}
}

// oomFolder makes a cgroup with the memory controller below our own.
func oomFolder(t *testing.T) (dir, limit string) {
	_, source, ok := OOMKills("/")
	if !ok {
		t.Skip("the own cgroup has no counter")
	}
	parent, limit := strings.TrimSuffix(source, "/memory.oom_control"), "memory.limit_in_bytes"
	if parent == source {
		parent, limit = strings.TrimSuffix(source, "/memory.events"), "memory.max"
	}
	dir, err := os.MkdirTemp(parent, "oom-test-")
	if err != nil {
		t.Skipf("no cgroup can be made: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	return dir, limit
}

func BenchmarkOOMKills(b *testing.B) {
	for b.Loop() {
		OOMKills("/")
	}
}
