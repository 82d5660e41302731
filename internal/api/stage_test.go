package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
	"golang.org/x/sys/unix"
)

// TestMain lets the test binary also run as an init and its supervisor: only a real process has
// output.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "test-init":
		sigs := pid1.Catch()
		os.Exit(pid1.Run(sigs, pid1.Options{Args: []string{"test-supervisor", os.Args[1]}, Env: os.Environ(), Log: os.Stderr}))
	case "test-client":
		os.Exit(askAlone(os.Args[1], os.Args[2]))
	case "test-supervisor":
		os.Exit(play(os.Args[1]))
	}
	os.Exit(m.Run())
}

// play serves the API of one service "talk", whose shell writes the lines that it reads from
// a FIFO in dir, until the container ends.
func play(dir string) int {
	m, _, err := proc.Connect(initproto.SocketFD, proc.Options{Warn: func(string) {}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log, err := m.Logs.Open("talk", logs.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	script := `cd "$0"; mkfifo more; exec 3<>more; echo one; echo two; printf 'three \377\n'; while read -r line <&3; do echo "$line"; done`
	if _, err := m.Start(context.Background(), proc.Spec{ID: "talk.1", Argv: []string{"/bin/sh", "-c", script, dir}, Env: os.Environ(),
		Stdio: proc.Stdio{Mode: proc.Capture, Log: log}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m.Adopted()
	l, _, err := Listen(filepath.Join(dir, "api.sock"), os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b := newFake()
	b.logs["talk"] = log
	b.snaps = append(b.snaps, supervisor.Snapshot{Name: "talk", State: supervisor.Running})
	// ends with the process
	go New(Options{Backend: parts(b), Version: "test", Log: hclog.NewNullLogger(), Member: noMember}).Serve(context.Background(), l)
	for sig := range m.Signals() {
		sig.Ack()
		if sig.Stop > 0 {
			break
		}
	}
	m.Final(0, 0)
	return 0
}

// stage starts the play and gives a client for it; more writes a line to the
// service's output.
func stage(t *testing.T) (c *Client, more func(string)) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(exe)
	cmd.Args = []string{"test-init", dir}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
	})
	c = NewClient(filepath.Join(dir, "api.sock"))
	await(t, func() bool {
		lines, err := read(c, "talk", 10)
		return err == nil && len(lines) == 3
	})
	return c, func(line string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "more"), []byte(line+"\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// read gives the last lines of a log.
func read(c *Client, service string, n int) (lines []LogLine, err error) {
	err = c.Logs(context.Background(), &LogQuery{Service: service, Lines: n}, func(l LogLine) error {
		lines = append(lines, l)
		return nil
	})
	return lines, err
}

// await waits until a condition holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-limit:
			t.Fatal("the condition does not hold within 20 s")
		}
	}
}

// askAlone is a client in a separate process: it sends a command and prints the error.
// Without a verb it only connects.
func askAlone(path, verb string) int {
	if verb == "" {
		conn, err := net.Dial("unix", path)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		conn.Close()
		return 0
	}
	if _, err := NewClient(path).Command(context.Background(), "app", verb, 0); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// client makes the command of askAlone, run by another one as setpriv.
func client(t *testing.T, path, verb string, by ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command("env", append(by, "bash", "-c", `exec -a test-client "$0" "$@"`, exe, path, verb)...)
}

// fake is a backend without a supervisor.
type fake struct {
	*fakePlugins
	snaps   []supervisor.Snapshot
	asked   []string // received commands
	refuse  error    // the result of commands
	waits   []string // services that are not ready
	until   time.Time
	logs    map[string]*logs.Log
	jvmText map[string]string
	signals []string // received
	problem string   // of the configuration's files
	network *NetworkStatus
	reloads []string // received
	broken  []incident.Incident
	text    io.Reader // the answer of a JVM
	hooks   []hooks.Status
	counts  []hooks.Counter
	after   []uint64 // numbers that came with commands
	changes func()   // called by a command; may be nil
	// results of starts by service; a start that is not here does not end.
	results map[string]supervisor.StartResult
}

func (f *fake) Incidents() []incident.Summary {
	out := []incident.Summary{}
	for _, i := range f.broken {
		out = append(out, i.Summary)
	}
	return out
}

func (f *fake) Incident(number uint64) (incident.Incident, bool) {
	for _, i := range f.broken {
		if i.Number == number {
			return i, true
		}
	}
	return incident.Incident{}, false
}

func newFake() *fake {
	return &fake{fakePlugins: &fakePlugins{}, logs: map[string]*logs.Log{}, jvmText: map[string]string{}, snaps: []supervisor.Snapshot{
		{Name: "app", Kind: "java", State: supervisor.Running, Main: true, Pid: 42},
		{Name: "side car", Kind: "process", State: supervisor.Stopped}}}
}

func (f *fake) Signal(service string, sig syscall.Signal, group bool, _ string) error {
	if s, _ := f.Service(service); s.Pid == 0 {
		return proc.ErrGone
	}
	f.signals = append(f.signals, fmt.Sprintf("%s %d %v", service, sig, group))
	return nil
}

func (f *fake) Services() []supervisor.Snapshot { return f.snaps }

func (f *fake) Service(name string) (supervisor.Snapshot, bool) {
	for _, s := range f.snaps {
		if s.Name == name {
			return s, true
		}
	}
	return supervisor.Snapshot{}, false
}

func (f *fake) Ask(_ context.Context, name string, event supervisor.Event, by string, after *uint64) (uint64, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %s, %s", event, name, by))
	if after != nil {
		f.after = append(f.after, *after)
	}
	if f.changes != nil {
		f.changes()
	}
	return 5, f.refuse
}

func (f *fake) AwaitStart(ctx context.Context, name string, number uint64) (supervisor.StartResult, bool) {
	if _, ok := f.Service(name); !ok {
		return supervisor.StartResult{}, false
	}
	r, over := f.results[fmt.Sprintf("%s %d", name, number)]
	if !over {
		<-ctx.Done()
	}
	return r, true
}

func (f *fake) Ready() (bool, []string) { return len(f.waits) == 0, f.waits }
func (f *fake) ReadyService(name string) (bool, []string) {
	if snap, _ := f.Service(name); snap.State != supervisor.Running {
		return false, []string{fmt.Sprintf("%s is %s", name, snap.State)}
	}
	return true, nil
}
func (f *fake) Log(name string) *logs.Log       { return f.logs[name] }
func (f *fake) StopDeadline() (time.Time, bool) { return f.until, !f.until.IsZero() }
func (f *fake) Statuses() []hooks.Status        { return f.hooks }
func (f *fake) ConfigProblem() string           { return f.problem }
func (f *fake) Network() *NetworkStatus         { return f.network }
func (f *fake) Reload(by string, dryRun bool) (ReloadResult, error) {
	f.reloads = append(f.reloads, fmt.Sprint(by, " ", dryRun))
	return ReloadResult{DryRun: dryRun, Changes: []string{"restart web"}}, f.refuse
}
func (f *fake) Orphans() uint64           { return 17 }
func (f *fake) Counters() []hooks.Counter { return f.counts }

func (f *fake) RunHooks(_ context.Context, event lifecycle.Event, name, service, by string) ([]hooks.Outcome, error) {
	f.asked = append(f.asked, fmt.Sprintf("hooks of %s %q for %q, %s", event, name, service, by))
	switch {
	case service == "none":
		return nil, NoService("none", "")
	case name == "none":
		return nil, fmt.Errorf("%w as x", hooks.ErrNoHook)
	}
	return []hooks.Outcome{{Hook: "a", Why: "exit code 1", Tries: 1, Code: 1}}, nil
}

func (f *fake) Limits() any { return map[string]int{"effective_cpus": 2} }

func (f *fake) JVM(name string) (any, func(int) string, bool) {
	text, ok := f.jvmText[name]
	return map[string]string{"explained": name}, func(width int) string {
		if width > 0 {
			text = fmt.Sprintf("%s in %d columns", text, width)
		}
		return text
	}, ok
}

// daemon is an implementation of all parts of a Backend.
type daemon interface {
	Supervisor
	ServiceManager
	Reloader
	Evidence
	Hooks
	PluginManager
	JVMTools
	Upgrader
}

func parts(d daemon) Backend { return Backend{d, d, d, d, d, d, d, d, nil, nil, nil, nil} }

// serve serves a backend on a socket that every user can reach.
func serve(t *testing.T, b daemon, viewers ...int) string {
	t.Helper()
	return serveWith(t, b, newJournal(t), viewers...)
}

// serveWith serves with a journal.
func serveWith(t *testing.T, b daemon, journal *events.Journal, viewers ...int) string {
	t.Helper()
	return serveOptions(t, Options{Backend: parts(b), Version: "v1", Log: hclog.NewNullLogger(), Viewers: func() []int { return viewers },
		Events: journal, Member: noMember})
}

// noMember is a Member for processes of nobody.
func noMember(int) (access.Owner, error) { return access.Owner{}, nil }

// serveOptions serves with options, also on further listeners.
func serveOptions(t *testing.T, o Options, others ...net.Listener) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "api.sock")
	l, _, err := Listen(path, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	all, server := append(others, l), New(o)
	ended := make(chan error, len(all))
	for _, l := range all {
		go func() { ended <- server.Serve(ctx, l) }() // ends with ctx
	}
	t.Cleanup(func() {
		cancel()
		for range all {
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
	})
	return path
}

// as connects with another uid: the kernel takes the peer's from the thread that
// calls connect(2). The thread is not used again.
func as(uid int, path string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	out := make(chan result)
	go func() { // ends with the connection, and its thread with it
		runtime.LockOSThread()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			out <- result{nil, err}
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			out <- result{nil, errno}
			return
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		if err != nil {
			out <- result{nil, err}
			return
		}
		conn, err := net.FileConn(f)
		out <- result{conn, err}
	}()
	r := <-out
	return r.conn, r.err
}

// answerOf is the answer to one request.
type answerOf struct {
	status int
	kind   string
	body   string
}

// ask sends one request as a user; -1: as this user.
func ask(t *testing.T, path string, uid int, method, target string) answerOf {
	t.Helper()
	var conn net.Conn
	var err error
	if uid < 0 {
		conn, err = net.Dial("unix", path)
	} else {
		conn, err = as(uid, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: stoker\r\nConnection: close\r\n\r\n", method, target)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf{resp.StatusCode, resp.Header.Get("Content-Type"), strings.TrimSpace(string(body))}
}
