package pid1

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/initstore"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// halted says who it is, and ends the container when it is asked to.
func halted(p *player, _ int) int {
	p.Send(&initproto.Msg{Type: initproto.Ping})
	p.start("/bin/sleep", "60")
	p.say("up")
	for {
		m := p.recv()
		switch {
		case m.Type == initproto.Check:
			p.Send(&initproto.Msg{Type: initproto.Ping})
		case m.Type == initproto.Signal && m.Stops > 0:
			p.Send(&initproto.Msg{Type: initproto.Final, Code: 11})
			return p.wait()
		case m.Type == initproto.Signal:
			p.Send(&initproto.Msg{Type: initproto.Ack, Seq: m.Seq})
			p.say("signal")
		}
	}
}

// child finds the one of the init's children whose command line begins so.
func (c *container) child(line string) int {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); unix.Poll(nil, 5) {
		for pid := range children(c.pid()) {
			if strings.HasPrefix(read(fmt.Sprintf("/proc/%d/cmdline", pid)), line) {
				return pid
			}
		}
	}
	c.t.Fatalf("the init has no child %q", line)
	return 0
}

// state waits until a process is in one of the states.
func state(t *testing.T, pid int, states string) {
	t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); unix.Poll(nil, 1) {
		if b, err := procfs.ReadStat(pid); err == nil && strings.IndexByte(states, b.State) >= 0 {
			return
		}
	}
	t.Fatalf("pid %d never came into one of the states %s", pid, states)
}

// cpu is what a process has used, in clock ticks.
func cpu(pid int) int {
	f := strings.Fields(read(fmt.Sprintf("/proc/%d/stat", pid)))
	return atoi(f[13]) + atoi(f[14])
}

func TestStoppedSupervisorGoesOn(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "halted", asPID1)
		c.said("up") // until then the service may still bear the supervisor's name
		pid, service := c.child("test-supervisor"), c.child("/bin/sleep")
		for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGTSTP, unix.SIGSTOP} {
			unix.Kill(pid, sig)
			state(t, pid, "T")
			state(t, pid, "SR")
		}
		unix.Kill(service, unix.SIGSTOP) // has no effect on the supervisor
		state(t, service, "T")
		before := cpu(c.pid())
		unix.Kill(pid, unix.SIGSTOP)
		state(t, pid, "T")
		state(t, pid, "SR")
		if used := cpu(c.pid()) - before; used > 10 {
			t.Errorf("the init used %d ticks in a second in which two children are stopped", used)
		}
		if b, err := procfs.ReadStat(service); err != nil || b.State != 'T' {
			t.Errorf("the stopped service is %+v, %v", b, err)
		}
		unix.Kill(pid, unix.SIGSTOP)
		state(t, pid, "T")
		unix.Kill(c.pid(), unix.SIGTERM)
		c.wantCode(11)
		if n := strings.Count(c.log(), "stopped by a signal"); n != 1 {
			t.Errorf("logged %d times within a minute:\n%s", n, c.log())
		}
	})
}

// It is continued after a second, and at once while the container stops.
func TestHaltTime(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	now, log := time.Now(), newLogger(io.Discard)
	defer log.close()
	for _, c := range []struct {
		after time.Duration
		stop  int
		want  string // states
	}{{resumeAfter - 1, 0, "T"}, {resumeAfter, 0, "SR"}, {0, 1, "SR"}} {
		cmd.Process.Signal(unix.SIGSTOP)
		state(t, cmd.Process.Pid, "T")
		i := &initState{log: log, stops: c.stop, supervisor: supervisorProc{instance: instance{pid: cmd.Process.Pid, stoppedAt: now}}}
		i.resumeStopped(now.Add(c.after))
		state(t, cmd.Process.Pid, c.want)
		if left := !i.supervisor.stoppedAt.IsZero(); left != (c.want == "T") {
			t.Errorf("after %v, with %d stop requests: it counts as stopped: %v", c.after, c.stop, left)
		}
	}
}

// A supervisor under a tracer is its tracer's.
func TestTracedSupervisorIsLeftAlone(t *testing.T) {
	c := launch(t, "halted", true)
	c.said("up") // a signal that comes before that is sent with the fd store
	pid := c.child("test-supervisor")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Skipf("cannot trace: %v", err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	before := cpu(c.pid())
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); unix.Poll(nil, 20) {
		if b, err := procfs.ReadStat(pid); err != nil || b.State != 't' {
			t.Fatalf("the traced supervisor is %+v, %v", b, err)
		}
	}
	if used := cpu(c.pid()) - before; used > 10 {
		t.Errorf("the init used %d ticks meanwhile", used)
	}
	if err := unix.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	state(t, pid, "SR")
	unix.Kill(c.pid(), unix.SIGUSR1)
	c.said("signal")
	unix.Kill(c.pid(), unix.SIGTERM)
	c.wantCode(11)
	if log := c.log(); log != "" {
		t.Errorf("the init says %q", log)
	}
}

// busy hangs without being stopped while a service writes.
func busy(p *player, life int) int {
	if life > 1 {
		p.say("second")
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 12})
		return p.wait()
	}
	var fds [2]int
	unix.Pipe2(fds[:], unix.O_CLOEXEC)
	p.Send(&initproto.Msg{Type: initproto.Put, Name: "log", Fds: fds[:1], Pipes: []int{0}})
	p.startOut(fds[1], "/bin/sh", "-c", "sleep 2; while :; do echo line; sleep 0.1; done")
	p.Send(&initproto.Msg{Type: initproto.Ping})
	p.say("first")
	<-time.After(time.Hour) // deaf
	return 0
}

func TestBusySupervisorIsFoundByTheUnreadPipe(t *testing.T) {
	t.Parallel()
	c := launch(t, "busy", true)
	c.said("first")
	from := time.Now()
	c.wantCode(12)
	c.said("second")
	if took := time.Since(from); took < 15*time.Second || took > 45*time.Second { // the watchdog alone needs 50 s
		t.Errorf("a writer behind a hung supervisor waited %v, want 2 s of silence and 15 s", took)
	}
}

const rounds = 200

// loop dies in each life, and says now and then what the init has.
func loop(p *player, life int) int {
	if life == 1 {
		for k := range 10 {
			var fds [2]int
			unix.Pipe2(fds[:], unix.O_CLOEXEC)
			p.Send(&initproto.Msg{Type: initproto.Put, Name: fmt.Sprint("log", k), Fds: fds[:1], Pipes: []int{0}})
			p.startOut(fds[1], "/bin/sh", "-c", "while :; do echo line; sleep 0.01; done")
		}
	}
	if life == rounds/4 || life == rounds {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", os.Getppid()))
		p.say("fds=%d rss=%d", len(fds), rss(os.Getppid()))
	}
	if life == rounds {
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 13})
		return p.wait()
	}
	p.Send(&initproto.Msg{Type: initproto.Ping})
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

// rss is the resident set of a process in KiB.
func rss(pid int) int {
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/status", pid))) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			return atoi(f[1])
		}
	}
	return 0
}

func TestCrashLoopLeaksNothing(t *testing.T) {
	t.Parallel()
	c := launch(t, "loop", true)
	c.wantCode(13)
	var fds, kb [2]int
	if n, err := fmt.Sscanf(read(c.dir+"/said"), "fds=%d rss=%d\nfds=%d rss=%d\n", &fds[0], &kb[0], &fds[1], &kb[1]); n != 4 {
		t.Fatal(err)
	}
	t.Logf("after %d rounds %d descriptors and %d KiB, after %d %d and %d", rounds/4, fds[0], kb[0], rounds, fds[1], kb[1])
	if fds[1] > fds[0]+2 || kb[1] > kb[0]+8<<10 {
		t.Error("the init grows with the rounds")
	}
}

// hoard fills the fd store, and then goes on for ever.
func hoard(p *player, life int) int {
	const items = 1000
	if life == 1 {
		for k := range items {
			var fds [2]int
			unix.Pipe2(fds[:], unix.O_CLOEXEC)
			unix.Write(fds[1], []byte(fmt.Sprint(k)))
			unix.Close(fds[1])
			p.Send(&initproto.Msg{Type: initproto.Put, Name: fmt.Sprint("item", k), Body: bytes.Repeat([]byte{'x'}, 10*k), Fds: fds[:1]})
			unix.Close(fds[0])
		}
		p.Send(&initproto.Msg{Type: initproto.Ping})
		unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	good, buf := 0, make([]byte, 16)
	for k := range items {
		m := p.items[fmt.Sprint("item", k)]
		if m == nil || len(m.Fds) != 1 || len(m.Body) != 10*k {
			continue
		}
		if n, _ := unix.Read(m.Fds[0], buf); string(buf[:max(n, 0)]) == fmt.Sprint(k) {
			good++
		}
	}
	p.say("good=%d", good)
	p.Send(&initproto.Msg{Type: initproto.Ping})
	const fd = initproto.SocketFD
	unix.SetNonblock(fd, false)
	var sent atomic.Int64
	go func() { // ends with the process
		for k := 0; ; k++ {
			packet, _ := initproto.Encode(&initproto.Msg{Type: initproto.Put, Name: fmt.Sprint("more", k), Body: make([]byte, 100)})
			switch k % 100 {
			case 1:
				packet = []byte("no header")
			case 2:
				packet = []byte("{\"t\":\"PUT\",\"pid\":-99999999999999999999}\n")
			case 3:
				packet, _ = initproto.Encode(&initproto.Msg{Type: initproto.Put, Name: "odd", Pid: -1, Pipes: []int{-1, 0, 7, 1 << 40}, Fds: []int{0}})
			case 4:
				packet, _ = initproto.Encode(&initproto.Msg{Type: initproto.Sync})
			case 5:
				if k < 1000 { // each is logged, and the log's queue is short
					packet, _ = initproto.Encode(&initproto.Msg{Type: initproto.Upgrade})
				}
			case 6:
				packet = append([]byte("{\"t\":\"PUT\",\"name\":\"big\"}\n"), make([]byte, initproto.MaxBlob+100<<10)...)
			}
			unix.Sendmsg(fd, packet, nil, nil, unix.MSG_NOSIGNAL)
			if sent.Add(1) == 100000 {
				p.say("flooded")
			}
		}
	}()
	for {
		if m := p.recv(); m.Type == initproto.Signal && m.Stops > 0 {
			p.say("rss=%d", rss(os.Getppid()))
			p.Send(&initproto.Msg{Type: initproto.Final, Code: 14})
			return 0
		}
	}
}

func TestBagIsBounded(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "hoard", asPID1)
		c.said("good=1000")
		for deadline := time.Now().Add(time.Minute); !strings.Contains(read(c.dir+"/said"), "flooded") && time.Now().Before(deadline); {
			unix.Poll(nil, 20)
		}
		unix.Kill(c.pid(), unix.SIGTERM) // the flood goes on until it is sent
		c.wantCode(14)
		var kb int
		_, text, _ := strings.Cut(read(c.dir+"/said"), "rss=")
		if fmt.Sscan(text, &kb); kb == 0 || kb > 200<<10 {
			t.Errorf("the init has grown to %d KiB", kb)
		}
		t.Logf("after 100000 messages the init has %d KiB", kb)
		if n := strings.Count(c.log(), "items are kept, which is the most"); n != 1 {
			t.Errorf("the refusal is logged %d times", n)
		}
	})
}

// From a Sync on the supervisor reads the log pipes: however long it takes until it
// says that it works, the init leaves them alone, and what it had discarded by then is
// reported before the answer, for each pipe.
func TestSyncEndsDraining(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	now := time.Now()
	i := &initState{store: initstore.New(), log: newLogger(io.Discard),
		supervisor: supervisorProc{instance: instance{pid: os.Getpid(), hello: true, helloAt: now, aliveAt: now.Add(2 * adoptTime)},
			unreadSince: now.Add(-drainAfter)}}
	defer i.log.close()
	if err := i.store.Put(&initproto.Msg{Name: "log", Fds: fds[:1], Pipes: []int{0}}, nil); err != nil {
		t.Fatal(err)
	}
	unix.Write(fds[1], []byte("one\ntwo\n"))
	i.supervise(now.Add(adoptTime))
	if i.store.CanDrain() {
		t.Fatal("the init does not empty a pipe that no supervisor reads")
	}
	for n := 1; n > 0; { // until it is empty
		n, _ = unix.IoctlGetInt(fds[0], unix.TIOCINQ)
		unix.Poll(nil, 1)
	}
	i.handle(&initproto.Msg{Type: initproto.Sync}, nil)
	if len(i.out) != 1 || !i.syncAsked {
		t.Fatalf("the answer is %d messages, and Synced %v", len(i.out), i.syncAsked)
	}
	if m, err := initproto.Decode(i.out[0].data); err != nil || m.Type != initproto.Lost || m.Bytes != 8 || m.Lines != 2 ||
		m.PipeBytes == nil || *m.PipeBytes != (initproto.PipeBytes{8, 0}) {
		t.Errorf("sent %s, %v", i.out[0].data, err)
	}
	i.supervise(now.Add(2 * adoptTime))
	if !i.store.CanDrain() {
		t.Error("the init empties the pipe that the supervisor reads")
		i.store.StopDraining()
	}
	i.store.Delete("log")
}

func TestEndsOfNamedChildrenAreAlwaysTold(t *testing.T) {
	i := &initState{store: initstore.New()}
	i.store.Put(&initproto.Msg{Name: "a", Pid: 7}, nil)
	i.store.Put(&initproto.Msg{Name: "intent", Intent: true}, nil)
	if !i.reportsExit(7) || !i.reportsExit(8) {
		t.Error("not reported although an intent is open")
	}
	i.events.list = make([]event, maxQueued+1)
	if !i.reportsExit(7) || i.reportsExit(8) {
		t.Errorf("with %d events: reports a followed child %t, another %t", maxQueued+1, i.reportsExit(7), i.reportsExit(8))
	}
}

// children are the children of a process, zombies included.
func children(parent int) map[int]procfs.Stat {
	stats := procfs.TakeSnapshot().Stats
	maps.DeleteFunc(stats, func(_ int, s procfs.Stat) bool { return s.Parent != parent })
	return stats
}
