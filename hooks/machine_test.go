package hooks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// The test binary is the init, the supervisor and the test: real processes need all three.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == execshim.Command:
		os.Exit(execshim.Run())
	case os.Args[0] == "test-init":
		sigs := pid1.Catch()
		os.Exit(pid1.Run(sigs, pid1.Options{Args: append([]string{"test-supervisor"}, os.Args[1:]...), Env: os.Environ(), Log: os.Stderr}))
	case os.Args[0] == "test-supervisor":
		supervise(os.Args[1], os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// testSupervisor is what a script works with.
type testSupervisor struct {
	m         *proc.Manager
	starts    int
	dir       string
	recovered Recovered
	host      *ManagerHost
	warnings  *int
}

// supervise runs a script as the supervisor.
func supervise(name, dir string) {
	pid1.Catch()
	warned := 0
	m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{Warn: func(s string) { fmt.Fprintln(os.Stderr, s); warned++ }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	m.Adopted()
	s := &testSupervisor{m: m, starts: rec.Starts, dir: dir, warnings: &warned}
	s.host, s.recovered = NewManagerHost(m, rec)
	map[string]func(*testSupervisor){"machine": superviseMachine, "parallel": superviseParallel, "exchange": superviseExchange}[name](s)
	m.Logs.Flush(2 * time.Second)
	m.Final(0, 100*time.Millisecond)
	<-m.Gone()
	os.Exit(0)
}

func (s *testSupervisor) record(format string, args ...any) {
	f, _ := os.OpenFile(s.dir+"/said", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	fmt.Fprintf(f, format+"\n", args...)
	f.Close()
}

// runner makes a Runner.
func (s *testSupervisor) runner(list ...ResolvedHook) *Runner {
	registry := NewRegistry(list, Facts{})
	return NewRunner(Options{Host: s.host, Recovered: s.recovered, Log: hclog.NewNullLogger(), Registry: func() *Registry { return registry },
		Env: map[string]string{"PATH": os.Getenv("PATH"), "DIR": s.dir}, Runtime: s.dir + "/run"})
}

func sh(e lifecycle.Event, name, text string, more ...func(*ResolvedHook)) ResolvedHook {
	return newHook(e, name, "", append(more, func(b *ResolvedHook) { b.Command = []string{"/bin/sh", "-c", text} })...)
}

// container runs a script below an init of its own.
func container(t testing.TB, script string) (recorded, stdout string) {
	t.Helper()
	return containerIn(t, script, t.TempDir())
}

func containerIn(t testing.TB, script, dir string) (recorded, stdout string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", `exec -a test-init "$0" "$@"`, exe, script, dir)
	if os.Getuid() == 0 {
		cmd = exec.Command("unshare", "-pf", "--mount-proc", "bash", "-c", `exec -a test-init "$0" "$@"`, exe, script, dir)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if !timer.Stop() {
		t.Error("it did not end within 2 minutes")
	}
	data, _ := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil {
		t.Errorf("%v\n%s", err, data)
	}
	return string(data), out.String()
}

// superviseMachine runs hooks many times, is killed during one, and continues.
func superviseMachine(s *testSupervisor) {
	list := []ResolvedHook{
		sh(lifecycle.Ready, "daemon", "setsid sleep 1000 & (sleep 1000 &) ; echo left", parallel),
		sh(lifecycle.Ready, "closed", "exec >&- 2>&-; exit 4", parallel),
		sh(lifecycle.Ready, "gives", "echo annotation a=b >$STOKER_OUT", parallel),
		sh(lifecycle.Ready, "fails", "exit 127", parallel),
		sh(lifecycle.Ready, "big", "head -c 200000 /dev/zero | tr '\\0' x", parallel),
		sh(lifecycle.PreStart, "long", "echo begins; while [ ! -e $DIR/go ]; do sleep 0.01; done; echo ends; echo env A=b >$STOKER_OUT"),
	}
	r := s.runner(list...)
	ctx := context.Background()
	if s.starts == 1 {
		var before [2]int
		for start := range uint64(12) {
			o := of(lifecycle.Ready, start+1)
			r.Tell(o)
			r.Settle(ctx)
			if start == 3 {
				before = s.usage([2]int{})
			}
		}
		after := s.usage(before)
		s.record("more descriptors %t, more goroutines %t, logs %d", after[0] > before[0], after[1] > before[1], len(s.m.Logs.Names()))
		for _, n := range r.Counters() {
			s.record("%s %s %d", n.Hook, n.Result, n.Runs)
		}
		go func() { _ = r.Await(ctx, of(lifecycle.PreStart, 13)) }() // ends with us
		s.until(func() bool { return len(s.m.Logs.Names()) == 1 && s.m.Logs.Get(s.m.Logs.Names()[0]).End() > 0 })
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	if err := os.WriteFile(s.dir+"/go", nil, 0o644); err != nil {
		s.record("%v", err)
	}
	err := r.Await(ctx, of(lifecycle.PreStart, 13))
	s.record("taken over: %v, %v", err, r.Output("app", os.Geteuid()).Env)
	s.until(func() bool { return len(s.m.Logs.Names()) == 0 })
	left, _ := os.ReadDir(s.dir + "/run")
	s.record("left: %d files, %d logs, %d warnings", len(left), len(s.m.Logs.Names()), *s.warnings)
}

// usage counts descriptors and goroutines, once there are not more than before.
func (s *testSupervisor) usage(before [2]int) (now [2]int) {
	s.until(func() bool {
		all, _ := os.ReadDir("/proc/self/fd")
		now = [2]int{len(all), runtime.NumGoroutine()}
		return len(s.m.Logs.Names()) == 0 && (before == [2]int{} || now[0] <= before[0] && now[1] <= before[1])
	})
	return now
}

func (s *testSupervisor) until(holds func() bool) {
	for end := time.Now().Add(20 * time.Second); !holds() && time.Now().Before(end); {
		_, _ = unix.Poll(nil, 5)
	}
}

func TestRealProcesses(t *testing.T) {
	recorded, stdout := container(t, "machine")
	const want = "more descriptors false, more goroutines false, logs 0\nbig ok 12\nclosed failed 12\ndaemon ok 12\nfails failed 12\ngives ok 12\ntaken over: <nil>, map[A:b]\nleft: 0 files, 0 logs, 0 warnings\n"
	if recorded != want {
		t.Errorf("%s", recorded)
	}
	for _, text := range []string{"hook ready/daemon | left\n", "hook pre-start/long | begins\n", "hook pre-start/long | ends\n"} {
		if got, want := strings.Count(stdout, text), map[bool]int{true: 12, false: 1}[strings.Contains(text, "daemon")]; got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
}

// superviseExchange runs hooks while a folder above their files is exchanged for another one
// all the time: below one the file is root's, below the other the application's. One
// folder around them is the application's, which does this; the other is root's.
func superviseExchange(s *testSupervisor) {
	const app, starts = 4711, 60
	shell, _ := os.ReadFile("/bin/sh")
	var list []ResolvedHook
	for _, around := range []string{"owned", "safe"} {
		for tree, owner := range map[string]int{"one": 0, "two": app} {
			dir := filepath.Join(s.dir, around, tree, "ready.d")
			_ = os.MkdirAll(dir, 0o755)
			text := []byte("#!/bin/sh\necho of the application >>$DIR/ran\n")
			if owner == 0 {
				text = shell
			}
			_ = os.WriteFile(dir+"/10-hook", text, 0o755)
			_ = os.Chown(dir+"/10-hook", owner, owner)
		}
		path := filepath.Join(s.dir, around, "one", "ready.d", "10-hook")
		program := func(b *ResolvedHook) { b.Command = []string{path, "-c", "echo " + around + " >>$DIR/ran"} }
		list = append(list, newHook(lifecycle.Ready, around+"-file", "", func(b *ResolvedHook) { b.Path = path }),
			newHook(lifecycle.Ready, around+"-command", "", program), newHook(lifecycle.Ready, around+"-plugin", "", program,
				func(b *ResolvedHook) { b.Plugin = "p" }))
	}
	_ = os.Chown(s.dir+"/owned", app, app)
	r := s.runner(list...)
	done := make(chan struct{})
	var exchanged atomic.Uint64
	go func() { // ends with done
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, around := range []string{"/owned", "/safe"} {
				if unix.Renameat2(unix.AT_FDCWD, s.dir+around+"/one", unix.AT_FDCWD, s.dir+around+"/two", unix.RENAME_EXCHANGE) == nil {
					exchanged.Add(1)
				}
			}
		}
	}()
	for start := range uint64(starts) {
		r.Tell(of(lifecycle.Ready, start+1))
		r.Settle(context.Background())
	}
	close(done)
	for _, n := range r.Counters() {
		s.record("%s %s %d", n.Hook, n.Result, n.Runs)
	}
	s.record("exchanged %t", exchanged.Load() > 100*starts)
}

// TestFolderIsExchangedMeanwhile: root executes what was checked.
func TestFolderIsExchangedMeanwhile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	recorded, _ := containerIn(t, "exchange", dir)
	for _, kind := range []string{"file", "command", "plugin"} {
		if !strings.Contains(recorded, "owned-"+kind+" failed 60\n") || strings.Contains(recorded, "owned-"+kind+" ok") {
			t.Errorf("a program below a folder of the application was executed:\n%s", recorded)
		}
		if !strings.Contains(recorded, "safe-"+kind+" ok ") {
			t.Errorf("no program of root was executed:\n%s", recorded)
		}
	}
	if !strings.Contains(recorded, "exchanged true") {
		t.Errorf("too few exchanges:\n%s", recorded)
	}
	ran, _ := os.ReadFile(dir + "/ran")
	if !strings.Contains(string(ran), "safe") || strings.Contains(string(ran), "of the application") || strings.Contains(string(ran),
		"owned") {
		t.Errorf("root has executed\n%s", ran)
	}
}

// superviseParallel times one hook that does nothing, and twenty at the same time.
func superviseParallel(s *testSupervisor) {
	var list []ResolvedHook
	for k := range 20 {
		list = append(list, newHook(lifecycle.Ready, fmt.Sprint("n", k), "/bin/true", parallel))
	}
	r := s.runner(append(list, newHook(lifecycle.Unhealthy, "one", "/bin/true"))...)
	took := map[lifecycle.Event]time.Duration{}
	const rounds = 20
	for start := range uint64(rounds) {
		for _, e := range []lifecycle.Event{lifecycle.Unhealthy, lifecycle.Ready} {
			begun := time.Now()
			r.Tell(of(e, start+1))
			r.Settle(context.Background())
			took[e] += time.Since(begun)
		}
	}
	s.record("%d %d", took[lifecycle.Unhealthy]/rounds, took[lifecycle.Ready]/rounds)
}

// BenchmarkParallelHooks compares twenty hooks at once with one.
func BenchmarkParallelHooks(b *testing.B) {
	var one, all, times int64
	for b.Loop() {
		recorded, _ := container(b, "parallel")
		var o, a int64
		if _, err := fmt.Sscan(recorded, &o, &a); err != nil {
			b.Fatal(err)
		}
		one, all, times = one+o, all+a, times+1
	}
	b.ReportMetric(float64(one/times)/1e6, "ms/one")
	b.ReportMetric(float64(all/times)/1e6, "ms/twenty")
	b.ReportMetric(float64(all)/float64(one), "ratio")
}
