//go:build container

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const lastLines = 10_000

// newLastTalker has a service that writes and exits at once.
func newLastTalker(t *testing.T, joined bool) *box {
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, joined: joined, config: fmt.Sprintf(`
services:
  talker:
    command: [%s, "%d"]
    autostart: false
    restart: {policy: never}
    success_codes: [3]
`, script(t, dir, "talker.pl", `my $out = join '', map { sprintf "line %05d\n", $_ } 1 .. $ARGV[0];
for (my $done = 0; $done < length $out;) { $done += syswrite(STDOUT, $out, length($out) - $done, $done) // die $! }
exit 3;
`), lastLines)})
	b.awaitState("talker", "STOPPED", 10*time.Second)
	return b
}

// Everything that a service writes right before its end is kept and forwarded in order.
func TestLastLines(t *testing.T) {
	t.Parallel()
	b := newLastTalker(t, false)
	for round := range 5 {
		b.timed("start", "talker")
		await(t, 10*time.Second, "the record of the end", func() bool { return b.stderr.count("service ended: name=talker") == round+1 })
		b.awaitState("talker", "EXITED", 5*time.Second)
		out, err := b.run("logs", "-n", fmt.Sprint(lastLines), "talker")
		if err != nil {
			t.Fatalf("cannot show the output: %v: %s", err, lastOf(out, 300))
		}
		checkLines(t, fmt.Sprintf("round %d, in stoker logs", round), out)
		await(t, 5*time.Second, "the last line", func() bool { return b.stdout.count(fmt.Sprintf("line %05d\n", lastLines)) == round+1 })
		all := b.stdout.String()
		checkLines(t, fmt.Sprintf("round %d, on stdout", round), all[strings.LastIndex(all, "line 00001\n"):])
	}
}

// checkLines checks the lines of one run and their order.
func checkLines(t *testing.T, where, out string) {
	t.Helper()
	next := 1
	for _, line := range strings.Split(out, "\n") {
		if !strings.HasPrefix(line, "line ") {
			continue
		}
		if want := fmt.Sprintf("line %05d", next); line != want {
			t.Fatalf("%s: %q where %q should be", where, line, want)
		}
		next++
	}
	if next-1 != lastLines {
		t.Fatalf("%s: %d lines of %d", where, next-1, lastLines)
	}
}
