package proc

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"golang.org/x/sys/unix"
)

// late starts a shell command whose log is made when it is needed.
func (s *stage) late(id, script string) *Process {
	p, err := s.m.Start(context.Background(), Spec{ID: id, Argv: []string{"/bin/sh", "-c", script}, Env: append(os.Environ(), "DIR="+s.dir),
		Stdio: Stdio{Mode: Capture, OwnLog: &logs.Options{Format: logs.FormatPrefix, Title: "late " + id}}})
	if err != nil {
		s.say("start %s: %v", id, err)
		os.Exit(1)
	}
	return p
}

// logs waits for the logs to be those, and says which there are.
func (s *stage) logs(what string, want ...string) {
	for until := time.Now().Add(20 * time.Second); strings.Join(s.m.Logs.Names(), " ") != strings.Join(want, " ") &&
		time.Now().Before(until); {
		unix.Poll(nil, 5)
	}
	s.say("%s: %q", what, s.m.Logs.Names())
}

// playLate runs commands that say nothing, something, or something after they were
// given up, and dies while some have not said anything yet.
func playLate(s *stage) int {
	s.m.Adopted()
	if s.first() {
		silent := s.late("silent", "exit 3")
		code := status(silent)
		s.say("silent: code %d, tail %q, logs %q", code, tail(silent), s.m.Logs.Names())
		p := s.late("talks", "echo out; echo err >&2")
		<-p.Exited()
		_, stderr := p.Tail(100)
		s.say("tail %q, stderr %q", slices.Sorted(slices.Values(strings.Fields(tail(p)))), stderr)
		p.Done()
		p = s.late("daemon", "(while [ ! -e $DIR/daemon ]; do sleep 0.01; done; echo of the daemon; while [ ! -e $DIR/over ]; do sleep 0.01; done) & exit 0")
		s.say("daemon: code %d", status(p))
		os.WriteFile(s.dir+"/daemon", nil, 0o644)
		s.logs("it has written", "daemon")
		os.WriteFile(s.dir+"/over", nil, 0o644)
		s.logs("all is passed on")
		s.say("left: code %d", status(s.late("left", "(while [ ! -e $DIR/go ]; do sleep 0.01; done; echo of what was left; while [ ! -e $DIR/end ]; do sleep 0.01; done) & exit 0")))
		s.late("wrote", "echo before; while [ ! -e $DIR/go ]; do sleep 0.01; done; echo after")
		s.late("waits", "while [ ! -e $DIR/go ]; do sleep 0.01; done; echo at last")
		s.late("never", "while [ ! -e $DIR/go ]; do sleep 0.01; done")
		s.logs("one has written", "wrote")
		die()
	}
	s.say("found: %q", s.m.Logs.Names())
	os.WriteFile(s.dir+"/go", nil, 0o644)
	for _, id := range []string{"wrote", "waits", "never"} {
		p := s.process(id)
		<-p.Exited()
		s.say("%s: tail %q", id, tail(p))
		p.Done()
	}
	s.logs("that has written", "left")
	os.WriteFile(s.dir+"/end", nil, 0o644)
	s.logs("end")
	return 0
}

func TestLateLogs(t *testing.T) {
	t.Parallel()
	out := performance{script: "late"}.run(t)
	const said = `silent: code 3, tail "", logs []
tail ["err" "out"], stderr "err\n"
daemon: code 0
it has written: ["daemon"]
all is passed on: []
left: code 0
one has written: ["wrote"]
found: ["wrote"]
wrote: tail "before\nafter\n"
waits: tail "at last\n"
never: tail ""
that has written: ["left"]
end: []
`
	if out.said != said {
		t.Errorf("%s", out.said)
	}
	// The next supervisor may pass on once more what the killed one has passed on.
	for line, most := range map[string]int{"late talks | out": 2, "late daemon | of the daemon": 2, "late wrote | before": 2,
		"late left | of what was left": 1, "late wrote | after": 1, "late waits | at last": 1} {
		if n := strings.Count(out.stdout, line+"\n"); n < 1 || n > most {
			t.Errorf("%q is %d times in the output, not once to %d times:\n%s", line, n, most, out.stdout)
		}
	}
	if !strings.Contains(out.stderr, "late talks | err\n") {
		t.Errorf("stderr: %s", out.stderr)
	}
}

func tail(p *Process) string {
	all, _ := p.Tail(100)
	return all
}
