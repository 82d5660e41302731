package pid1

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// testCommand is the command of the scripts whose name begins with alone.
func testCommand(script, dir string) *Command {
	if !strings.HasPrefix(script, "alone") {
		return nil
	}
	budget := 300 * time.Millisecond
	line := "echo ran >>" + dir + "/ran; (sleep 0.1 &); exit 6"
	if script == "alone-signals" {
		budget = time.Minute
		line = "trap 'echo usr1 >>" + dir + "/said' USR1; trap 'exit 9' TERM; echo up >>" + dir + "/said; while :; do sleep 0.05; done"
	}
	if script == "alone-deaf" {
		line = "trap '' TERM; echo up >>" + dir + "/said; while :; do sleep 0.05; done"
	}
	return &Command{Argv: []string{"sh", "-c", line}, Env: os.Environ(), Find: func() (string, int, error) { return "/bin/sh", 0, nil },
		Budget: func() time.Duration { return budget }}
}

func aloneDies(*player, int) int { return 9 }

// aloneTakesBack could not make the child that it meant to.
func aloneTakesBack(p *player, _ int) int {
	p.Send(&initproto.Msg{Type: initproto.Put, Name: "kept"})
	p.Send(&initproto.Msg{Type: initproto.Put, Name: "proc/a", Intent: true})
	p.Send(&initproto.Msg{Type: initproto.Del, Name: "proc/a"})
	return 9
}

// aloneStarted has started the command; the next one ends with it.
func aloneStarted(p *player, life int) int {
	if life > 1 {
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 3})
		return p.wait()
	}
	p.exit(p.child("proc/a", "/bin/sh", "-c", "echo ran >>"+p.dir+"/ran"))
	p.Send(&initproto.Msg{Type: initproto.Del, Name: "proc/a"})
	return 9
}

// aloneIntends dies between the intent and the record.
func aloneIntends(p *player, life int) int {
	if life > 1 {
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 3})
		return p.wait()
	}
	p.Send(&initproto.Msg{Type: initproto.Put, Name: "proc/a", Intent: true})
	p.start("/bin/sh", "-c", "echo ran >>"+p.dir+"/ran")
	waitFile(p.dir + "/ran")
	return 9
}

// The init runs the command itself if no supervisor has begun to, and never twice.
func TestCommandAlone(t *testing.T) {
	for script, code := range map[string]int{"alone-dies": 6, "alone-takes-back": 6, "alone-started": 3, "alone-intends": 3} {
		t.Run(script, func(t *testing.T) {
			both(t, func(t *testing.T, asPID1 bool) {
				c := launch(t, script, asPID1)
				c.wantCode(code)
				if n := strings.Count(read(c.dir+"/ran"), "ran"); n != 1 {
					t.Errorf("the command was started %d times", n)
				}
				if said := strings.Contains(c.log(), "running sh without a supervisor"); said != (code == 6) {
					t.Errorf("the init says %q", c.log())
				}
			})
		})
	}
}

func TestSignalsOfCommandAlone(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "alone-signals", asPID1)
		c.said("up")
		unix.Kill(c.pid(), unix.SIGUSR1)
		c.said("usr1")
		unix.Kill(c.pid(), unix.SIGTERM)
		c.wantCode(9)
	})
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "alone-deaf", asPID1)
		c.said("up")
		unix.Kill(c.pid(), unix.SIGTERM)
		c.wantCode(128 + int(unix.SIGKILL))
	})
}

// storm ends six times under a storm of orphans, signals and output that is not read.
func storm(p *player, life int) int {
	switch life {
	case 1:
		var out [2]int
		unix.Pipe2(out[:], unix.O_CLOEXEC)
		p.Send(&initproto.Msg{Type: initproto.Put, Name: "log", Fds: out[:1], Pipes: []int{0}})
		p.Send(&initproto.Msg{Type: initproto.Put, Name: "bomb", Intent: true})
		pid := p.startOut(out[1], "/bin/sh", "-c", "while :; do echo line; ( (exit 1) & ); kill -USR1 "+strconv.Itoa(os.Getppid())+"; done")
		p.Send(&initproto.Msg{Type: initproto.Put, Name: "bomb", Pid: pid})
		p.Send(&initproto.Msg{Type: initproto.Ping})
		p.say("up")
		waitFile(p.dir + "/counted")
	case 7:
		p.say("over")
		waitFile(p.dir + "/end")
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 4})
		return p.wait()
	default:
		p.Send(&initproto.Msg{Type: initproto.Ping})
	}
	for until := time.Now().Add(1200 * time.Millisecond); time.Now().Before(until); {
		unix.Poll(nil, 20) // the pipe fills, and messages are not taken
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	return 0
}

// The init has every thread before the first child of a service, and makes none after it.
func TestNoThreadAfterFirstChild(t *testing.T) {
	c := launch(t, "storm", true)
	c.said("up")
	before := threadsOf(t, c.pid())
	os.WriteFile(c.dir+"/counted", nil, 0o600)
	c.said("over")
	if after := threadsOf(t, c.pid()); len(after) != len(before) {
		t.Errorf("%d threads, and %d before the storm", len(after), len(before))
	}
	os.WriteFile(c.dir+"/end", nil, 0o600)
	c.wantCode(4)
}

func threadsOf(t *testing.T, pid int) []os.DirEntry {
	t.Helper()
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}
