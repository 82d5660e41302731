package proc

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"golang.org/x/sys/unix"
)

// playRetire runs commands that have a log each, as many as there are fds twice
// over, and dies while one of them writes.
func playRetire(s *stage) int {
	fds := func() int {
		all, _ := os.ReadDir("/proc/self/fd")
		return len(all)
	}
	settled := func(what string) {
		for until := time.Now().Add(20 * time.Second); len(s.m.Logs.Names()) > 0 && time.Now().Before(until); {
			unix.Poll(nil, 5)
		}
		s.say("%s: logs %q", what, s.m.Logs.Names())
	}
	s.m.Adopted()
	if s.first() {
		before, routines := 0, 0
		for k := range 60 {
			name := fmt.Sprintf("cmd/%d", k)
			p := s.service(name, fmt.Sprintf("echo line %d; printf 'rest %d' >&2", k, k),
				logs.Options{Format: logs.FormatPrefix, Title: "the title"})
			<-p.Exited()
			s.m.Logs.Get(name).Retire()
			p.Done()
			if k == 20 {
				settled("some")
				before, routines = fds(), runtime.NumGoroutine()
			}
		}
		settled("all")
		// Waiting for what the kernel and the runtime still clean up.
		for until := time.Now().Add(10 * time.Second); (fds() > before || runtime.NumGoroutine() > routines) && time.Now().Before(until); {
			unix.Poll(nil, 5)
		}
		s.say("more fds %t, more goroutines %t", fds() > before, runtime.NumGoroutine() > routines)
		p := s.service("long", "echo before; while [ ! -e $DIR/go ]; do sleep 0.01; done; echo after; sleep 1000 & ",
			logs.Options{Format: logs.FormatPrefix, Title: "long one"})
		for until := time.Now().Add(10 * time.Second); s.m.Logs.Get("long").Stats().Bytes == 0 && time.Now().Before(until); {
			unix.Poll(nil, 5)
		}
		s.m.Logs.Get("long").Retire() // it is still written to
		_ = p
		die()
	}
	for name := range s.rec.Blobs {
		s.say("left in the fd store: %s", name)
	}
	s.say("found: %q", s.m.Logs.Names())
	p := s.process("long.1")
	s.m.Logs.Get("long").Retire()
	os.WriteFile(s.dir+"/go", nil, 0o644)
	<-p.Exited()
	p.SignalGroup(unix.SIGKILL)
	p.Done()
	settled("end")
	return 0
}

func TestRetiredLogsAreGone(t *testing.T) {
	t.Parallel()
	out := performance{script: "retire"}.run(t)
	for k := range 60 {
		if want := fmt.Sprintf("the title | line %d\n", k); strings.Count(out.stdout, want) != 1 {
			t.Errorf("%q is %d times in the output", want, strings.Count(out.stdout, want))
		}
		if want := fmt.Sprintf("the title | rest %d", k); !strings.Contains(out.stderr+"\n", want+"\n") &&
			!strings.Contains(out.stderr, want+"stoker: ") {
			t.Errorf("%q is not in stderr", want)
		}
	}
	if !strings.HasSuffix(out.stdout, "long one | before\nlong one | after\n") {
		t.Errorf("the output ends with %q", out.stdout[max(0, len(out.stdout)-100):])
	}
	const said = "some: logs []\nall: logs []\nmore fds false, more goroutines false\nfound: [\"long\"]\nend: logs []\n"
	if out.said != said {
		t.Errorf("%s", out.said)
	}
}

// playRetireAgain retires a log with a file, takes it up again while its process
// writes, and gives it up for good while it is read.
func playRetireAgain(s *stage) int {
	o := logs.Options{Format: logs.FormatNone, File: &logfile.Options{Path: s.dir + "/file"}}
	l, err := s.m.Logs.Open("a", o)
	if err != nil {
		s.say("%v", err)
		return 1
	}
	p, err := s.m.Start(context.Background(), Spec{ID: "a.1", Argv: []string{"/bin/sh", "-c", "echo one; exec sleep 1000"}, Env: os.Environ(),
		Stdio: Stdio{Mode: Capture, Log: l}})
	if err != nil {
		s.say("%v", err)
		return 1
	}
	l.Retire()
	again, err := s.m.Logs.Open("a", o)
	s.say("the same %t, %v", again == l, err)
	for until := time.Now().Add(10 * time.Second); l.Stats().Bytes == 0 && time.Now().Before(until); {
		unix.Poll(nil, 5)
	}
	p.SignalGroup(unix.SIGKILL)
	<-p.Exited()
	p.Done()
	s.say("kept %q %q", s.m.Logs.Names(), l.Text())
	read := make(chan error)
	go func() { // ends with the log
		read <- l.Lines(context.Background(), 0, true, func(line logs.Line) error { s.say("read %s", line.Text); return nil })
	}()
	for until := time.Now().Add(10 * time.Second); !strings.Contains(s.heard(), "read one") && time.Now().Before(until); {
		unix.Poll(nil, 5)
	}
	l.Retire()
	s.say("the reader ends: %v", <-read)
	file, err := os.ReadFile(s.dir + "/file")
	s.say("gone %q %q %d, file %q %v", s.m.Logs.Names(), l.Text(), l.Stats().Lines, file, err)
	return 0
}

// heard is what was said so far.
func (s *stage) heard() string {
	data, err := os.ReadFile(s.dir + "/said")
	if err != nil {
		return ""
	}
	return string(data)
}

func TestRetiredLogIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	runPlay(t, "retire-again").want(t, "the same true, <nil>", `kept ["a"] "one\n"`, "read one", "the reader ends: <nil>",
		`gone [] "" 1, file "one\n" <nil>`)
}
