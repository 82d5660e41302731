package console

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/access"
)

// TestMany opens and ends 300 sessions, or as many as STOKER_CONSOLE_SESSIONS says, and looks for what is left of them.
func TestMany(t *testing.T) {
	t.Parallel()
	for _, line := range container(t, "many") {
		t.Log(line)
	}
}

// usage is what sessions could leave behind.
type usage struct{ goroutines, files, initFiles, terminals, processes int }

func (s *stage) usage() usage {
	count := func(pattern string) int {
		found, _ := filepath.Glob(pattern)
		return len(found)
	}
	terminals, _ := os.ReadFile("/proc/sys/kernel/pty/nr")
	n, _ := strconv.Atoi(strings.TrimSpace(string(terminals)))
	return usage{runtime.NumGoroutine(), count("/proc/self/fd/*"), count("/proc/" + strconv.Itoa(os.Getppid()) + "/fd/*"), n, count("/proc/[1-9]*")}
}

// noMoreThan reports whether nothing is more than before; terminals are also opened by others.
func (u usage) noMoreThan(before usage) bool {
	return u.goroutines <= before.goroutines && u.files <= before.files && u.initFiles <= before.initFiles && u.processes <= before.processes
}

func playMany(s *stage) {
	total, _ := strconv.Atoi(os.Getenv("STOKER_CONSOLE_SESSIONS"))
	total = max(total, 300)
	cfg := testConfig()
	cfg.Sessions, cfg.SessionsPerClient, cfg.Keep = 64, 64, 100*time.Millisecond
	s.Configure(cfg)
	const warmUp = 20
	for k := range warmUp {
		s.oneOfMany(k)
	}
	s.await("sessions are kept", s.empty)
	runtime.GC()
	before := s.usage()
	var all sync.WaitGroup
	work := make(chan int)
	for range 8 {
		all.Go(func() { // ends with the work
			for k := range work {
				s.oneOfMany(k)
			}
		})
	}
	for k := range total {
		work <- k
	}
	close(work)
	all.Wait()
	s.await("sessions are kept", s.empty)
	var after usage
	s.await("something is left", func() bool { after = s.usage(); return after.noMoreThan(before) })
	s.want(len(s.Sessions()) == maxEnded, "%d ended sessions are listed", len(s.Sessions()))
	s.say("%d sessions: before %+v, after %+v", total, before, after)
	s.say("end")
}

// empty reports whether no session is left.
func (s *stage) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)+len(s.Manager.open) == 0
}

// oneOfMany opens and ends a session, in a way that depends on its number.
func (s *stage) oneOfMany(k int) {
	spec := s.sh([]string{"echo x", "cat", "exec sleep 1000", "setsid sleep 1000 & echo x", "exit 3", "seq 1 100000", "kill -9 $$"}[k%7])
	spec.TTY, spec.Stdin = k%2 == 0, k%3 != 0
	if k%5 == 0 {
		spec.Keep = Duration(time.Minute) // cut to 100 ms
	}
	if k%11 == 0 {
		spec.Command = []string{"/no/such/program"}
	}
	sess, err := s.Open(context.Background(), spec, tester())
	if k%11 == 0 {
		s.want(err != nil, "a missing program was started")
		return
	}
	if err != nil {
		s.say("FAIL %d: %v", k, err)
		return
	}
	l, err := sess.Attach(tester(), Attach{Mode: Hold, From: Everything()})
	if err != nil {
		s.say("FAIL %d: %v", k, err)
		return
	}
	v, _ := sess.Attach(access.Identity{Name: "token other", Grants: access.Exec}, Attach{Mode: View})
	if err := l.Write([]byte("text\n")); spec.Stdin && err != nil && !sess.isExited() {
		s.want(sess.isExited(), "%d: %v", k, err)
	}
	switch k % 4 {
	case 0:
		sess.End("enough")
		s.all(l)
	case 1:
		l.CloseStdin()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, _ = l.Next(ctx)
		cancel()
	}
	l.Close()
	if v != nil {
		v.Close()
	}
	if k%5 == 0 && k%4 != 0 {
		return // it ends without a client
	}
	s.exit(sess)
}

// TestIdle measures the memory of idle sessions.
func TestIdle(t *testing.T) {
	info, _ := debug.ReadBuildInfo()
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector has memory of its own")
	}
	for _, line := range container(t, "idle") {
		t.Log(line)
	}
}

// memory is what the supervisor uses, in KiB: the proportional set size.
func memory() int {
	runtime.GC()
	debug.FreeOSMemory()
	data, _ := os.ReadFile("/proc/self/smaps_rollup")
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

func playIdle(s *stage) {
	cfg := testConfig()
	cfg.Sessions, cfg.SessionsPerClient = 200, 200
	s.Configure(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	open := func(tty bool) {
		spec := s.sh("echo ready; exec cat")
		spec.TTY, spec.Stdin = tty, true
		_, l := s.open(spec)
		s.until(l, "ready")
		go func() { // ends with ctx
			for {
				if _, err := l.Next(ctx); err != nil {
					return
				}
			}
		}()
	}
	open(true)
	for _, tty := range []bool{true, false} {
		before := memory()
		const count = 50
		for range count {
			open(tty)
		}
		each := (memory() - before) / count
		s.say("an idle session (terminal %v): %d KiB", tty, each)
		s.want(each <= 150, "an idle session takes %d KiB", each)
	}
	s.Stop(context.Background())
	s.say("end")
}
