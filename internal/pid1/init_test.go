package pid1

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// The test binary plays three parts: the test, the init (role "init") and a
// scripted supervisor (role "supervisor", script in its second argument).
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "test-init":
		sigs := Catch()
		os.Exit(Run(sigs, Options{Args: []string{"test-supervisor", os.Args[1], os.Args[2]}, Env: os.Environ(), Log: os.Stderr, Version: "v1",
			Command: func() *Command { return testCommand(os.Args[1], os.Args[2]) }}))
	case "test-supervisor":
		playSupervisor(os.Args[1], os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// player is the scripted supervisor's side of the wire.
type player struct {
	*initproto.Conn
	dir     string
	welcome *initproto.Msg
	items   map[string]*initproto.Msg
	events  []*initproto.Msg // what came before Ready
}

// script is one supervisor; life counts from 1 for the first of the container.
type script func(p *player, life int) (code int)

var scripts = map[string]script{
	"exit3": func(p *player, _ int) int {
		pid := p.child("job", "/bin/sh", "-c", "exit 3")
		x := p.exit(pid)
		p.Send(&initproto.Msg{Type: initproto.Final, Code: x.WaitStatus().ExitStatus()})
		return p.wait()
	},
	// It goes on for ever with a stop, and says each time that it works.
	"endless": func(p *player, _ int) int {
		p.child("deaf", "/bin/sh", "-c", "trap '' TERM; while :; do sleep 60; done")
		p.Send(&initproto.Msg{Type: initproto.Put, Name: initproto.StopPlan, Body: []byte(initproto.BudgetLine(700 * time.Millisecond))})
		p.Send(&initproto.Msg{Type: initproto.Ping})
		p.say("up")
		for {
			switch m := p.recv(); m.Type {
			case initproto.Check:
				p.Send(&initproto.Msg{Type: initproto.Ping})
			case initproto.Signal:
				p.Send(&initproto.Msg{Type: initproto.Ack, Seq: m.Seq})
			}
		}
	},
	// The first life is killed with an exit unacknowledged, a blob and a
	// descriptor in the fd store, and an intent whose pid is unknown.
	"survive": func(p *player, life int) int {
		if life == 1 {
			var fds [2]int
			unix.Pipe2(fds[:], unix.O_CLOEXEC)
			unix.Write(fds[1], []byte("in the pipe"))
			p.Send(&initproto.Msg{Type: initproto.Put, Name: "pipe", Body: []byte("blob"), Fds: []int{fds[0]}})
			a := p.child("acked", "/bin/sh", "-c", "exit 4")
			p.Send(&initproto.Msg{Type: initproto.Ack, Seq: p.exit(a).Seq})
			b := p.child("unacked", "/bin/sh", "-c", "exit 5")
			p.exit(b)
			p.Send(&initproto.Msg{Type: initproto.Put, Name: "intent", Intent: true})
			p.start("/bin/sh", "-c", "exit 6")
			p.Send(&initproto.Msg{Type: initproto.Ping})
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		buf := make([]byte, 64)
		n, _ := unix.Read(p.items["pipe"].Fds[0], buf)
		p.say("pipe=%s blob=%s", buf[:n], p.items["pipe"].Body)
		seen := p.events
		for !strings.Contains(codes(seen), "6") {
			seen = append(seen, p.recv())
		}
		p.say("exits=%s", codes(seen))
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 0})
		return p.wait()
	},
	"never-works": func(p *player, _ int) int { return 9 },
	"signals": func(p *player, _ int) int {
		p.Send(&initproto.Msg{Type: initproto.Ping})
		p.say("up")
		for {
			m := p.recv()
			if m.Type != initproto.Signal {
				continue
			}
			p.say("signal=%d stop=%d", m.Signal, m.Stops)
			p.Send(&initproto.Msg{Type: initproto.Ack, Seq: m.Seq})
			if m.Stops > 0 {
				p.Send(&initproto.Msg{Type: initproto.Final, Code: 21})
				return p.wait()
			}
		}
	},
	"orphans": func(p *player, _ int) int {
		pid := p.child("storm", "/bin/sh", "-c", "i=0; while [ $i -lt 500 ]; do ( (exit 1) & ); i=$((i+1)); done; exit 7")
		x := p.exit(pid)
		p.Send(&initproto.Msg{Type: initproto.Final, Code: x.WaitStatus().ExitStatus(), Grace: int64(time.Second)})
		return p.wait()
	},
	// A supervisor that works once and is then broken for good: the init has
	// the stop plan of the first life.
	"stop-plan": func(p *player, life int) int {
		if life > 1 {
			return 1
		}
		var plan strings.Builder
		for _, name := range []string{"b", "a"} {
			pid := p.child(name, "/bin/sh", "-c", "trap 'echo "+name+" >>"+p.dir+"/order; exit 0' TERM; echo "+name+" >>"+p.dir+
				"/up; while :; do sleep 0.05; done")
			b, _ := procfs.ReadStat(pid)
			plan.WriteString(initproto.PlanLine(pid, b.Start, syscall.SIGTERM, 5*time.Second))
		}
		pid := p.child("deaf", "/bin/sh", "-c", "trap '' TERM; echo deaf >>"+p.dir+"/up; while :; do sleep 0.05; done")
		b, _ := procfs.ReadStat(pid)
		plan.WriteString(initproto.PlanLine(pid, b.Start, syscall.SIGTERM, 200*time.Millisecond))
		p.Send(&initproto.Msg{Type: initproto.Put, Name: initproto.StopPlan, Body: []byte(plan.String())})
		p.Send(&initproto.Msg{Type: initproto.Ping})
		p.say("planned")
		return p.wait()
	},
	// The first life hangs once a stop is asked for.
	"hangs": func(p *player, life int) int {
		p.Send(&initproto.Msg{Type: initproto.Ping})
		if life == 1 {
			p.say("up")
			signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
			for { // reads, and never acknowledges
				p.recv()
			}
		}
		p.say("second life stop=%d", p.welcome.Stops)
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 33})
		return p.wait()
	},
	"drain": func(p *player, life int) int {
		switch life {
		case 1:
			var fds [2]int
			unix.Pipe2(fds[:], unix.O_CLOEXEC)
			p.Send(&initproto.Msg{Type: initproto.Put, Name: "log", Fds: fds[:1], Pipes: []int{0}})
			p.startOut(fds[1], "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo 123456789; i=$((i+1)); done; echo end >"+p.dir+"/end")
			p.Send(&initproto.Msg{Type: initproto.Ping})
			unix.Kill(os.Getpid(), unix.SIGKILL)
		case 2: // says Hello and nothing more, until the writer got everything out
			waitFile(p.dir + "/end")
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		var lostBytes, lostLines uint64
		for _, m := range p.events {
			if m.Type == initproto.Lost {
				lostBytes, lostLines = m.Bytes, m.Lines
			}
		}
		rest := make([]byte, 1<<20)
		n, _ := unix.Read(p.items["log"].Fds[0], rest)
		p.say("bytes=%d", lostBytes+uint64(max(n, 0)))
		p.say("lines=%d", lostLines+uint64(bytes.Count(rest[:max(n, 0)], []byte{'\n'})))
		p.say("some=%v", lostBytes > 0)
		p.Send(&initproto.Msg{Type: initproto.Final})
		return p.wait()
	},
	"upgrade-good": upgrades, "upgrade-dies": upgrades, "upgrade-mute": upgrades, "upgrade-final": upgrades, "upgrade-noexec": upgrades,
	"halted": halted, "busy": busy, "loop": loop, "hoard": hoard, "storm": storm,
	"alone-dies": aloneDies, "alone-takes-back": aloneTakesBack, "alone-started": aloneStarted, "alone-intends": aloneIntends,
	// Leaves a child that ignores TERM and a grandchild in a session of its own.
	"leftovers": func(p *player, _ int) int {
		p.child("deaf", "/bin/sh", "-c", "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >>"+p.dir+
			"/pids; while :; do sleep 0.05; done' & echo $$ >>"+p.dir+"/pids; while :; do sleep 0.05; done")
		for len(strings.Fields(read(p.dir+"/pids"))) < 2 {
			waitFile(p.dir + "/pids")
		}
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 5, Grace: int64(50 * time.Millisecond)})
		return p.wait()
	},
}

func playSupervisor(name, dir string) {
	conn, err := initproto.NewConn(initproto.SocketFD)
	if err != nil {
		os.Exit(99)
	}
	p := &player{Conn: conn, dir: dir, items: map[string]*initproto.Msg{}}
	p.Send(&initproto.Msg{Type: initproto.Hello, Version: initproto.Version})
	for m := p.recv(); m.Type != initproto.Ready; m = p.recv() {
		switch m.Type {
		case initproto.Welcome:
			p.welcome = m
		case initproto.Put:
			p.items[m.Name] = m
		default:
			p.events = append(p.events, m)
		}
	}
	os.Exit(scripts[name](p, p.welcome.Starts))
}

func (p *player) recv() *initproto.Msg {
	m, err := p.Recv()
	if err != nil {
		os.Exit(98) // the init is gone
	}
	return m
}

// wait reads until the init is gone.
func (p *player) wait() int {
	for {
		p.recv()
	}
}

func (p *player) start(argv ...string) int { return p.startOut(1, argv...) }

// startOut starts a child of the init, in a group of its own.
func (p *player) startOut(out int, argv ...string) int {
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, uintptr(out), 2},
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_PARENT}})
	if err != nil {
		p.say("error=%v", err)
		os.Exit(97)
	}
	return pid
}

// child starts one with an intent.
func (p *player) child(name string, argv ...string) int {
	p.Send(&initproto.Msg{Type: initproto.Put, Name: name, Intent: true})
	pid := p.start(argv...)
	p.Send(&initproto.Msg{Type: initproto.Put, Name: name, Pid: pid})
	return pid
}

// exit waits for the end of pid.
func (p *player) exit(pid int) initproto.Exit {
	for {
		for _, x := range p.recv().Exits {
			if x.Pid == pid {
				return x
			}
		}
	}
}

func (p *player) say(format string, args ...any) {
	f, _ := os.OpenFile(p.dir+"/said", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	fmt.Fprintf(f, format+"\n", args...)
	f.Close()
}

func codes(ms []*initproto.Msg) string {
	var all []string
	for _, m := range ms {
		for _, x := range m.Exits {
			all = append(all, strconv.Itoa(x.WaitStatus().ExitStatus()))
		}
	}
	return strings.Join(all, ",")
}

func read(path string) string { data, _ := os.ReadFile(path); return string(data) }

// waitFile returns once a file exists. It looks in a loop without a wish to
// sleep: the other side is a process, which no fake clock can hurry.
func waitFile(path string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if _, err := os.Stat(path); err == nil {
			return
		}
		unix.Poll(nil, 5)
	}
}

// container is an init at work for a test.
type container struct {
	t   *testing.T
	cmd *exec.Cmd
	dir string
}

// log is what the init has said on stderr. It goes to a file: a test that fails
// reads it while the init still writes.
func (c *container) log() string { return read(c.dir + "/log") }

// launch starts the init: as PID 1 of a namespace, or as a plain process.
func launch(t *testing.T, script string, asPID1 bool) *container {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, dir: t.TempDir()}
	log, err := os.Create(c.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command(exe, script, c.dir)
	c.cmd.Args[0] = "test-init"
	if asPID1 {
		if os.Getuid() != 0 {
			t.Skip("a PID namespace needs root")
		}
		c.cmd = exec.Command("unshare", "-pf", "--mount-proc", "--kill-child", "bash", "-c",
			`exec -a test-init "$0" "$@"`, exe, script, c.dir)
	}
	c.cmd.Stderr = log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("init's log:\n%ssaid:\n%s", c.log(), read(c.dir+"/said"))
		}
	})
	return c
}

// pid is the init's pid as we see it.
func (c *container) pid() int {
	if filepath.Base(c.cmd.Path) != "unshare" {
		return c.cmd.Process.Pid
	}
	for {
		for pid := range children(c.cmd.Process.Pid) {
			return pid
		}
		unix.Poll(nil, 5)
	}
}

// said waits until the script has said line.
func (c *container) said(line string) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); unix.Poll(nil, 5) {
		for s := bufio.NewScanner(strings.NewReader(read(c.dir + "/said"))); s.Scan(); {
			if s.Text() == line {
				return
			}
		}
	}
	c.t.Fatalf("the supervisor never said %q", line)
}

// wantCode waits for the end.
func (c *container) wantCode(want int) {
	c.t.Helper()
	timer := time.AfterFunc(2*time.Minute, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.cmd.Wait()
	if got := c.cmd.ProcessState.ExitCode(); got != want {
		c.t.Fatalf("exit code %d, want %d", got, want)
	}
}

// both runs f with the init as PID 1 and as a plain process.
func both(t *testing.T, f func(t *testing.T, asPID1 bool)) {
	for _, asPID1 := range []bool{true, false} {
		t.Run(map[bool]string{true: "pid1", false: "subreaper"}[asPID1], func(t *testing.T) {
			t.Parallel()
			f(t, asPID1)
		})
	}
}

func TestExitReachesSupervisor(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) { launch(t, "exit3", asPID1).wantCode(3) })
}

func TestBagSurvivesKill(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "survive", asPID1)
		c.wantCode(0)
		c.said("pipe=in the pipe blob=blob")
		c.said("exits=5,6")
	})
}

func TestBrokenSupervisorEndsEmptyContainer(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) { launch(t, "never-works", asPID1).wantCode(exit.InitFailed) })
}

func TestSignals(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "signals", asPID1)
		c.said("up")
		for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGWINCH,
			unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGQUIT, unix.SIGABRT} {
			unix.Kill(c.pid(), sig)
			c.said(fmt.Sprintf("signal=%d stop=0", sig))
		}
		unix.Kill(c.pid(), syscall.Signal(36)) // ends nothing
		unix.Kill(c.pid(), unix.SIGPIPE)       // ends nothing, tells nothing
		unix.Kill(c.pid(), unix.SIGTERM)
		c.said("signal=15 stop=1")
		c.wantCode(21)
	})
}

func TestOrphansAreReapedAndNotTold(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) { launch(t, "orphans", asPID1).wantCode(7) })
}

func TestStopPlanWithoutSupervisor(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "stop-plan", asPID1)
		c.said("planned")
		for len(strings.Fields(read(c.dir+"/up"))) < 3 {
			unix.Poll(nil, 5)
		}
		for pid := range children(c.pid()) {
			if cmdline := read(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(cmdline, "test-supervisor") {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		unix.Kill(c.pid(), unix.SIGTERM)
		c.wantCode(exit.InitFailed)
		if got := strings.Fields(read(c.dir + "/order")); strings.Join(got, " ") != "b a" {
			t.Errorf("stopped in order %v, want b a", got)
		}
		if !strings.Contains(c.log(), "KILL to group") {
			t.Error("the deaf group was not killed")
		}
	})
}

// A supervisor that answers and gets nothing done does not hold up the end of the
// container: it may have no processor time, or no pid for what it needs.
func TestStopEndsWithItsBudget(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "endless", asPID1)
		c.said("up")
		unix.Kill(c.pid(), unix.SIGTERM)
		c.wantCode(exit.InitFailed)
		if !strings.Contains(c.log(), "the time for the stop is used up") {
			t.Errorf("the log does not tell why:\n%s", c.log())
		}
	})
}

func TestHungSupervisorIsReplacedAfterTerm(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "hangs", asPID1)
		c.said("up")
		start := time.Now()
		unix.Kill(c.pid(), unix.SIGTERM)
		c.wantCode(33)
		c.said("second life stop=1")
		if took := time.Since(start); took < 900*time.Millisecond {
			t.Errorf("killed after %v, want the full second of patience", took)
		}
	})
}

func TestUnreadPipesAreDrainedAndCounted(t *testing.T) {
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "drain", asPID1)
		c.wantCode(0)
		c.said("bytes=200000")
		c.said("lines=20000")
		c.said("some=true")
	})
}

// The end takes every descendant, and as a plain process no other process.
func TestEndSparesStranger(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	c := launch(t, "leftovers", false)
	c.wantCode(5)
	if b, err := procfs.ReadStat(stranger.Process.Pid); err != nil || b.State == 'Z' {
		t.Error("the stranger was ended")
	}
	for _, pid := range strings.Fields(read(c.dir + "/pids")) {
		if b, err := procfs.ReadStat(atoi(pid)); err == nil && b.State != 'Z' {
			t.Errorf("descendant %s lives on: %+v", pid, b)
		}
	}
	launch(t, "leftovers", true).wantCode(5)
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }
