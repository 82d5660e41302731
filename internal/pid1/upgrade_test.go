package pid1

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/initstore"
	"golang.org/x/sys/unix"
)

// upgrades plays the supervisor that hands over to a copy of this very binary,
// that copy, which knows itself by its name and does what the script is called
// after, and the one that comes after a fallback.
func upgrades(p *player, life int) int {
	kind := strings.TrimPrefix(os.Args[1], "upgrade-")
	exe, _ := os.Readlink("/proc/self/exe")
	switch b := p.welcome.Binary; {
	case life == 1:
		var fds [2]int
		unix.Pipe2(fds[:], unix.O_CLOEXEC)
		unix.Write(fds[1], []byte("kept"))
		p.Send(&initproto.Msg{Type: initproto.Put, Name: "pipe", Fds: fds[:1]})
		p.child("service", "/bin/sleep", "60")
		p.Send(&initproto.Msg{Type: initproto.Ping})
		p.Send(&initproto.Msg{Type: initproto.Upgrade, Fds: []int{binaryFor(kind)}, Binary: &initproto.Binary{Version: "v2", Path: "/new"}})
		return 0
	case !strings.HasPrefix(exe, "/memfd:new"):
		p.say("life %d of %s failed=%s count=%d: %s", life, b.Version, b.Failed, b.Count, b.Why)
	case kind == "dies":
		return 9
	case kind == "mute":
		return p.wait()
	case kind == "final":
		p.Send(&initproto.Msg{Type: initproto.Final, Code: 78})
		return 0
	default:
		p.Send(&initproto.Msg{Type: initproto.Ping})
		p.say("life %d of %s from %s init=%s count=%d", life, b.Version, b.Path, b.Init, b.Count)
		if life == 2 { // a later one is of the new binary too
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
	buf := make([]byte, 8)
	n, _ := unix.Read(p.items["pipe"].Fds[0], buf)
	p.say("pipe=%s service=%v", buf[:n], unix.Kill(-p.items["service"].Pid, 0) == nil)
	p.Send(&initproto.Msg{Type: initproto.Final})
	return p.wait()
}

// binaryFor is this binary in memory, or a descriptor of what cannot be executed.
func binaryFor(kind string) int {
	fd, err := unix.MemfdCreate("new", unix.MFD_CLOEXEC)
	if err != nil {
		return -1
	}
	if kind == "noexec" {
		unix.Write(fd, []byte("\x7fELF but no more"))
		return fd
	}
	data, _ := os.ReadFile("/proc/self/exe")
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil {
			return -1
		}
		data = data[n:]
	}
	return fd
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, asPID1 bool) {
		c := launch(t, "upgrade-good", asPID1)
		c.wantCode(0)
		c.said("life 2 of v2 from /new init=v1 count=1")
		c.said("life 3 of v2 from /new init=v1 count=1")
		c.said("pipe=kept service=true")
	})
}

func TestUpgradeFallsBack(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"dies":   "life 4 of v1 failed=v2 count=1: ended 2 times within its first minute, the last time with exit code 9",
		"mute":   "life 3 of v1 failed=v2 count=1: did not report in time that it works",
		"final":  "life 3 of v1 failed=v2 count=1: wanted to end the container with code 78 before it had taken over",
		"noexec": "life 2 of v1 failed=v2 count=1: ended 2 times within its first minute, the last time with no start: exec format error",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := launch(t, "upgrade-"+kind, true)
			c.wantCode(0)
			c.said(want)
			c.said("pipe=kept service=true")
			if n := strings.Count(c.log(), "returning to v1"); n != 1 {
				t.Errorf("the fallback is logged %d times", n)
			}
		})
	}
}

// The minute of a trial is counted in steps of the init's own running time.
func TestTrial(t *testing.T) {
	t0 := time.Now()
	start := func() *initState {
		i := &initState{store: initstore.New(), log: newLogger(io.Discard)}
		i.binaries = binaries{current: binary{version: "v2"}, trial: true, healthTicks: tickCounter{at: t0}}
		i.supervisor.instance = instance{onTrial: true, healthy: true}
		return i
	}
	i := start()
	for s := range 60 {
		if i.checkTrial(t0.Add(time.Duration(s) * time.Second)); !i.binaries.trial {
			t.Fatalf("the trial was over after %d s", s)
		}
	}
	if i.checkTrial(t0.Add(60 * time.Second)); i.binaries.trial {
		t.Error("the trial is not over after a minute")
	}
	i = start()
	for s := range 200 {
		if s >= 30 && s < 90 {
			continue // paused
		}
		if i.checkTrial(t0.Add(time.Duration(s) * time.Second)); i.binaries.trial != (s < 150) {
			t.Fatalf("paused from 30 to 90 s, after %d s: trial %v", s, i.binaries.trial)
		}
	}
	i = start()
	i.countDeath("x")
	if i.binaries.why != "" {
		t.Error("one death ended the trial")
	}
	if i.countDeath("x"); i.binaries.why == "" || i.binaries.trial || i.binaries.failed != "v2" {
		t.Errorf("after two deaths: %+v", i.binaries)
	}
	i = start()
	i.binaries.trial, i.binaries.current.fd, i.supervisor.failures = false, 1<<20, loopDeaths-1
	if i.countDeath("x"); i.binaries.why != "" {
		t.Error("a binary that was good for long is given up too soon")
	}
	i.supervisor.failures = loopDeaths
	if i.countDeath("x"); i.binaries.current.fd != 0 {
		t.Error("a binary that works no more is kept")
	}
}
