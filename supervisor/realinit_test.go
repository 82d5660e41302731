package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/supervisor/probe"
	"golang.org/x/sys/unix"
)

// withInit runs a test's body as a supervisor under a real init: the test starts
// its own binary as the init, which starts it as the supervisor, again and again
// when play dies. In the test itself it gives what play said and false; in the
// supervisor it ends the process.
func withInit(t *testing.T, play func(m *proc.Manager, rec *proc.Recovered, dir string) (said string)) (string, bool) {
	t.Helper()
	const role, where = "STOKER_STAGE_ROLE", "STOKER_STAGE_DIR"
	dir := os.Getenv(where)
	switch os.Getenv(role) {
	case "init":
		os.Setenv(role, "supervisor")
		sigs := pid1.Catch()
		os.Exit(pid1.Run(sigs, pid1.Options{Args: os.Args, Env: os.Environ(), Log: os.Stderr}))
	case "supervisor":
		pid1.Catch()
		m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{Warn: func(s string) { fmt.Fprintln(os.Stderr, "warning:", s) }})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
		m.Adopted()
		if err := os.WriteFile(filepath.Join(dir, "said"), []byte(play(m, rec, dir)), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		m.Final(0, 100*time.Millisecond)
		<-m.Gone()
		os.Exit(0)
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // a busy machine starts many processes slowly
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), role+"=init", where+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	said, readErr := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil || readErr != nil {
		t.Fatalf("%v, %v\n%s", err, readErr, stderr.String())
	}
	return string(said), true
}

// TestExecOfProcess: a command that does not end is killed with what it has forked,
// one that ends leaves nothing behind, and a thousand checks cost nothing.
func TestExecOfProcess(t *testing.T) {
	said, _ := withInit(t, func(m *proc.Manager, _ *proc.Recovered, dir string) string {
		n := 0
		start := func(ctx context.Context, argv []string) (int, string, error) {
			n++
			return proc.RunProbe(ctx, m, proc.Spec{ID: fmt.Sprint("probe.", n), Argv: argv, Env: os.Environ()})
		}
		sh := func(script string, limit time.Duration) error {
			l := probe.Config{Exec: []string{"/bin/sh", "-c", script, dir}}
			return probe.Check(context.Background(), l.New(start), nil, limit)
		}
		var out strings.Builder
		say := func(v any) { fmt.Fprintln(&out, v) }
		say(sh("exit 0", time.Minute))
		say(sh("echo not yet; exit 3", time.Minute))
		say(sh(`sleep 300 & echo $! >"$0"/slow; echo waiting; wait`, 3*time.Second))
		say(sh(`sleep 300 & echo $! >"$0"/left; exit 0`, time.Minute))
		say(sh(`exec /no/such`, time.Minute))
		say(probe.Config{Exec: []string{"/no/such"}}.New(start)(context.Background(), nil))
		for _, name := range []string{"slow", "left"} {
			say(name + " " + processFate(filepath.Join(dir, name)))
		}
		goroutines, files := runtime.NumGoroutine(), openFiles()
		for range 300 {
			_ = sh("sleep 300 & exit 0", time.Minute)
		}
		for limit := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines || openFiles() > files; {
			if time.Now().After(limit) {
				say(fmt.Sprintf("%d goroutines and %d files became %d and %d", goroutines, files, runtime.NumGoroutine(), openFiles()))
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		return out.String()
	})
	want := `<nil>
exec /bin/sh: exit code 3: not yet
exec /bin/sh: did not end within 3s and was killed: waiting
<nil>
exec /bin/sh: exit code 127: /tmp/x: 1: exec: /no/such: not found
exec /no/such: cannot execute /no/such: no such file or directory
slow is gone
left is gone
`
	lines := strings.Split(said, "\n")
	if len(lines) > 4 && strings.HasPrefix(lines[4], "exec /bin/sh: exit code 127") {
		lines[4] = "exec /bin/sh: exit code 127: /tmp/x: 1: exec: /no/such: not found" // every shell has its own words
	}
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("said\n%s\nwant\n%s", got, want)
	}
}

// processFate says whether the process whose pid is in a file is gone, and waits for
// that a while.
func processFate(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return err.Error()
	}
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		if b, err := procfs.ReadStat(pid); err != nil || b.State == 'Z' || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return "is gone"
		}
		<-time.After(10 * time.Millisecond)
	}
	return "lives"
}

// TestIncidentsOutliveTheSupervisor: a real init, and kill -9 behind each Add.
func TestIncidentsOutliveTheSupervisor(t *testing.T) {
	said, _ := withInit(t, func(m *proc.Manager, rec *proc.Recovered, dir string) string {
		s := incident.Restore(m.FDStore(), rec.Items, func(w string) { fmt.Fprintln(os.Stderr, w) })
		if rec.Starts <= 15 {
			n := s.Add(incident.Incident{Summary: incident.Summary{Service: "app", Start: uint64(rec.Starts), Reason: "SIGSEGV <in> libc"},
				Output: []byte("0123456789")})
			if rec.Starts%2 == 0 {
				s.Amend(n, func(i *incident.Incident) { i.Reason = "amended" })
			}
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
		var out strings.Builder
		for _, l := range s.List() {
			i, ok := s.Get(l.Number)
			fmt.Fprintf(&out, "%d %d %v %s %d\n", l.Number, i.Start, ok, i.Reason, len(i.Output))
		}
		return out.String()
	})
	var want strings.Builder
	for n := 15; n > 5; n-- {
		reason := "SIGSEGV <in> libc"
		if n%2 == 0 {
			reason = "amended"
		}
		fmt.Fprintf(&want, "%d %d true %s 10\n", n, n, reason)
	}
	if said != want.String() {
		t.Errorf("said\n%s\nwant\n%s", said, want.String())
	}
}

// openFiles is how many descriptors this process has.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
