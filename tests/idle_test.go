//go:build container

package tests

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A service that never reaps its zombies costs no CPU while idle and stops at once. Not parallel,
// because it measures CPU time.
func TestIdleWithZombies(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  careless: {command: [%s]}
`, script(t, dir, "careless.pl", `for (1 .. 5) { exit 0 unless fork() // die $! }
open(my $f, '>', 'DIR/made') or die $!;
close $f;
select(undef, undef, undef, 1000);
`))})
	await(t, 10*time.Second, "the zombies", func() bool { _, err := os.Stat(dir + "/made"); return err == nil })
	b.awaitState("careless", "RUNNING", 15*time.Second)
	svc, _ := newAPIClient(b.socket).service("careless")
	zombies := func() int {
		n := 0
		for _, p := range childrenOf(b.init) {
			if seenInside(t, p.pid) != svc.Pid {
				continue
			}
			for _, c := range childrenOf(p.pid) {
				if c.state == 'Z' {
					n++
				}
			}
		}
		return n
	}
	await(t, 15*time.Second, "5 zombies", func() bool { return zombies() == 5 })
	pass(3 * time.Second) // two seconds after the start memory is given back
	supervisor := b.supervisor()
	const idle = 5 * time.Second
	used := 2
	for range 3 { // what happens once, as late as the machine is busy, is in one of them
		before := cpuTicks(t, b.init) + cpuTicks(t, supervisor)
		pass(idle)
		if used = cpuTicks(t, b.init) + cpuTicks(t, supervisor) - before; used <= 1 {
			break
		}
	}
	if used > 1 || b.supervisor() != supervisor {
		t.Errorf("init and supervisor have used %d ticks of 10 ms in %v", used, idle)
	}
	if n := zombies(); n != 5 {
		t.Errorf("%d zombies are left of 5: the test has tested nothing", n)
	}
	b.stopsAtOnce("careless", "/usr/bin/perl")
}

// cpuTicks returns the user and system CPU time of a process in ticks: fields 14 and 15 of
// /proc/PID/stat, proc(5).
func cpuTicks(t testing.TB, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatalf("cannot read %q", data)
	}
	return user + system
}
