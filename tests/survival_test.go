//go:build container

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shortScript logs its start, reads an exit code from a FIFO, logs its end and exits with that
// code. A lock shows if two of it run at once.
const shortScript = `
use Fcntl qw(:flock);
use Time::HiRes qw(time);
open(my $lock, '>>', 'DIR/lock') or die $!;
my $alone = flock($lock, LOCK_EX | LOCK_NB) ? 'alone' : 'OVERLAP';
open(my $log, '>>', 'DIR/record') or die $!;
syswrite($log, sprintf("start %d %s %.6f\n", $$, $alone, time));
open(my $codes, '<', 'DIR/codes') or die $!;
sysread($codes, my $code, 4) == 4 or die "cannot read a code";
$code += 0;
syswrite($log, sprintf("end %d %d %.6f\n", $$, $code, time));
kill 9, $$ if $code == 999;
exit $code;
`

const shortWait = 250 * time.Millisecond // between two starts

// survival is a box whose supervisor is killed repeatedly.
type survival struct {
	*box
	api    *apiClient
	codes  *os.File // the FIFO of exit codes
	kills  int
	within int // kills within 2 ms of an end of the short service
	seen   int // of them, those whose exit code the status showed
	next   int // expected starts of the short service
}

// victim waits for a supervisor and returns its pid.
func (s *survival) victim() int {
	pid := 0
	if !eventually(20*time.Second, time.Millisecond, func() bool { pid = s.supervisor(); return pid != 0 }) {
		s.t.Fatal("no supervisor was started within 20 s")
	}
	return pid
}

func (s *survival) kill(pid int) time.Time {
	at := time.Now()
	if syscall.Kill(pid, syscall.SIGKILL) == nil {
		s.kills++
	}
	return at
}

// killOften kills the supervisor at random times, also during a takeover.
func (s *survival) killOften(n int) {
	for range n {
		pause := time.Duration(rand.Int64N(int64(12 * time.Millisecond)))
		if rand.IntN(2) == 0 {
			pause = time.Duration(rand.Int64N(int64(120 * time.Millisecond)))
		}
		pass(pause)
		s.kill(s.victim())
	}
}

// record is a line of the short service's log.
type record struct {
	what string // start or end
	pid  int
	note string // start: alone or OVERLAP; end: the code
	at   time.Time
}

func (s *survival) records(what string) []record {
	var out []record
	for _, line := range s.lines("record") {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != what {
			continue
		}
		pid, _ := strconv.Atoi(f[1])
		at, _ := strconv.ParseFloat(f[3], 64)
		out = append(out, record{f[0], pid, f[2], time.UnixMicro(int64(at * 1e6))})
	}
	return out
}

// killAtEnd ends the short service and kills the supervisor at about the same time, in either
// order, and checks the reported exit.
func (s *survival) killAtEnd() {
	s.t.Helper()
	code := []int{0, 1, 3, 42, 255, 999}[rand.IntN(6)]
	offset := time.Duration(rand.Int64N(int64(3*time.Millisecond))) - 1500*time.Microsecond
	pid := s.victim()
	var killed time.Time
	if offset < 0 {
		killed = s.kill(pid)
		spin(-offset)
		s.tell(code)
	} else {
		s.tell(code)
		spin(offset)
		killed = s.kill(pid)
	}
	ends := s.next
	await(s.t, 10*time.Second, "the end of the short service", func() bool { return len(s.records("end")) == ends })
	ended := s.records("end")[ends-1].at
	if d := ended.Sub(killed).Abs(); d <= 2*time.Millisecond {
		s.within++
	}
	s.next++
	if s.checkExit(code) {
		s.seen++
	}
	s.checkNextStart(ended)
}

// tell sends the short service its exit code.
func (s *survival) tell(code int) { fmt.Fprintf(s.codes, "%03d\n", code) }

// spin waits for a time that is too short for a timer.
func spin(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// checkExit checks the reported exit; false: the next start came before it could be read.
func (s *survival) checkExit(code int) bool {
	s.t.Helper()
	var svc serviceStatus
	ok := eventually(10*time.Second, time.Millisecond, func() bool {
		var err error
		if svc, err = s.api.service("short"); err != nil {
			s.t.Fatal(err)
		}
		return svc.Exit != nil || svc.Restarts >= s.next-1
	})
	if !ok {
		s.t.Fatalf("the end with code %d is not reported: %+v", code, svc)
	}
	if svc.Exit == nil {
		return false
	}
	want := [2]int{code, 0}
	if code == 999 {
		want = [2]int{-1, int(syscall.SIGKILL)}
	}
	if got := [2]int{svc.Exit.Code, svc.Exit.Signal}; got != want {
		s.t.Errorf("kill %d: the service ended with code and signal %v, and %v is reported", s.kills, want, got)
	}
	return true
}

// checkNextStart waits for the next start, which must come no earlier and not much later than the
// configured delay.
func (s *survival) checkNextStart(ended time.Time) {
	s.t.Helper()
	await(s.t, 10*time.Second, "the next start of the short service", func() bool { return len(s.records("start")) >= s.next })
	starts := s.records("start")
	if gap := starts[len(starts)-1].at.Sub(ended); len(starts) != s.next || gap < shortWait || gap > shortWait+time.Second {
		s.t.Errorf("kill %d: start %d of %d came %v after the end, not after %v", s.kills, len(starts), s.next, gap, shortWait)
	}
	var svc serviceStatus
	if !eventually(5*time.Second, 5*time.Millisecond, func() bool {
		svc, _ = s.api.service("short")
		return svc.State == "RUNNING" && svc.Restarts == s.next-1
	}) {
		s.t.Errorf("kill %d: the short service is %s with %d restarts, not RUNNING with %d", s.kills, svc.State, svc.Restarts, s.next-1)
	}
}

// kill -9 of the supervisor at random times does not disturb a Tomcat under load, loses no exit and
// no start of a service that ends at the same time, and does not block a writer.
func TestSupervisorKilled(t *testing.T) {
	kills := number(t, "STOKER_KILLS", 150)
	dir := t.TempDir()
	tc := newTomcatBase(t, dir)
	if err := syscall.Mkfifo(filepath.Join(dir, "codes"), 0o600); err != nil {
		t.Fatal(err)
	}
	codes, err := os.OpenFile(filepath.Join(dir, "codes"), os.O_RDWR, 0) // read and write: it never reports EOF
	if err != nil {
		t.Fatal(err)
	}
	defer codes.Close()
	b := newBox(t, boxOptions{dir: dir, raw: true, config: fmt.Sprintf(`
main: tomcat
services: %s
  short:
    command: [%s]
    restart: {backoff: {first: %[3]v, factor: 1, max: %[3]v, jitter: 0}, limit: {starts: 100000}}
  writer:
    command: [%s]
`, tc.config(), script(t, dir, "short.pl", shortScript), shortWait, script(t, dir, "writer.pl", writerScript))})
	var lines numbered
	read := make(chan struct{})
	go func() { lines.follow(b.out); close(read) }() // ends with the box
	b.awaitState("tomcat", "RUNNING", 2*time.Minute)
	s := &survival{box: b, api: newAPIClient(b.socket), codes: codes, next: 1}
	before, err := s.api.service("tomcat")
	if err != nil {
		t.Fatal(err)
	}
	jvm := b.javas()
	load := newLoad(tc.url(), 2)
	for s.kills < kills && !t.Failed() {
		s.killAtEnd()
		s.killOften(1)
	}
	answered, failed, first := load.stop()
	t.Logf("%d kills; %d of them within 2 ms of the end of a service, %d exits seen in the status; %d requests answered, %d failed",
		s.kills, s.within, s.seen, answered, failed)
	s.checkTomcat(before, jvm)
	if failed > 0 || answered == 0 {
		t.Errorf("%d of %d requests failed: %s", failed, failed+answered, first)
	}
	s.checkShort()
	if s.within*5 < s.kills || s.seen*10 < (s.next-1)*9 {
		t.Errorf("the test has not tried enough: of %d kills %d near an end, of %d exits %d seen", s.kills, s.within, s.next-1, s.seen)
	}
	s.checkWriter(&lines)
	b.signal(syscall.SIGTERM)
	if code := b.wait(15 * time.Second); code != 0 {
		t.Errorf("the container's code is %d", code)
	}
	<-read
}

// checkTomcat checks that the same Tomcat has run all the time.
func (s *survival) checkTomcat(before serviceStatus, jvm []int) {
	s.t.Helper()
	after, err := s.api.service("tomcat")
	if err != nil {
		s.t.Fatal(err)
	}
	if now := s.javas(); after.Pid != before.Pid || len(jvm) != 1 || len(now) != 1 || now[0] != jvm[0] || after.Restarts != 0 ||
		after.State != "RUNNING" {
		s.t.Errorf("Tomcat was pid %d (JVMs %v) and is pid %d (JVMs %v), %s, %d restarts", before.Pid, jvm, after.Pid, now, after.State,
			after.Restarts)
	}
}

// checkShort checks that starts and ends alternate without overlap.
func (s *survival) checkShort() {
	s.t.Helper()
	starts, ends := s.records("start"), s.records("end")
	if len(starts) != len(ends)+1 || len(starts) != s.next {
		s.t.Errorf("%d starts, %d ends, and %d starts are right", len(starts), len(ends), s.next)
	}
	for k, start := range starts {
		if start.note != "alone" || k < len(ends) && ends[k].pid != start.pid {
			s.t.Errorf("start %d: pid %d, %s", k+1, start.pid, start.note)
		}
	}
}

// checkWriter checks that the writer did not block and that every missing line was counted.
func (s *survival) checkWriter(lines *numbered) {
	s.t.Helper()
	if out, err := s.run("stop", "writer"); err != nil {
		s.t.Fatalf("cannot stop the writer: %v: %s", err, out)
	}
	var total uint64
	var most, noise, rate float64
	var long int
	if n, err := fmt.Sscan(s.file("written"), &total, &most, &noise, &long, &rate); n != 5 {
		s.t.Fatalf("the writer's report is %q: %v", s.file("written"), err)
	}
	eventually(10*time.Second, 10*time.Millisecond, func() bool { return lines.lastLine() >= total })
	svc, err := s.api.service("writer")
	if err != nil || svc.Output == nil {
		s.t.Fatalf("cannot see the writer's output counted: %v", err)
	}
	lines.mu.Lock()
	defer lines.mu.Unlock()
	missing := lines.missing + total - lines.last
	s.t.Logf("writer: %d lines at %.2f MB/s; longest write %.1f ms (to /dev/null meanwhile %.1f ms), %d longer than 50 ms; "+
		"read %d lines, %d missing in %d gaps, %d repeated, %d broken; counted: %d dropped, %d lost",
		total, rate, most, noise, long, lines.read, missing, lines.gaps, lines.repeated, len(lines.broken), svc.Output.DroppedLines,
		svc.Output.LostLines)
	s.checkBlocked(long, most, noise)
	if counted := svc.Output.DroppedLines + svc.Output.LostLines; missing != counted {
		s.t.Errorf("%d lines are missing and %d are counted", missing, counted)
	}
	if lines.repeated > 0 || len(lines.broken) > lines.gaps {
		s.t.Errorf("%d lines came twice or late; broken in %d gaps: %q", lines.repeated, lines.gaps, lines.broken)
	}
}

// around returns stoker's log of the second before a time and a moment after it.
func (s *survival) around(at time.Time) string {
	var out []string
	near := false
	for _, line := range strings.Split(s.stderr.String(), "\n") {
		stamp, _, _ := strings.Cut(line, " ")
		if t, err := time.Parse("2006-01-02T15:04:05.000Z0700", stamp); err == nil {
			near = t.After(at.Add(-time.Second)) && t.Before(at.Add(200*time.Millisecond))
		}
		if near {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// checkBlocked checks how long the writer was blocked. Its pipe holds 100 ms of output. That is too
// short only if a successor is killed before it has taken over on a busy machine: one on which a write to
// /dev/null takes many milliseconds, noise at most.
func (s *survival) checkBlocked(long int, most, noise float64) {
	s.t.Helper()
	busy := 1 + noise/10
	if allowed := int(float64(1+s.kills/100) * busy); long > allowed || most > 1000*busy {
		s.t.Errorf("%d writes took more than 50 ms (in %d kills %d may), the longest %.1f ms", long, s.kills, allowed, most)
	}
	for _, line := range s.lines("long") {
		var at, ms float64
		fmt.Sscan(line, &at, &ms)
		end := time.UnixMicro(int64(at * 1e6))
		s.t.Logf("a write of %.1f ms ended at %v:\n%s", ms, end.UTC(), s.around(end))
	}
}
