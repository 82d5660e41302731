package proc

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"golang.org/x/sys/unix"
)

// spoilIndexes makes the indexes of all logs those of an unknown layout.
func (s *stage) spoilIndexes() {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if name, _ := os.Readlink(fd); !strings.Contains(name, "memfd:log-index") {
			continue
		}
		f, err := os.OpenFile(fd, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte{0x99}, 0)
			f.Close()
		}
		s.say("spoilt: %v", err)
	}
}

// playUnknownLayout dies while a service and a command with a temporary log have more to write
// than their pipes hold.
func playUnknownLayout(s *stage) int {
	s.m.Adopted()
	s.output.Format = logs.FormatPrefix
	if s.first() {
		flood := "while [ ! -e " + s.dir + "/go ]; do sleep 0.01; done; yes flood | head -n 400000; exit 3"
		s.sh("service", "echo before; "+flood)
		l, _ := s.m.Logs.Open("out", s.output)
		for l.Text() != "before\n" {
			unix.Poll(nil, 2)
		}
		temporary, err := logs.NewTemporary("command")
		if err == nil {
			_, err = s.m.Start(context.Background(), Spec{ID: "command", Argv: []string{"/bin/sh", "-c", flood},
				Stdio: Stdio{Mode: Capture, Log: temporary, Merge: true}})
		}
		if err != nil {
			s.say("start: %v", err)
		}
		s.spoilIndexes()
		die()
	}
	os.WriteFile(s.dir+"/go", nil, 0o644)
	s.say("service %d, command %d", status(s.process("service")), status(s.process("command")))
	l, _ := s.m.Logs.Open("out", s.output)
	s.say("%d lines, logs %q", l.Stats().Lines, s.m.Logs.Names())
	return 0
}

// Output goes on where the supervisor cannot take over what was kept of it.
func TestPipesOfUnknownLayoutAreRead(t *testing.T) {
	r := runPlay(t, "unknown-layout")
	r.want(t, "spoilt: <nil>", "spoilt: <nil>", "service 3, command 3", `400000 lines, logs ["out"]`)
	if !strings.Contains(r.stderr, "cannot take over the output kept for out: its index has an unknown layout") {
		t.Errorf("stderr %q", r.stderr)
	}
	if !strings.Contains(r.stdout, "flood\n") {
		t.Error("nothing is forwarded")
	}
}

// The layout is that of earlier versions while the init may return to one: after an upgrade, but
// not once it has returned to its own binary.
func TestLayoutAfterUpgrade(t *testing.T) {
	for _, c := range []struct {
		binary *initproto.Binary
		old    bool
	}{
		{nil, false},
		{&initproto.Binary{Version: "1", Init: "1"}, false},
		{&initproto.Binary{Version: "2", Path: "/usr/bin/stoker", Init: "1", Count: 1}, true},
		{&initproto.Binary{Version: "1", Path: "/usr/bin/stoker", Init: "1", Count: 1}, true}, // built from other sources
		{&initproto.Binary{Version: "1", Init: "1", Count: 1, Failed: "2", Why: "ended"}, false},
	} {
		m := &Manager{Logs: logs.NewRegistry(logs.Config{})}
		m.noteWelcome(&initproto.Msg{Type: initproto.Welcome, Pid: 1, Starts: 1, Binary: c.binary})
		if m.Logs.OldLayout != c.old {
			t.Errorf("%+v: old layout %t", c.binary, m.Logs.OldLayout)
		}
	}
}
