package proc

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
)

// console types into the terminal of a process and reads from it.
type console struct {
	s *stage
	p *Process
}

// enter types a line, and reads until a text comes.
func (c console) enter(line, want string) {
	c.press(line+"\n", want)
}

func (c console) press(keys, want string) {
	tty := c.p.Terminal()
	if _, err := tty.WriteString(keys); err != nil {
		c.s.say("cannot type %q: %v", keys, err)
	}
	c.expect(want)
}

func (c console) expect(want string) {
	tty := c.p.Terminal()
	_ = tty.SetReadDeadline(time.Now().Add(10 * time.Second))
	var seen strings.Builder
	for buf := make([]byte, 4096); !strings.Contains(seen.String(), want); {
		n, err := tty.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			c.s.say("no %q in %q: %v", want, seen.String(), err)
			return
		}
	}
	c.s.say("%s", want)
}

// startTerminal starts a program on a terminal.
func (s *stage) startTerminal(spec Spec) console {
	spec.Env = append(os.Environ(), "PS1=> ", "DIR="+s.dir, "TERM=dumb")
	p, err := s.m.Start(context.Background(), spec)
	if err != nil {
		s.say("%v", err)
		os.Exit(1)
	}
	return console{s, p}
}

var terminalScripts = map[string]play{
	"terminal": {play: func(s *stage) int {
		if !s.first() {
			c := console{s, s.process("shell.1")}
			c.enter("echo ag''ain; stty size", "again\r\n40 120\r\n")
			c.p.HangUp()
			s.say("status %d", status(c.p))
			if _, err := os.Stat(s.dir + "/hangup"); err != nil {
				s.say("%v", err)
			}
			return 0
		}
		c := s.startTerminal(Spec{ID: "shell.1", Argv: []string{"/bin/bash", "--norc", "--noprofile", "--noediting", "-i"},
			Stdio: Stdio{Mode: Pty, Rows: 30, Columns: 100}})
		c.enter("test -t 0 && test -t 1 && test -t 2 && echo ter''minal", "terminal")
		c.enter("stty size", "30 100")
		if err := c.p.Resize(40, 120); err != nil {
			s.say("%v", err)
		}
		c.enter("stty size", "40 120")
		c.enter("ps -o stat= $$; echo gro''up $(ps -o tpgid= $$)", "group")
		c.enter(`sh -c 'echo sleep""s; exec sleep 1000'`, "sleeps")
		c.press("\x03", "^C")
		c.enter("echo status=$?", "status=130")
		c.enter(`exec sh -c 'trap "echo >$DIR/hangup; exit 3" HUP; echo rea""dy; `+
			`while read -r l; do eval "$l"; done; while :; do sleep 0.1; done'`, "ready")
		s.m.Adopted()
		die()
		return 0
	}},
	// A user may open its terminal by name, and what was written last can be read after the end.
	"terminal-user": {play: func(s *stage) int {
		u := &asuser.User{Name: "12345", UID: 12345, GID: 12345}
		c := s.startTerminal(Spec{ID: "user.1", User: u, Stdio: Stdio{Mode: Pty},
			Argv: []string{"/bin/sh", "-c", "echo opened >/dev/stdout; stty size; exit 4"}})
		<-c.p.Exited()
		c.expect("opened\r\n24 80\r\n")
		s.say("status %d", status(c.p))
		if _, err := c.p.Terminal().Read(make([]byte, 1)); err == nil {
			s.say("the terminal is open after Done")
		}
		return 0
	}},
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	runPlay(t, "terminal").want(t, "terminal", "30 100", "40 120", "group", "sleeps", "^C", "status=130", "ready",
		"again\r\n40 120\r\n", "status 3")
}

func TestTerminalOfAUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	runPlay(t, "terminal-user").want(t, "opened\r\n24 80\r\n", "status 4")
}
