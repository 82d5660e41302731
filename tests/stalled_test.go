//go:build container

package tests

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// chattyScript writes numbered lines of 100 bytes, about 10 MB/s, and logs its progress.
const chattyScript = `
$| = 1;
my $n = 0;
for (;;) {
    print map { $n++; sprintf "T%09d %088d\n", $n, 0 } 1 .. 100 or die $!;
    open(my $f, '>', 'DIR/said.new') or die $!;
    print $f $n;
    close $f;
    rename 'DIR/said.new', 'DIR/said';
    select(undef, undef, undef, 0.001);
}
`

func newChatty(t *testing.T) (b *box, said func() int) {
	dir := t.TempDir()
	b = newBox(t, boxOptions{dir: dir, raw: true, joined: true, config: fmt.Sprintf(`
stop: {timeout: 3s}
services:
  talker: {command: [%s]}
`, script(t, dir, "chatty.pl", chattyScript))})
	return b, func() int { n, _ := strconv.Atoi(b.file("said")); return n }
}

// The container's output is not read: the service does not block, the API answers, and stops end
// in time. A reader that comes back finds the missed lines counted and the rest in order.
func TestReaderStalls(t *testing.T) {
	b, said := newChatty(t)
	await(t, 20*time.Second, "30000 lines without a reader", func() bool { return said() > 30_000 })
	for range 10 {
		start := b.timed("help") // which asks no supervisor
		if took := b.timed("status"); took > 200*time.Millisecond+4*start {
			t.Errorf("status took %v, and a command that does nothing %v", took, start)
		}
	}
	if took := b.timed("stop", "talker"); took > 500*time.Millisecond {
		t.Errorf("the stop took %v", took)
	}
	from := said()
	if err := os.Remove(filepath.Join(b.dir, "said")); err != nil {
		t.Fatal(err)
	}
	b.timed("start", "talker")
	await(t, 20*time.Second, "30000 lines of the next one without a reader", func() bool { return said() > 30_000 })
	if took := b.timed("stop", "talker"); took > 500*time.Millisecond {
		t.Errorf("the second stop took %v", took)
	}
	total := uint64(from/100*100) + uint64(said()) // at least: the count has gone on since
	var read, marked, broken atomic.Uint64
	go func() { // ends with the box
		mark := regexp.MustCompile(`^stoker: (\d+) lines \(\d+ bytes\) of the output of talker were dropped here`)
		last := ""
		for in := bufio.NewReader(b.out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\n")
			if m := mark.FindStringSubmatch(line); m != nil {
				n, _ := strconv.ParseUint(m[1], 10, 64)
				marked.Add(n)
				last = ""
			} else if strings.HasPrefix(line, "T0") {
				read.Add(1)
				if len(line) != 99 || line[:10] <= last && line[:10] != "T000000001" {
					broken.Add(1)
				}
				last = line[:min(10, len(line))]
			}
		}
	}()
	var svc serviceStatus
	if !eventually(10*time.Second, 50*time.Millisecond, func() bool {
		svc, _ = newAPIClient(b.socket).service("talker")
		return svc.Output != nil && read.Load()+marked.Load() == svc.Output.Lines
	}) {
		t.Errorf("%d lines were read and %d are marked as dropped; the status tells of %+v", read.Load(), marked.Load(), svc.Output)
	}
	if svc.Output != nil && (svc.Output.DroppedLines != marked.Load() || svc.Output.LostLines != 0) {
		t.Errorf("%d lines are marked as dropped; the status tells of %+v", marked.Load(), svc.Output)
	}
	t.Logf("%d lines read, %d dropped, at least %d written, %d cut or out of order", read.Load(), marked.Load(), total, broken.Load())
	if marked.Load() == 0 || read.Load()+marked.Load() < total || broken.Load() > 1 {
		t.Errorf("%d lines read, %d dropped, at least %d written, %d cut or out of order", read.Load(), marked.Load(), total, broken.Load())
	}
	b.signal(syscall.SIGTERM)
	b.wait(4 * time.Second)
}

// TERM without a reader: the container ends in time.
func TestTermWhileReaderStalls(t *testing.T) {
	t.Parallel()
	b, said := newChatty(t)
	await(t, 20*time.Second, "30000 lines without a reader", func() bool { return said() > 30_000 })
	// The supervisor is killed while its writes block; those of the next one block too.
	b.killSupervisor()
	from := said()
	await(t, 20*time.Second, "30000 more lines", func() bool { return said() > from+30_000 })
	at := time.Now()
	b.signal(syscall.SIGTERM)
	code := b.wait(4 * time.Second)
	if took := time.Since(at); took > 3200*time.Millisecond || code != 0 {
		t.Errorf("the end took %v of 3s, with code %d", took, code)
	}
}
