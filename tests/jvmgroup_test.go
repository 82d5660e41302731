//go:build container

package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memoryGroup is a cgroup with a memory limit and without swap, for programs that start faster than
// a container.
type memoryGroup struct {
	t   testing.TB
	dir string
}

// newMemoryGroup makes one below the test's own cgroup (v1) or the root (v2). It is removed at the
// end of the test.
func newMemoryGroup(t testing.TB, limit string) *memoryGroup {
	t.Helper()
	parent, files := "/sys/fs/cgroup", [2]string{"memory.max", "memory.swap.max"}
	swap := "0"
	if _, err := os.Stat("/sys/fs/cgroup/memory/cgroup.procs"); err == nil {
		parent, files, swap = ownMemoryGroup(), [2]string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}, limit
	} else {
		os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	dir, err := os.MkdirTemp(parent, "stoker-test-")
	if err != nil {
		lacking(t, "cannot make a cgroup: "+err.Error())
	}
	g := &memoryGroup{t, dir}
	t.Cleanup(func() {
		if !eventually(10*time.Second, 5*time.Millisecond, func() bool { return os.Remove(dir) == nil }) {
			t.Errorf("cannot remove the cgroup %s", dir)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, files[0]), []byte(limit), 0); err != nil {
		lacking(t, "cannot limit the memory: "+err.Error())
	}
	if err := os.WriteFile(filepath.Join(dir, files[1]), []byte(swap), 0); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return g
}

// ownMemoryGroup is the folder of the test's own cgroup of v1, or the root of what is mounted.
func ownMemoryGroup() string {
	const root = "/sys/fs/cgroup/memory"
	text, _ := os.ReadFile("/proc/self/cgroup")
	found := regexp.MustCompile(`(?m)^\d+:memory:(.*)$`).FindSubmatch(text)
	if found != nil {
		dir := filepath.Join(root, string(found[1]))
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return root
}

// run runs a program in the group to its end.
func (g *memoryGroup) run(env []string, args ...string) (out string, code int) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 3*time.Minute)
	defer cancel()
	enter := []string{"-c", `echo 0 >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}
	cmd := exec.CommandContext(ctx, "sh", append(enter, args...)...)
	cmd.Env = append(os.Environ(), env...)
	text := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = text, text
	code = exitCode(cmd.Run())
	if ctx.Err() != nil {
		text.WriteString("\nit did not end in time")
	}
	return text.String(), code
}

// limit changes the limit of the memory.
func (g *memoryGroup) limit(to string) {
	g.t.Helper()
	for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(to), 0); err == nil {
			return
		} else if !os.IsNotExist(err) && !os.IsPermission(err) {
			g.t.Fatal(err)
		}
	}
	g.t.Fatalf("cannot limit the memory of %s", g.dir)
}

// used returns the memory in use in MiB.
func (g *memoryGroup) used() int {
	g.t.Helper()
	for _, name := range []string{"memory.current", "memory.usage_in_bytes"} {
		if data, err := os.ReadFile(filepath.Join(g.dir, name)); err == nil {
			n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
			return n >> 20
		}
	}
	g.t.Fatalf("cannot read what %s uses", g.dir)
	return 0
}

// use returns the OOM kills in the group, and the most memory that was in use.
func (g *memoryGroup) use() (kills int, peak string) {
	for _, name := range []string{"memory.peak", "memory.max_usage_in_bytes"} {
		if data, err := os.ReadFile(filepath.Join(g.dir, name)); err == nil {
			n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
			peak = fmt.Sprintf("%d MiB", n>>20)
		}
	}
	_, below, _ := strings.Cut(strings.Replace(g.dir, "/sys/fs/cgroup/memory/", "/sys/fs/cgroup/", 1), "/sys/fs/cgroup")
	return oomKills("0:memory:" + below), peak
}
