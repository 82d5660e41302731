//go:build container

package tests

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal is a pty with a command on it, driven like a person at a terminal.
type terminal struct {
	t      testing.TB
	master *os.File
	slave  *os.File // kept open, so that its settings can be read at the end
	cmd    *exec.Cmd
	screen capture
	read   int // the part of the screen already checked
	over   chan struct{}
	code   int // once over is closed
}

// newTerminal starts a command in a new session on a new terminal.
func newTerminal(t testing.TB, command ...string) *terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, master: master, slave: slave, cmd: exec.Command(command[0], command[1:]...), over: make(chan struct{})}
	tm.resize(24, 80)
	tm.cmd.Stdin, tm.cmd.Stdout, tm.cmd.Stderr = slave, slave, slave
	tm.cmd.Env = append(os.Environ(), "TERM=dumb", "PS1=ready> ")
	tm.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := tm.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go tm.screen.read(master) // ends when both ends are closed
	go func() {               // ends with the command
		tm.code = exitCode(tm.cmd.Wait())
		close(tm.over)
	}()
	t.Cleanup(func() {
		tm.cmd.Process.Kill()
		<-tm.over
		slave.Close()
		master.Close()
		if t.Failed() {
			t.Logf("the screen:\n%s", tm.screen.String())
		}
	})
	return tm
}

func (tm *terminal) resize(rows, columns uint16) {
	tm.t.Helper()
	if err := pty.Setsize(tm.master, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		tm.t.Fatal(err)
	}
}

// press types keys.
func (tm *terminal) press(keys string) {
	tm.t.Helper()
	if _, err := tm.master.WriteString(keys); err != nil {
		tm.t.Fatal(err)
	}
}

// expect waits for a text after the last expected one.
func (tm *terminal) expect(text string) {
	tm.t.Helper()
	if !eventually(15*time.Second, 5*time.Millisecond, func() bool { return strings.Contains(tm.unread(), text) }) {
		tm.t.Fatalf("%q did not appear; since the last look there is %q", text, tm.unread())
	}
	tm.read += strings.Index(tm.unread(), text) + len(text)
}

func (tm *terminal) unread() string { return tm.screen.String()[tm.read:] }

// enter types a line at the prompt.
func (tm *terminal) enter(line string) {
	tm.t.Helper()
	tm.press(line + "\n")
	tm.expect(line) // its echo
	tm.expect("\n")
}

// wait returns the exit code.
func (tm *terminal) wait() int {
	tm.t.Helper()
	select {
	case <-tm.over:
		return tm.code
	case <-time.After(15 * time.Second):
		tm.t.Fatal("the command does not end")
		return -1
	}
}

func (tm *terminal) settings() unix.Termios {
	tm.t.Helper()
	state, err := unix.IoctlGetTermios(int(tm.slave.Fd()), unix.TCGETS)
	if err != nil {
		tm.t.Fatal(err)
	}
	return *state
}

// Control characters of a terminal with default settings.
const (
	interrupt = "\x03" // ^C
	suspend   = "\x1a" // ^Z
	quit      = "\x1c" // ^\
)

// Programs for the shell. The echoed command line must not contain the expected output. patient says when it comes to the foreground:
// the shell prints the command before that.
const (
	patient = `perl -MPOSIX -e '$| = 1; $SIG{CONT} = sub { print "back\n" }; print "go\n"; ` +
		`for (my $f = 1;; select undef, undef, undef, .02) { my $now = tcgetpgrp(0) == getpgrp; print "front\n" if $now > $f; $f = $now }'`
	counter = `perl -e '$| = 1; my $n = 0; $SIG{INT} = sub { $n++; print "int $n\n" }; $SIG{QUIT} = sub { print "in all $n\n"; exit 5 }; print "go\n"; sleep 1 while 1'`
	watcher = `perl -e '$| = 1; $SIG{WINCH} = sub { print "winch\n" }; print "go\n"; sleep 1 while 1'`
)

// jobControl tests ^Z, fg and bg in a shell.
func (tm *terminal) jobControl() {
	tm.t.Helper()
	tm.expect("ready> ")
	tm.enter("sleep 100 &")
	tm.expect("ready> ")
	tm.enter("jobs")
	tm.expect("Running")
	tm.enter("kill %1; wait %1; echo killed=$?")
	tm.expect("killed=143")

	tm.enter(patient)
	tm.expect("go\r\n")
	tm.press(suspend)
	tm.expect("Stopped")
	tm.enter("bg")
	tm.expect("back\r\n")
	tm.enter("jobs")
	tm.expect("Running")
	tm.enter("fg")
	tm.expect("front\r\n")
	tm.enter("") // read by the foreground program, not by the shell
	tm.press(suspend)
	tm.expect("Stopped")
	tm.enter("fg")
	tm.expect("back\r\n")
	tm.press(interrupt)
	tm.expect("ready> ")
	tm.enter("echo code=$? jobs=$(jobs | wc -l)")
	tm.expect("code=130 jobs=0")
}

// keysAndSize checks that a key press sends one signal to the foreground job only, and that a new
// window size arrives.
func (tm *terminal) keysAndSize() {
	tm.t.Helper()
	tm.enter(counter)
	tm.expect("go\r\n")
	for _, said := range []string{"int 1\r\n", "int 2\r\n", "int 3\r\n"} {
		tm.press(interrupt)
		tm.expect(said)
		if !holds(100*time.Millisecond, func() bool { return !strings.Contains(tm.unread(), "int") }) {
			tm.t.Errorf("one key press is more than one signal: %q", tm.unread())
		}
	}
	tm.press(quit)
	tm.expect("in all 3\r\n")
	tm.enter("echo code=$?")
	tm.expect("code=5")
	tm.enter(watcher)
	tm.expect("go\r\n")
	tm.resize(37, 119)
	tm.expect("winch\r\n")
	tm.press(interrupt)
	tm.expect("ready> ")
	tm.enter("stty size")
	tm.expect("37 119")
}

func TestTerminalInDocker(t *testing.T) {
	needsImage(t, "stoker-demo")
	tm := newTerminal(t, "docker", "run", "--rm", "-it", "-e", "PS1=ready> ", "-e", "TERM=dumb", "stoker-demo", "bash", "--norc",
		"--noediting")
	tm.jobControl()
	tm.keysAndSize()
	tm.enter("exit 42")
	if code := tm.wait(); code != 42 {
		t.Errorf("docker run ends with %d, not 42", code)
	}
}

func TestTerminalInANamespace(t *testing.T) {
	needsNamespaces(t)
	tm := newTerminal(t, "unshare", "-pfm", "--mount-proc", "--kill-child", stoker(t), "run", "--set", "api.socket="+t.TempDir()+"/api.sock",
		"--", "bash", "--norc", "--noediting")
	before := tm.settings()
	tm.jobControl()
	tm.keysAndSize()
	tm.enter("stty raw -echo; exit 43")
	if code := tm.wait(); code != 43 {
		t.Errorf("it ends with %d, not 43", code)
	}
	if after := tm.settings(); after != before {
		t.Errorf("the terminal's settings were %+v and are %+v", before, after)
	}
}

// Run from a shell: afterwards the shell has its terminal settings and the foreground again, also
// if the command was killed in raw mode.
func TestTerminalFromAShell(t *testing.T) {
	needsNamespaces(t)
	tm := newTerminal(t, "bash", "--norc", "--noediting")
	tm.expect("ready> ")
	tm.enter("a=$(stty -g)")
	tm.expect("ready> ")
	tm.enter(stoker(t) + " run --set api.socket=" + t.TempDir() + "/api.sock -- bash --norc --noediting")
	tm.jobControl()
	tm.keysAndSize()
	tm.expect("ready> ") // of the inner shell
	tm.enter("stty raw -echo; kill -9 $$")
	tm.expect("ready> ")
	tm.enter("echo code=$?")
	tm.expect("code=137")
	tm.enter(`test "$a" = "$(stty -g)" && echo sa''me settings`)
	tm.expect("same settings")
	tm.enter(counter)
	tm.expect("go\r\n")
	tm.press(interrupt) // reaches the foreground job of this shell
	tm.expect("int 1\r\n")
	tm.press(quit)
	tm.expect("ready> ")
	tm.enter("exit 7")
	if code := tm.wait(); code != 7 {
		t.Errorf("the shell ends with %d, not 7", code)
	}
}
