//go:build container

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// footprint is the resources of a process.
type footprint struct {
	files, threads int
	memory         int // anonymous, KiB: file and shared memory depend on other processes
}

func footprintOf(t testing.TB, pid int) footprint {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	rollup, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil || err2 != nil || len(files) == 0 {
		t.Fatalf("cannot see what %d has: %v, %v", pid, err, err2)
	}
	_, pss, _ := strings.Cut(string(rollup), "\nPss_Anon:")
	kib, err := strconv.Atoi(strings.Fields(pss)[0])
	if err != nil {
		t.Fatal(err)
	}
	return footprint{len(files), len(threads), kib}
}

// footprints are the footprints of the init and the supervisor.
func (b *box) footprints() [2]footprint {
	b.t.Helper()
	await(b.t, 15*time.Second, "a supervisor", func() bool { return b.supervisor() != 0 })
	return [2]footprint{footprintOf(b.t, b.init), footprintOf(b.t, b.supervisor())}
}

// awaitWatches waits for what a supervisor opens two seconds after its start: the watches of the files, of the limits and of the API's
// socket.
func (b *box) awaitWatches() {
	b.t.Helper()
	await(b.t, 20*time.Second, "the watches of the supervisor", func() bool {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.supervisor()))
		watches := 0
		for _, link := range links {
			if to, _ := os.Readlink(link); to == "anon_inode:inotify" {
				watches++
			}
		}
		return watches == 3
	})
}

// most is the limit of anonymous memory of each, KiB.
const mostMemory = 10 << 10

// wantNoGrowth compares the footprints before and after. Files may be open for a moment, so it
// takes the smallest of several samples.
func (b *box) wantNoGrowth(before [2]footprint, cycles int) {
	b.t.Helper()
	const memory = 1024    // normal variation of Go's heap
	const always = 7 << 10 // below this the collector need not run
	var now [2]footprint
	ok := eventually(15*time.Second, 100*time.Millisecond, func() bool {
		now = b.footprints()
		for k := range now {
			if now[k].files > before[k].files || now[k].threads > before[k].threads ||
				now[k].memory > min(max(before[k].memory+memory, always), mostMemory) {
				return false
			}
		}
		return true
	})
	b.t.Logf("init %+v, then %+v; supervisor %+v, then %+v (%d cycles)", before[0], now[0], before[1], now[1], cycles)
	if !ok {
		b.t.Errorf("init and supervisor have grown in %d cycles", cycles)
	}
}

// Starts and stops leak neither descriptors nor threads nor memory in either process.
// STOKER_CYCLES sets the number of cycles.
func TestCycles(t *testing.T) {
	t.Parallel()
	cycles := number(t, "STOKER_CYCLES", 1000)
	cases := map[string]struct {
		config, state string
		share         int // one cycle in so many, for slow cases
		every         int // cycles after which the supervisor is killed; 0: never
	}{
		"plain":             {`command: [sleep, "98431"]`, "RUNNING", 1, 0},
		"missing":           {`command: [/nonexistent/98431], restart: {backoff: {first: 1h, max: 1h}}`, "BACKOFF", 1, 0},
		"looks":             {`command: [sleep, "98431"], ready: {exec: ["true"]}`, "RUNNING", 4, 0},
		"supervisor killed": {`command: [sleep, "98431"]`, "RUNNING", 5, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, boxOptions{config: "log: {level: error}\nservices:\n  service: {" + c.config + ", autostart: false}\n"})
			b.awaitState("service", "STOPPED", 10*time.Second)
			api := newAPIClient(b.socket)
			cycles := max(cycles/c.share, 10)
			cycle := func() {
				if err := api.command("service", "start"); err != nil {
					t.Fatal(err)
				}
				if !eventually(15*time.Second, time.Millisecond, func() bool { svc, _ := api.service("service"); return svc.State == c.state }) {
					t.Fatalf("it is not %s", c.state)
				}
				if err := api.command("service", "stop"); err != nil {
					t.Fatal(err)
				}
			}
			settled := func() {
				b.awaitWatches()
				pass(500 * time.Millisecond) // then a supervisor allocates its reserves
			}
			many := func(n int) {
				for k := range n {
					if c.every > 0 && k%c.every == 0 {
						b.killSupervisor()
					}
					cycle()
				}
				if c.every > 0 {
					settled()
				}
			}
			settled()
			many(cycles / 2) // until the heaps have reached their usual size
			before := b.footprints()
			for range 5 { // a file may be open for a moment
				pass(20 * time.Millisecond)
				for k, now := range b.footprints() {
					before[k].files, before[k].threads = min(before[k].files, now.files), min(before[k].threads, now.threads)
				}
			}
			from := time.Now()
			many(cycles)
			t.Logf("%v a cycle", (time.Since(from) / time.Duration(cycles)).Round(10*time.Microsecond))
			b.wantNoGrowth(before, cycles)
			if left := b.inside("sleep"); len(left) > 0 {
				t.Errorf("there is still %+v", left)
			}
		})
	}
}
