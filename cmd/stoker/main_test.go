package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/program"
)

var update = flag.Bool("update", false, "rewrite the golden files and scripts")

// TestMain builds the program: the init starts /proc/self/exe again as the supervisor,
// which a test binary cannot be.
func TestMain(m *testing.M) {
	flag.Parse()
	heedSignals()
	bin, err := os.MkdirTemp("", "stoker-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	if err := build(filepath.Join(bin, "stoker")); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		os.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		code = m.Run()
	}
	os.RemoveAll(bin)
	os.Exit(code)
}

// build builds the program as make does, which has it compiled already, or with STOKER_TEST_RACE=1 with the
// race detector.
func build(path string) error {
	flags, err := exec.Command("../../scripts/goflags.sh").Output()
	if err != nil {
		return fmt.Errorf("cannot read the flags of make build: %w", err)
	}
	args := append([]string{"build", "-ldflags", "-X main.version=v0.0.0-test", "-o", path}, strings.Fields(string(flags))...)
	cgo := "CGO_ENABLED=0"
	if os.Getenv("STOKER_TEST_RACE") == "1" {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build stoker: %w\n%s", err, out)
	}
	return nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", os.Getenv("PATH"))
			e.Setenv("STOKER_SOCKET", e.Getenv("WORK")+"/api.sock")
			e.Setenv("JAVA_HOME", os.Getenv("JAVA_HOME"))
			e.Setenv("XDG_STATE_HOME", e.Getenv("WORK")+"/state")
			e.Values[serviceValue] = new(configService)
			limitScript(e)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Getuid() == 0, nil
			case "mounts":
				return mounts(t)
			case "java":
				return installed(t, "java")
			case "javac":
				return installed(t, "javac")
			}
			return false, fmt.Errorf("there is no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":          await,
			"kill-init":      killInit,
			"killsupervisor": killSupervisor,
			"exits":          exits,
			"killservice":    killService,
			"signalservice":  signalService,
			"samepid":        samePid,
			"serve":          serve,
			"get":            get,
		},
	})
}

// installed reports whether a program is installed. With STOKER_CI=1 its
// absence is a failure.
func installed(t *testing.T, program string) (bool, error) {
	_, err := exec.LookPath(program)
	if err != nil && os.Getenv("STOKER_CI") == "1" {
		return false, err
	}
	if err != nil {
		t.Logf("%s is not installed: its tests are skipped", program)
	}
	return err == nil, nil
}

// mounts reports whether a mount namespace can be made. With STOKER_CI=1 it is a failure
// if it cannot.
func mounts(t *testing.T) (bool, error) {
	err := exec.Command("unshare", "--mount", "true").Run()
	if err != nil && os.Getenv("STOKER_CI") == "1" {
		return false, err
	}
	if err != nil {
		t.Logf("cannot mount here: %v", err)
	}
	return err == nil, nil
}

// get PATH sends a request to the API; the answer is the script's stdout.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: get path")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ts.Getenv("STOKER_SOCKET"))
		}}}
	resp, err := client.Get("http://stoker" + args[0])
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s", args[0], resp.Status)
	}
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
}

// exits CODE COMMAND... wants the command to exit with CODE.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command args")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// configService is the configuration service of a script.
type configService struct{ server *http.Server }

const serviceValue = "service"

// serve DIR serves the files of a folder on the port that $PORT names from then on,
// and ! serve ends that.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serviceValue).(*configService)
	if neg && s.server != nil {
		ts.Check(s.server.Close())
		return
	}
	if neg || len(args) != 1 || s.server != nil {
		ts.Fatalf("usage: serve dir, once, and ! serve")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Clean(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(data))))
		http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(data))
	})}
	go s.server.Serve(l) // ends with Close
	ts.Defer(func() { s.server.Close() })
	ts.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// awaitTime bounds await.
const awaitTime = 30 * time.Second

// await PATTERN COMMAND... runs the command until its output matches, and ! await
// until it does not match.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: await pattern command args")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	limit := time.After(awaitTime)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if re.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit:
			ts.Fatalf("the output matched %q: %v, also after %v; the last error was %v", args[0], neg, awaitTime, err)
		}
	}
}

// initPid finds the stoker that runs in the background.
func initPid(ts *testscript.TestScript) int {
	for _, cmd := range ts.BackgroundCmds() {
		if filepath.Base(cmd.Path) == "stoker" && len(cmd.Args) > 1 && cmd.Args[1] == "run" {
			return cmd.Process.Pid
		}
	}
	ts.Fatalf("no stoker runs in the background")
	return 0
}

// kill-init SIGNAL
func killInit(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "PIPE": syscall.SIGPIPE}
	ts.Check(syscall.Kill(initPid(ts), signals[args[0]]))
}

// killsupervisor kills the supervisor with SIGKILL.
func killSupervisor(ts *testscript.TestScript, _ bool, _ []string) {
	init := initPid(ts)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", init))
	ts.Check(err)
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(data)) {
			line, err := os.ReadFile("/proc/" + child + "/cmdline")
			if argv := strings.Split(string(line), "\x00"); err == nil && len(argv) > 1 && argv[1] == superviseCommand {
				var pid int
				fmt.Sscan(child, &pid)
				ts.Check(syscall.Kill(pid, syscall.SIGKILL))
				return
			}
		}
	}
	ts.Fatalf("init %d has no supervisor", init)
}

// pidOf reads the pid of a service out of status -o json.
func pidOf(ts *testscript.TestScript, text, name string) int {
	var st api.Status
	ts.Check(json.Unmarshal([]byte(text), &st))
	for _, s := range st.Services {
		if s.Name == name && s.Pid != 0 {
			return s.Pid
		}
	}
	ts.Fatalf("%s has no process:\n%s", name, text)
	return 0
}

// killservice SERVICE kills its process with SIGKILL.
func killService(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("stoker", "status", "-o", "json"))
	ts.Check(syscall.Kill(pidOf(ts, ts.ReadFile("stdout"), args[0]), syscall.SIGKILL))
}

// signalservice SIGNAL SERVICE signals its process.
func signalService(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	ts.Check(ts.Exec("stoker", "status", "-o", "json"))
	ts.Check(syscall.Kill(pidOf(ts, ts.ReadFile("stdout"), args[1]), signals[args[0]]))
}

// samepid FILE SERVICE wants that the service has the process of the status in FILE.
func samePid(ts *testscript.TestScript, _ bool, args []string) {
	before := pidOf(ts, ts.ReadFile(args[0]), args[1])
	ts.Check(ts.Exec("stoker", "status", "-o", "json"))
	if now := pidOf(ts, ts.ReadFile("stdout"), args[1]); now != before {
		ts.Fatalf("%s has pid %d now, and had %d", args[1], now, before)
	}
}

func TestExitCode(t *testing.T) {
	_, missing := config.Load(config.Options{File: "/nowhere/stoker.yaml"})
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"any", errors.New("x"), exit.Failed},
		{"hint with a code", fmt.Errorf("outer: %w", &exit.Error{Err: errors.New("x"), Hint: "y", Code: exit.Usage}), exit.Usage},
		{"hint without one", &exit.Error{Err: errors.New("x"), Hint: "y"}, exit.Failed},
		{"hint around what has one", &exit.Error{Err: api.ErrNoSocket, Hint: "y"}, exit.Unavailable},
		{"configuration", fmt.Errorf("outer: %w", missing), exit.BadConfig},
		{"forbidden", &api.StatusError{Status: 403}, exit.Refused},
		{"no such service", fmt.Errorf("outer: %w", &api.StatusError{Status: 404}), exit.NotFound},
		{"stopping", &api.StatusError{Status: 503}, exit.Failed},
		{"not now", &api.StatusError{Status: 409, Code: api.CodeNotNow}, exit.TryLater},
		{"no answer in time", &api.StatusError{Status: 504, Code: api.CodeTimeout}, exit.TryLater},
		{"no room", &api.StatusError{Status: 507, Code: api.CodeNoRoom}, exit.CannotWrite},
		{"file exists", &api.StatusError{Status: 409, Code: api.CodeFileExists}, exit.CannotWrite},
		{"another upgrade", &api.StatusError{Status: 409, Code: "upgrading"}, exit.Failed},
		{"no stoker answers", fmt.Errorf("outer: %w", api.ErrNoSocket), exit.Unavailable},
		{"program missing", &program.StartError{Path: "/x", Err: syscall.ENOENT}, 127},
		{"program not executable", &program.StartError{Path: "/x", Err: syscall.EACCES}, 126},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestWantsHelp(t *testing.T) {
	for line, want := range map[string]bool{"": false, "--help": true, "-h": true, "--set a=b --help": false, "-- ls --help": false,
		"ls --help": false, "--with-services -h": true, "--": false} {
		if got := wantsHelp(strings.Fields(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
