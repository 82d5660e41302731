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

// stormScript makes a number of orphans by double fork and then waits; with the number 0 it
// makes them until the file "calm" exists. Each orphan lives for up to 50 ms.
const stormScript = `
my $most = shift;
my $made = 0;
sub note { open(my $f, '>', "DIR/$_[0]") or die $!; print $f $made; close $f }
while ($most ? $made < $most : !-e 'DIR/calm') {
    my $pid = fork() // die $!;
    if (!$pid) {
        for (1 .. 20) { next if fork(); select(undef, undef, undef, rand(0.05)); exit 0 }
        exit 0;
    }
    waitpid($pid, 0);
    $made += 20;
    note('made');
}
note('done');
sleep 1000;
`

// zombies watches the children of PID 1 and records since when each of them is a zombie.
type zombies struct {
	init  int
	since map[[2]int64]time.Time // by pid and start
	most  time.Duration
}

func (z *zombies) look() {
	now := time.Now()
	seen := map[[2]int64]time.Time{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, _ := os.ReadFile(path)
		p, ok := parseStat(string(data))
		if !ok || p.state != 'Z' || p.parent != z.init {
			continue
		}
		key := [2]int64{int64(p.pid), int64(p.start)}
		first, known := z.since[key]
		if !known {
			first = now
		}
		seen[key] = first
		z.most = max(z.most, now.Sub(first))
	}
	z.since = seen
}

func TestOrphans(t *testing.T) {
	const orphans = 4000
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  storm: {command: [%s, "%d"]}
`, script(t, dir, "storm.pl", stormScript), orphans)})
	z := &zombies{init: b.init}
	if !eventually(60*time.Second, 50*time.Millisecond, func() bool { z.look(); return b.file("done") != "" }) {
		t.Fatalf("only %q orphans were made within a minute", b.file("made"))
	}
	if !eventually(5*time.Second, 50*time.Millisecond, func() bool { z.look(); return len(childrenOf(b.init)) == 2 }) {
		t.Errorf("besides the supervisor and the service PID 1 still has children: %v", childrenOf(b.init))
	}
	t.Logf("%s orphans; the oldest zombie was %v old (looked at every 50 ms)", b.file("done"), z.most.Round(time.Millisecond))
	if z.most > 2*time.Second {
		t.Errorf("a zombie was %v old", z.most)
	}
	if st := b.state("storm"); st != "RUNNING" {
		t.Errorf("the service is %s", st)
	}
}

// A service exits 500 times with code 3 while thousands of orphans exit too.
func TestExitCodesInAStorm(t *testing.T) {
	const ends = 500
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  storm: {command: [%s, "0"]}
  three:
    command: [sh, -c, 'exit 3']
    autostart: false
    restart: {backoff: {first: 0s}, limit: {starts: %d, within: 1h, retry_every: 0s}}
`, script(t, dir, "storm.pl", stormScript), ends-1)})
	await(t, 20*time.Second, "the storm", func() bool { return b.file("made") != "" })
	if out, err := b.run("start", "three"); err != nil {
		t.Fatalf("cannot start it: %v: %s", err, out)
	}
	b.awaitState("three", "FATAL", time.Minute)
	made, _ := strconv.Atoi(strings.TrimSpace(b.file("made")))
	write(t, filepath.Join(dir, "calm"), "", 0o644)
	st, _ := b.status()
	svc, _ := st.service("three")
	if svc.Exit == nil || svc.Exit.Code != 3 || svc.Restarts != ends-1 {
		t.Errorf("after %d ends the status tells of %d restarts and of the end %+v", ends, svc.Restarts, svc.Exit)
	}
	others := func(text string) int { return b.stderr.count("service ended: name=three pid=") - b.stderr.count(text) }
	if !eventually(5*time.Second, 20*time.Millisecond, func() bool { return b.stderr.count(`how="exit code 3"`) == ends }) ||
		others(`how="exit code 3"`) != 0 {
		t.Errorf("exit code 3 is logged %d times, other ends of the service %d times", b.stderr.count(`how="exit code 3"`),
			others(`how="exit code 3"`))
	}
	t.Logf("%d times exit code 3 while %d orphans ended", b.stderr.count(`how="exit code 3"`), made)
}
