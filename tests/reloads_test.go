//go:build container

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Services removed by a reload leave neither descriptors nor memory of their output in either
// process, also if the supervisor is killed in between. STOKER_RELOADS sets the number of reloads.
func TestRemovedServicesLeaveNothing(t *testing.T) {
	t.Parallel()
	reloads := number(t, "STOKER_RELOADS", 30)
	dir := t.TempDir()
	config := func(round int) string {
		text := "main: stays\nlog: {level: error}\nreload: {watch: false}\nservices:\n  stays: {command: [sleep, \"98431\"]}\n"
		for k, output := range []string{"format: raw", "format: prefix", fmt.Sprintf("format: json, file: {path: %s/file.log}", dir)} {
			text += fmt.Sprintf("  s%d-%d: {command: [sh, -c, \"seq 5000; exec sleep 98431\"], output: {%s}}\n", k, round, output)
		}
		return text
	}
	b := newBox(t, boxOptions{dir: dir, config: config(0)})
	b.awaitState("s2-0", "RUNNING", 10*time.Second)
	api := newAPIClient(b.socket)
	to := func(round int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(b.dir, "stoker.yaml"), []byte(config(round)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := b.run("reload"); err != nil {
			t.Fatalf("reload %d: %v\n%s", round, err, out)
		}
		await(t, 20*time.Second, "the services of this round, and none of the one before", func() bool {
			st, err := api.services()
			svc, _ := st.service(fmt.Sprintf("s2-%d", round))
			return err == nil && len(st.Services) == 4 && svc.State == "RUNNING"
		})
	}
	for round := range min(reloads, 30) { // until the heaps have reached their usual size
		to(round + 1)
	}
	b.killSupervisor()
	first := min(reloads, 30) + 2
	to(first - 1)
	allocated := func() { // a supervisor allocates its reserves when it has returned the memory of its start
		await(t, 20*time.Second, "the end of the supervisor's start", b.settled)
		pass(500 * time.Millisecond)
	}
	allocated()
	before, memory := b.footprints(), b.outputMemory()
	for round := first; round < first+reloads; round++ {
		if round%10 == 0 {
			b.killSupervisor()
		}
		to(round)
	}
	allocated()
	b.wantNoGrowth(before, reloads)
	if now := b.outputMemory(); now > memory+memory/2 {
		t.Errorf("the memory of output grew from %d to %d KiB", memory, now)
	}
	if out, err := b.run("logs", "s0-3"); err == nil || !strings.Contains(out, "s0-3") {
		t.Errorf("logs of a removed service: %v\n%s", err, out)
	}
}

// outputMemory returns the memory of the services' output in the init, KiB.
func (b *box) outputMemory() (kib int64) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.init))
	if err != nil {
		b.t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, f := range files {
		name, _ := os.Readlink(f)
		var st syscall.Stat_t
		if !strings.HasPrefix(name, "/memfd:log-") || syscall.Stat(f, &st) != nil || seen[st.Ino] {
			continue
		}
		seen[st.Ino] = true
		kib += st.Blocks / 2
	}
	return kib
}
