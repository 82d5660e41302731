package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// until waits for cond, and says so when it does not come.
func until(s *stage, what string, cond func() bool) bool {
	for range 3000 {
		if cond() {
			return true
		}
		unix.Poll(nil, 5)
	}
	s.say("%s: never", what)
	return false
}

// pidIn waits for a file that a script writes its number into.
func pidIn(s *stage, name string) int {
	pid := 0
	until(s, name, func() bool {
		data, _ := os.ReadFile(s.dir + "/" + name)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		return pid > 0
	})
	return pid
}

const quiet = " </dev/null >/dev/null 2>&1 "

// A snapshot serves all callers that asked before it was begun, however long it takes.
func TestSnapshotIsShared(t *testing.T) {
	m := &Manager{}
	asked := initproto.BootNow()
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			if got := m.snapshotFrom(asked); got.at < asked {
				t.Error("a snapshot is older than it may be")
			}
		})
	}
	callers.Wait()
	if m.snapshots.count != 1 {
		t.Errorf("%d snapshots for 50 callers at the same time", m.snapshots.count)
	}
	if m.snapshotFrom(initproto.BootNow()); m.snapshots.count != 2 {
		t.Errorf("%d snapshots after a later call", m.snapshots.count)
	}
}

// memberScripts are supervisors whose processes have children that leave.
var memberScripts = map[string]play{
	// What a leader leaves behind that has left its group, by what it is known.
	"strays": {play: func(s *stage) int {
		os.Chmod(filepath.Dir(s.dir), 0o755)
		for _, c := range []struct{ id, script string }{
			{"cookie", "setsid sh -c 'echo $$ >DIR/cookie; exec sleep 300'" + quiet + "& wait_for DIR/cookie"},
			{"double", "setsid sh -c 'sh -c \"echo \\$\\$ >DIR/double; exec sleep 300\" & wait_for DIR/double'" + quiet + "; exit 0"},
			{"user", "setpriv --reuid 65534 --regid 65534 --clear-groups setsid sh -c 'echo $$ >DIR/user; exec sleep 300'" + quiet +
				"& wait_for DIR/user"},
			{"pipe", "env -i setsid sh -c 'echo $$ >DIR/pipe; exec /bin/sleep 300' & wait_for DIR/pipe"},
			{"unknown", "env -i setsid sh -c 'echo $$ >DIR/unknown; exec /bin/sleep 300'" + quiet + "& wait_for DIR/unknown"},
		} {
			os.WriteFile(s.dir+"/"+c.id, nil, 0o666)
			os.Chmod(s.dir+"/"+c.id, 0o666)
			p := s.sh(c.id, strings.ReplaceAll(strings.ReplaceAll(c.script, "wait_for", "sh "+s.dir+"/wait"), "DIR", s.dir))
			pid := pidIn(s, c.id)
			<-p.Exited()
			alone := func() bool { return slices.Equal(p.Members(), []int{pid}) }
			if c.id != "unknown" {
				until(s, "alone", alone) // "double" has a parent that ends in its own time
			}
			s.say("%s %v", c.id, alone())
			s.say("signalled %v", p.SignalGroup(syscall.SIGTERM))
			if c.id != "unknown" {
				until(s, "gone", func() bool { return len(p.Members()) == 0 })
				s.say("again %v", p.SignalGroup(syscall.SIGTERM))
			}
			p.Done()
		}
		return 0
	}},
	// Descendants of a leader that lives, and a process of ours beside it.
	"descendants": {play: func(s *stage) int {
		p := s.sh("a", "setsid sh -c 'echo $$ >"+s.dir+"/far; env -i sleep 300'"+quiet+"& wait; exec sleep 300")
		far := pidIn(s, "far")
		until(s, "three", func() bool { return len(p.Members()) == 3 })
		job := s.sh("job", "setsid sleep 301"+quiet+"& wait")
		until(s, "job", func() bool { return len(job.Members()) == 2 })
		s.say("%v", slices.Contains(p.Members(), far) && !slices.Contains(p.Members(), job.Pid()) && len(p.Members()) == 3)
		p.SignalGroup(syscall.SIGTERM)
		<-p.Exited()
		until(s, "gone", func() bool { return len(p.Members()) == 0 })
		s.say("job %d", len(job.Members()))
		job.SignalGroup(syscall.SIGKILL)
		until(s, "gone", func() bool { return len(job.Members()) == 0 })
		return 0
	}},
	// A child that nothing but its parent tells of is found before KILL ends the parent.
	"traceless": {play: func(s *stage) int {
		p := s.sh("a", "trap '' TERM; env -i setsid sh -c 'echo $$ >"+s.dir+"/far; exec /bin/sleep 300'"+quiet+"& wait")
		far := pidIn(s, "far")
		p.SignalGroup(syscall.SIGKILL)
		<-p.Exited()
		until(s, "gone", func() bool { b, err := procfs.ReadStat(far); return err != nil || !b.Alive() })
		s.say("ended")
		return 0
	}},
	// One that moves on every few milliseconds: a new session, a new process.
	"hopper": {play: func(s *stage) int {
		os.WriteFile(s.dir+"/hop", []byte("#!/bin/sh\ntrap '' TERM HUP\necho >>"+s.dir+"/hops\nsetsid sh -c \"$0 & exit\"\n"), 0o755)
		p := s.sh("a", "for k in 1 2 3; do "+s.dir+"/hop"+quiet+"& done; exit 0")
		<-p.Exited()
		until(s, "hops", func() bool { d, _ := os.ReadFile(s.dir + "/hops"); return len(d) > 40 })
		s.say("members %v", len(p.Members()) > 0)
		until(s, "gone", func() bool {
			p.SignalGroup(syscall.SIGKILL)
			return len(p.Members()) == 0
		})
		left := 0
		for _, pid := range procfs.Pids() {
			if b, err := procfs.ReadStat(pid); err == nil && b.Alive() && pid != os.Getpid() && pid != s.m.init.Pid {
				left++
			}
		}
		s.say("left %d", left)
		return 0
	}},
	// A supervisor that takes over knows them too.
	"adopted-stray": {play: func(s *stage) int {
		if s.first() {
			s.sh("a", "setsid sleep 300"+quiet+"& echo $! >"+s.dir+"/pid; exit 0")
			pidIn(s, "pid")
			s.m.Adopted()
			die()
		}
		p := s.process("a")
		<-p.Exited()
		until(s, "one", func() bool { return len(p.Members()) == 1 })
		p.SignalGroup(syscall.SIGKILL)
		until(s, "gone", func() bool { return len(p.Members()) == 0 })
		return 0
	}},
	"own-cgroup": {play: func(s *stage) int {
		for k, base := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
			dir := fmt.Sprintf("%s/proc-test-%d", base, os.Getppid()*1000000+int(initproto.BootNow()/1e3%1000000))
			if _, err := os.Stat(base + "/cgroup.procs"); err != nil || os.Mkdir(dir, 0o755) != nil {
				continue
			}
			l, _ := s.m.Logs.Open("out", logs.Options{})
			name := fmt.Sprint("own", k)
			p, err := s.m.Start(context.Background(), Spec{ID: name, Argv: []string{"/bin/sh", "-c",
				"env -i setsid sh -c 'echo $$ >" + s.dir + "/" + name + "; exec /bin/sleep 300'" + quiet + "& sh " + s.dir + "/wait " + s.dir + "/" +
					name},
				Env: os.Environ(), Stdio: Stdio{Mode: Capture, Log: l}, Attributes: execshim.Attributes{Cgroups: []string{dir}}})
			if err != nil {
				s.say("%v", err)
				continue
			}
			pid := pidIn(s, name)
			<-p.Exited()
			if members := p.Members(); !slices.Equal(members, []int{pid}) {
				s.say("members %v, not %d", members, pid)
			}
			if err := p.SignalGroup(syscall.SIGKILL); err != nil { // also if cgroup.kill was quicker than we look
				s.say("kill: %v", err)
			}
			until(s, "gone", func() bool { return len(p.Members()) == 0 })
			until(s, "reaped", func() bool { return syscall.Kill(pid, 0) != nil })
			p.Done()
			if _, err := os.Stat(dir); err == nil {
				s.say("%s is still there", dir)
			}
			s.say("tried")
			// A start that fails leaves no directory behind.
			os.Mkdir(dir, 0o755)
			_, err = s.m.Start(context.Background(), Spec{ID: "x", Argv: []string{"/no/such"},
				Attributes: execshim.Attributes{Cgroups: []string{dir}}})
			if _, statErr := os.Stat(dir); err == nil || statErr == nil {
				s.say("a failed start: %v, directory %v", err, statErr)
			}
		}
		return 0
	}},
	"not-permitted": {play: func(s *stage) int {
		p := s.sh("a", s.dir+"/setpriv --reuid 0 --regid 0 --clear-groups setsid sh -c 'echo $$ >"+s.dir+"/far; exec sleep 20'"+quiet+"& sh "+
			s.dir+"/wait "+s.dir+"/far; exec sleep 300")
		far := pidIn(s, "far")
		s.say("there %v", slices.Contains(p.Members(), far))
		s.say("kill %v", p.SignalGroup(syscall.SIGKILL))
		<-p.Exited()
		until(s, "gone", func() bool { return !slices.Contains(p.Members(), p.Pid()) })
		return 0
	}},
	// It becomes another program at once, by name and by output, and we die before
	// its number is in the fd store.
	"at-cloned-renamed": {opts: func(o *Options, dir string) {
		o.at = func(at string) {
			if _, err := os.Stat(dir + "/died"); at == "cloned" && err != nil {
				os.WriteFile(dir+"/died", nil, 0o644)
				waitFile(dir + "/renamed")
				die()
			}
		}
	}, play: func(s *stage) int {
		p := s.process("a")
		if p == nil {
			s.say("started by life %d", s.rec.Starts)
			p = s.sh("a", "echo once >>"+s.dir+"/once; exec >"+s.dir+"/null 2>&1; exec bash -c 'setsid sleep 1 & : >"+s.dir+
				"/renamed; while [ ! -e "+s.dir+"/go ]; do sleep 0.02; done; exit 12'")
		}
		os.WriteFile(s.dir+"/go", nil, 0o644)
		s.say("%d", status(p))
		once, _ := os.ReadFile(s.dir + "/once")
		s.say("%s", strings.TrimSpace(string(once)))
		return 0
	}},
	// The same, and it has ended by then: what it left is not the process itself.
	"at-cloned-left": {opts: func(o *Options, dir string) {
		o.at = func(at string) {
			if _, err := os.Stat(dir + "/died"); at == "cloned" && err != nil {
				os.WriteFile(dir+"/died", nil, 0o644)
				waitFile(dir + "/left")
				unix.Poll(nil, 300)
				die()
			}
		}
	}, play: func(s *stage) int {
		p := s.process("a")
		if p == nil {
			s.say("started by life %d", s.rec.Starts)
			p = s.sh("a", "setsid sh -c 'echo >"+s.dir+"/left; exec sleep 300'"+quiet+"& sh "+s.dir+"/wait "+s.dir+"/left; exit 13")
		}
		<-p.Exited()
		x, _ := p.Exit()
		s.say("%d, left %d", x.Status(), len(p.Members()))
		p.SignalGroup(syscall.SIGKILL)
		until(s, "gone", func() bool { return len(p.Members()) == 0 })
		return 0
	}},
	// Where processes come from: by their parents alone, whatever else they say.
	"origin": {play: func(s *stage) int {
		p := s.sh("app.1", "setsid sh -c 'env "+CookieVar+"=hook/x sh -c \"echo \\$\\$ >"+s.dir+"/far; exec sleep 300\"'"+quiet+
			"& exec sleep 300")
		s.sh("app.2", "env "+CookieVar+"=hook/x setsid sh -c 'sh -c \"echo \\$\\$ >"+s.dir+"/orphan; exec sleep 300\" &'"+quiet+
			"; exec sleep 300")
		orphan := pidIn(s, "orphan")
		until(s, "orphaned", func() bool { b, _ := procfs.ReadStat(orphan); return b.Parent == s.m.init.Pid })
		for _, pid := range []int{p.Pid(), pidIn(s, "far"), orphan, s.m.init.Pid, os.Getpid(), 99999999} {
			id, err := s.m.Origin(pid)
			s.say("%q %v", id, err != nil)
		}
		return 0
	}},
	// What is kept for operators nothing else takes, and the first process needs.
	"descriptors": {play: func(s *stage) int {
		take := func(enough func() bool) (fds []int) {
			for !enough() {
				fd, err := unix.Dup(0)
				if err != nil {
					break
				}
				fds = append(fds, fd)
			}
			return fds
		}
		modest := func(id string) error {
			_, err := s.m.Start(context.Background(), Spec{ID: id, Argv: []string{"/bin/sleep", "300"}, Env: os.Environ(), KeepReserve: true})
			return err
		}
		take(func() bool { return headroom.DescriptorsFor(0) != nil })
		s.say("first %v", modest("a"))
		s.say("second %v", errors.Is(modest("b"), unix.EMFILE))
		_, err := s.m.Logs.Open("late", logs.Options{})
		s.say("log %v", errors.Is(err, unix.EMFILE))
		left := take(func() bool { return false })
		for _, fd := range left {
			unix.Close(fd)
		}
		s.say("left %v", len(left) > 0)
		return 0
	}},
	"bench": {play: func(s *stage) int {
		p := s.sh("over", "exit 0")
		<-p.Exited()
		for k := range 100 {
			s.m.Start(context.Background(), Spec{ID: fmt.Sprint("s", k), Argv: []string{"/bin/sleep", "300"}, Env: os.Environ()})
		}
		until(s, "gone", func() bool { return len(p.Members()) == 0 })
		const n = 300
		measure := func(what string) {
			begin := time.Now()
			for range n {
				if len(p.Members()) != 0 {
					s.say("members")
				}
			}
			s.say("%s %d", what, time.Since(begin).Microseconds()/n)
		}
		measure("alone")
		s.sh("b", "env -i setsid sleep 300"+quiet+"& exit 0")
		unix.Poll(nil, 100)
		measure("beside-a-daemon")
		return 0
	}},
}

func memberPlay(t testing.TB, name string, how ...string) result {
	return runPlay(t, name, append(how, "-w", "")...)
}

func TestChildrenThatLeave(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for name, how := range map[string][]string{"all rights": nil, "a container's rights": {"-c", "-sys_ptrace"}} {
		t.Run(name, func(t *testing.T) {
			r := memberPlay(t, "strays", how...)
			known := "signalled <nil>\nagain os: process already finished"
			r.want(t, "cookie true", known, "double true", known, "user true", known, "pipe true", known,
				"unknown false", "signalled os: process already finished")
		})
	}
}

func TestKillFindsChildrenFirst(t *testing.T) { memberPlay(t, "traceless").want(t, "ended") }

func TestDescendantsInOtherGroups(t *testing.T) {
	memberPlay(t, "descendants").want(t, "true", "job 2")
}

func TestDaemonThatMovesOn(t *testing.T) {
	memberPlay(t, "hopper").want(t, "members true", "left 0")
}

func TestOrigin(t *testing.T) {
	memberPlay(t, "origin").want(t, `"app.1" false`, `"app.1" false`, `"" true`, `"" true`, `"" true`, `"" true`)
}

func TestDescriptorsForOperators(t *testing.T) {
	memberPlay(t, "descriptors", "-n", "64:64").want(t, "first <nil>", "second true", "log true", "left true")
}

func TestAdoptedOrphan(t *testing.T) {
	if r := memberPlay(t, "adopted-stray"); r.said != "" || r.code != 0 {
		t.Errorf("said %q, code %d", r.said, r.code)
	}
}

func TestMemberThatMayNotBeSignalled(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a set-user-ID program")
	}
	memberPlay(t, "not-permitted", "-u", "1000", "-s", "setpriv").want(t, "there true", "kill <nil>")
}

func TestRenamedIsFoundAgain(t *testing.T) {
	memberPlay(t, "at-cloned-renamed").want(t, "started by life 1", "12", "once")
}

func TestLeftChildIsNotTheProcess(t *testing.T) {
	memberPlay(t, "at-cloned-left").want(t, "started by life 1", "13, left 1")
}

func TestOwnCgroupFindsAll(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	r := memberPlay(t, "own-cgroup")
	if strings.ReplaceAll(r.said, "tried\n", "") != "" || strings.Contains(r.stderr, "no cgroup") {
		t.Errorf("said %q", r.said)
	}
	if r.said == "" {
		t.Skip("no cgroup file system can be written")
	}
}

func TestSignalNeedsTheStartTime(t *testing.T) {
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	b, err := procfs.ReadStat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, denied := range []Features{{}, {Pidfd: true}} {
		m := &Manager{opts: Options{Deny: denied}}
		if err := m.signal(cmd.Process.Pid, b.Start-1, syscall.SIGKILL); !errors.Is(err, ErrGone) {
			t.Errorf("a process with another start time: %v", err)
		}
		if err := m.signal(cmd.Process.Pid, b.Start, 0); err != nil {
			t.Errorf("the right one: %v", err)
		}
	}
}

// BenchmarkMembers says what Members costs when no member is left, in a container of
// a hundred services.
func BenchmarkMembers(b *testing.B) {
	r := memberPlay(b, "bench")
	for line := range strings.Lines(r.said) {
		var what string
		var us float64
		if _, err := fmt.Sscan(line, &what, &us); err == nil {
			b.ReportMetric(us, "us/"+what)
		}
	}
}
