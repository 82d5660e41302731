package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/program"
	"golang.org/x/sys/unix"
)

func num(n int) *int { return &n }

func mustLimits(set map[string]string) []execshim.Rlimit {
	l, err := execshim.ParseRlimits(set)
	if err != nil {
		panic(err)
	}
	return l
}

// what prints everything that the shim may have set, as the program sees it.
const what = `grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|SigBlk|SigIgn|Threads):' /proc/self/status
grep -E '^Max (open files|core file size|processes)' /proc/self/limits | sed 's/  */ /g'
echo oom $(cat /proc/self/oom_score_adj)
echo nice $(nice)
echo ionice $(ionice)
echo umask $(umask)
echo dir $(pwd)
echo fds $(ls /proc/self/fd | wc -w)
exit 6`

// show starts spec and says what it printed.
func show(s *stage, spec Spec) {
	l, _ := s.m.Logs.Open("out", logs.Options{})
	from := l.End()
	spec.Stdio, spec.Env = Stdio{Mode: Capture, Log: l}, append(os.Environ(), "HOME=/")
	if spec.Argv == nil {
		spec.Argv = []string{"/bin/sh", "-c", what}
	}
	p, err := s.m.Start(context.Background(), spec)
	if err != nil {
		s.say("%s", strings.ReplaceAll(err.Error(), s.dir, "DIR"))
		return
	}
	s.say("status %d", status(p))
	l.Lines(context.Background(), from, false, func(l logs.Line) error {
		s.say("%s",
			strings.ReplaceAll(string(l.Text), "\t", " "))
		return nil
	})
}

// surroundingScripts are more supervisors of the tests.
var surroundingScripts = map[string]play{
	"surroundings": {play: func(s *stage) int {
		os.Mkdir(s.dir+"/closed", 0o700)
		os.Chown(s.dir+"/closed", 65534, 65534)
		for d := s.dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
			os.Chmod(d, 0o755)
		}
		drop, _ := execshim.ParseCapabilities([]string{"net_raw", "CAP_CHOWN"})
		u := &asuser.User{Name: "nobody", UID: 65534, GID: 65534, Groups: []uint32{7, 65534}}
		io, _ := execshim.ParseIONice("best-effort:7")
		show(s, Spec{ID: "all", User: u, Dir: s.dir + "/closed", Attributes: execshim.Attributes{
			Rlimits: mustLimits(map[string]string{"nofile": "900:1000", "core": "0", "as": "unlimited", "nproc": "500"}), Nice: num(5),
			IOPriority: &io, OOMScoreAdj: num(300), Drop: drop, NoNewPrivileges: true, Umask: num(0o77)}})
		return 0
	}},
	"root": {play: func(s *stage) int {
		drop, _ := execshim.ParseCapabilities([]string{"net_raw", "CAP_CHOWN"})
		show(s, Spec{ID: "some", Attributes: execshim.Attributes{Drop: drop, Nice: num(-5)}})
		show(s, Spec{ID: "none", Attributes: execshim.Attributes{Drop: execshim.AllCapabilities}})
		return 0
	}},
	// Outside of a PID namespace nothing else ends what the supervisor has started.
	"init-killed": {play: func(s *stage) int {
		p := s.sh("a", "trap '' TERM; echo up; exec sleep 30")
		l, _ := s.m.Logs.Open("out", logs.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		l.Lines(ctx, 0, true, func(logs.Line) error { cancel(); return nil })
		s.m.KillWhenGone()
		unix.Kill(s.m.Init().Pid, unix.SIGKILL)
		<-s.m.Gone()
		s.m.Final(0, 0)
		alive := true
		for end := time.Now().Add(10 * time.Second); alive && time.Now().Before(end); unix.Poll(nil, 2) {
			stat, err := procfs.ReadStat(p.Pid())
			alive = err == nil && stat.Alive()
		}
		s.say("alive %v", alive)
		return 0
	}},
	// Everything that is started is a likelier victim than the supervisor.
	"victims": {opts: func(o *Options, _ string) {
		o.OOMRaise = func() int { return 40 }
		os.WriteFile("/proc/self/oom_score_adj", []byte("7"), 0)
	}, play: func(s *stage) int {
		argv := []string{"/bin/cat", "/proc/self/oom_score_adj"}
		show(s, Spec{ID: "plain", Argv: argv})
		show(s, Spec{ID: "shim", Argv: argv, Attributes: execshim.Attributes{Umask: num(0o22)}})
		show(s, Spec{ID: "user", Argv: argv, User: &asuser.User{Name: "nobody", UID: 65534, GID: 65534}})
		show(s, Spec{ID: "set", Argv: argv, Attributes: execshim.Attributes{OOMScoreAdj: num(20)}})
		own, err := os.ReadFile("/proc/self/oom_score_adj")
		s.say("own %s %v", strings.TrimSpace(string(own)), err)
		return 0
	}},
	"first-victims": {opts: func(o *Options, _ string) { o.OOMRaise = func() int { return 2000 } }, play: func(s *stage) int {
		show(s, Spec{ID: "plain", Argv: []string{"/bin/cat", "/proc/self/oom_score_adj"}})
		return 0
	}},
	// The soft limit that the Go runtime raised must not reach a program.
	"nofile": {opts: nil, play: func(s *stage) int {
		argv := []string{"/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"}
		show(s, Spec{ID: "fast", Argv: argv})
		show(s, Spec{ID: "shim", Argv: argv, Attributes: execshim.Attributes{Umask: num(0o22)}})
		show(s, Spec{ID: "set", Argv: argv, Attributes: execshim.Attributes{Rlimits: mustLimits(map[string]string{"nofile": "77:99"})}})
		return 0
	}},
	"tight": {play: func(s *stage) int {
		show(s, Spec{ID: "tight", Argv: []string{"/bin/sh", "-c", "exit 3"},
			Attributes: execshim.Attributes{Rlimits: mustLimits(map[string]string{
				"as": "20000000", "data": "4000000", "nproc": "1", "fsize": "0", "stack": "1000000", "memlock": "0", "sigpending": "0"})}})
		show(s, Spec{ID: "absurd", Argv: []string{"/bin/true"}, Attributes: execshim.Attributes{
			Rlimits: mustLimits(map[string]string{"as": "1"})}})
		show(s, Spec{ID: "files", Argv: []string{"/bin/sh", "-c", "exit 4"},
			Attributes: execshim.Attributes{Rlimits: mustLimits(map[string]string{"nofile": "4"})}})
		return 0
	}},
	"refused": {play: func(s *stage) int {
		yes := []string{"/bin/true"}
		show(s, Spec{ID: "1", Argv: yes, Attributes: execshim.Attributes{Nice: num(-1)}})
		show(s, Spec{ID: "2", Argv: yes, Attributes: execshim.Attributes{OOMScoreAdj: num(-1)}})
		show(s, Spec{ID: "3", Argv: yes, Attributes: execshim.Attributes{Rlimits: mustLimits(map[string]string{"nofile": "100000000"})}})
		rt, _ := execshim.ParseIONice("realtime:0")
		show(s, Spec{ID: "4", Argv: yes, Attributes: execshim.Attributes{IOPriority: &rt}})
		show(s, Spec{ID: "5", Argv: yes, Attributes: execshim.Attributes{Drop: execshim.AllCapabilities}})
		show(s, Spec{ID: "6", Argv: yes, Attributes: execshim.Attributes{Drop: execshim.AllCapabilities, NoNewPrivileges: true}})
		show(s, Spec{ID: "7", Argv: yes, Attributes: execshim.Attributes{Umask: num(0)},
			User: &asuser.User{Name: "nobody", UID: 65534, GID: 65534}})
		show(s, Spec{ID: "8", Argv: yes, Attributes: execshim.Attributes{Umask: num(0)},
			User: &asuser.User{Name: "1:2", UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Groups: []uint32{5}, Grouped: true}})
		show(s, Spec{ID: "9", Argv: yes, Attributes: execshim.Attributes{Umask: num(0)}, Dir: s.dir + "/none"})
		return 0
	}},
	// A user without an entry opens its output once more, before and after a kill -9
	// of the supervisor, and does the same beside it: in a hook and by the shim.
	"stdout": {play: func(s *stage) int {
		reopen := []string{"/bin/sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr; echo c >>/proc/self/fd/1; exit 5"}
		u := &asuser.User{Name: "12345:12345", UID: 12345, GID: 12345}
		if s.first() {
			show(s, Spec{ID: "plain", Argv: reopen, User: u})
			show(s, Spec{ID: "shim", Argv: reopen, User: u, Attributes: execshim.Attributes{Umask: num(0o22)}})
			l, _ := s.m.Logs.Open("out", logs.Options{})
			_, err := s.m.Start(context.Background(), Spec{ID: "adopted", User: u, Stdio: Stdio{Mode: Capture, Log: l}, Env: os.Environ(),
				Argv: []string{"/bin/sh", "-c", "while [ ! -e " + s.dir + "/go ]; do sleep 0.02; done; exec " + reopen[0] + " -c '" + reopen[2] + "'"}})
			if err != nil {
				s.say("%v", err)
			}
			s.m.Adopted()
			for d := s.dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
				os.Chmod(d, 0o755)
			}
			die()
		}
		l, _ := s.m.Logs.Open("out", logs.Options{})
		from := l.End()
		os.WriteFile(s.dir+"/go", nil, 0o644)
		s.say("status %d", status(s.process("adopted")))
		l.Lines(context.Background(), from, false, func(l logs.Line) error { s.say("%s", l.Text); return nil })
		return 0
	}},
	// The files of a caller: a file and a pipe, used by another user, and a file that a process
	// goes on to write after a kill -9 of the supervisor.
	"files": {play: func(s *stage) int {
		u := &asuser.User{Name: "12345:12345", UID: 12345, GID: 12345}
		if s.first() {
			in, _ := os.Create(s.dir + "/in")
			in.WriteString("input\n")
			in.Seek(0, 0)
			r, w, _ := os.Pipe()
			start := func(id, script string, files ...*os.File) *Process {
				spec := Spec{ID: id, User: u, Env: os.Environ(), Argv: []string{"/bin/sh", "-c", script}, Stdio: Stdio{Mode: Files}}
				copy(spec.Stdio.Files[:], files)
				p, err := s.m.Start(context.Background(), spec)
				if err != nil {
					s.say("%v", err)
					os.Exit(1)
				}
				return p
			}
			s.say("status %d", status(start("all", "cat; echo again >/dev/stdout; readlink /proc/self/fd/2; exit 5", in, w)))
			_, err := w.WriteString("still open\n")
			info, _ := in.Stat()
			s.say("%v, the file's owner %d", err, info.Sys().(*syscall.Stat_t).Uid)
			w.Close()
			text, _ := io.ReadAll(r)
			s.say("%s", strings.TrimSpace(string(text)))
			out, _ := os.Create(s.dir + "/out")
			start("adopted", "while [ ! -e "+s.dir+"/go ]; do sleep 0.02; done; echo out; exit 6", nil, out, out)
			for d := s.dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
				os.Chmod(d, 0o755)
			}
			die()
		}
		os.WriteFile(s.dir+"/go", nil, 0o644)
		p := s.process("adopted")
		s.say("status %d", status(p))
		text, _ := os.ReadFile(s.dir + "/out")
		s.say("%slogs %q", text, s.m.Logs.Names())
		return 0
	}},
	"no-chown": {play: func(s *stage) int {
		for _, id := range []string{"one", "two"} {
			show(s, Spec{ID: id, Argv: []string{"/bin/sh", "-c", "echo works; echo lost >/dev/stdout"},
				User: &asuser.User{Name: "12345", UID: 12345, GID: 12345}})
		}
		return 0
	}},
	"no-cgroup": {play: func(s *stage) int {
		show(s, Spec{ID: "a", Argv: []string{"/bin/true"}, Attributes: execshim.Attributes{Cgroups: []string{s.dir + "/none"}}})
		return 0
	}},
}

func TestSurroundings(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	r := runPlay(t, "surroundings")
	for _, want := range []string{"status 6", "Uid: 65534 65534 65534 65534", "Gid: 65534 65534 65534 65534", "Groups: 7 65534",
		"CapInh: 0000000000000000", "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapAmb: 0000000000000000",
		"NoNewPrivs: 1", "SigBlk: 0000000000000000", "SigIgn: 0000000000000000", "Threads: 1", "Max open files 900 1000 files",
		"Max core file size 0 0 bytes", "Max processes 500 500 processes",
		"oom 300", "nice 5", "ionice best-effort: prio 7", "umask 0077", "dir " + r.dir + "/closed", "fds 4"} {
		if !strings.Contains(r.said, want+"\n") && !strings.Contains(r.said, want+" \n") {
			t.Errorf("no %q in:\n%s", want, r.said)
		}
	}
	checkBounding(t, r.said, 1<<unix.CAP_NET_RAW|1<<unix.CAP_CHOWN)
}

func TestUserOpensItsOutput(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	r := runPlay(t, "stdout")
	for _, text := range []string{"status 5\n", "a\n", "b\n", "c\n"} {
		if n := strings.Count("\n"+r.said, "\n"+text); n != 3 {
			t.Errorf("%d of %q in:\n%s", n, text, r.said)
		}
	}
	if strings.Contains(r.stderr, "CAP_CHOWN") {
		t.Error(r.stderr)
	}
	r = runPlay(t, "no-chown", "-c", "-chown")
	if n := strings.Count(r.stderr, "cannot open /dev/stdout and /dev/stderr: operation not permitted (needs CAP_CHOWN)"); n != 1 ||
		strings.Count(r.said, "works\n") != 2 {
		t.Errorf("warned %d times:\n%s\n%s", n, r.stderr, r.said)
	}
}

func TestFilesOfTheCaller(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	runPlay(t, "files").want(t, "status 5", "<nil>, the file's owner 0", "input", "again", "/dev/null", "still open", "status 6", "out", "logs []")
}

// checkBounding wants gone, and nothing else of ours, out of every set.
func checkBounding(t *testing.T, said string, gone uint64) {
	t.Helper()
	for line := range strings.Lines(said) {
		var set uint64
		if _, err := fmt.Sscanf(line, "CapBnd: %x", &set); err != nil {
			continue
		}
		if set&gone != 0 || set == 0 {
			t.Errorf("the bounding set is %x, and %x should be gone", set, gone)
		}
		return
	}
	t.Error("no bounding set")
}

func TestRootWithoutSomeCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	r := runPlay(t, "root")
	some, none, _ := strings.Cut(r.said[len("status 6\n"):], "status 6\n")
	checkBounding(t, some, 1<<unix.CAP_NET_RAW|1<<unix.CAP_CHOWN)
	var held, bounding uint64
	for line := range strings.Lines(some) {
		fmt.Sscanf(line, "CapEff: %x", &held)
		fmt.Sscanf(line, "CapBnd: %x", &bounding)
	}
	if held != bounding || held == 0 || !strings.Contains(some, "nice -5") {
		t.Errorf("root holds %x of %x:\n%s", held, bounding, some)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if !strings.Contains(none, set+": 0000000000000000") {
			t.Errorf("%s is not empty:\n%s", set, none)
		}
	}
}

func TestOpenFilesLimitIsTheOriginal(t *testing.T) {
	// The child of the test binary gets what the test binary was started with.
	r := runPlay(t, "nofile", "-n", "600:800")
	r.want(t, "status 0", "600", "800", "status 0", "600", "800", "status 0", "77", "99")
}

func TestTightLimits(t *testing.T) {
	r := runPlay(t, "tight")
	lines := strings.Split(strings.TrimSpace(r.said), "\n")
	if lines[0] != "status 3" || lines[len(lines)-1] != "status 4" {
		t.Errorf("said %q", lines)
	}
}

func TestRefusalsNameStepThingAndReason(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become a user without rights")
	}
	r := runPlay(t, "refused", "-u", "1000")
	r.want(t,
		"cannot set the nice value -1 of /bin/true: permission denied (needs CAP_SYS_NICE)",
		"cannot set the OOM score adjustment -1 of /bin/true: permission denied (needs CAP_SYS_RESOURCE)",
		"cannot set the limit nofile of /bin/true: operation not permitted (the hard limit here is 1024, and more needs CAP_SYS_RESOURCE)",
		"cannot set the I/O priority of /bin/true: operation not permitted (needs CAP_SYS_NICE)",
		"cannot drop the capability CHOWN of /bin/true: operation not permitted (needs CAP_SETPCAP; with no_new_privileges nothing can give it)",
		"status 0",
		"cannot become group 65534 for /bin/true: operation not permitted (needs CAP_SETGID)",
		"cannot set the groups of user 1:2 for /bin/true: operation not permitted (needs CAP_SETGID)",
		"cannot change to the working directory DIR/none: no such file or directory")
}

func TestWithoutTheCgroup(t *testing.T) {
	r := runPlay(t, "no-cgroup")
	r.want(t, "status 0")
	if !strings.Contains(r.stderr, "a: no cgroup of its own: cannot enter "+r.dir+"/none: no such file or directory") {
		t.Error("the operator is not warned")
	}
}

func TestStartErrorSaysWhy(t *testing.T) {
	err := &program.StartError{Path: "/x", Step: "set the nice value -1 of", Why: "needs CAP_SYS_NICE", Err: syscall.EACCES}
	if got := err.Error(); got != "cannot set the nice value -1 of /x: permission denied (needs CAP_SYS_NICE)" {
		t.Error(got)
	}
	if !errors.Is(err, syscall.EACCES) || err.Code() != 126 {
		t.Errorf("code %d", err.Code())
	}
}

func TestWhatIsStartedIsKilledFirst(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	runPlay(t, "victims").want(t, "status 0", "47", "status 0", "47", "status 0", "47", "status 0", "20", "own 7 <nil>")
	runPlay(t, "first-victims").want(t, "status 0", "1000")
}

func TestKillWhenGone(t *testing.T) {
	runPlay(t, "init-killed").want(t, "alive false")
}
