package proc

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/program"
	"golang.org/x/sys/unix"
)

// scripts are the supervisors of the tests, by name.
var scripts = map[string]play{
	"codes": {play: func(s *stage) int {
		for _, c := range []int{0, 1, 7, 255} {
			s.say("%d", status(s.sh(fmt.Sprint("c", c), fmt.Sprint("exit ", c))))
		}
		s.say("%d", status(s.sh("sig", "kill -9 $$")))
		return 0
	}},
	"output": {play: func(s *stage) int {
		status(s.sh("a", "echo out; echo err >&2; printf 'no end'"))
		l, _ := s.m.Logs.Open("out", logs.Options{})
		var lines []string // what comes by two pipes within a moment has no order
		l.Lines(context.Background(), 0, false, func(l logs.Line) error {
			lines = append(lines, fmt.Sprintf("%d %s %v", l.Stream, l.Text, l.Open))
			return nil
		})
		slices.Sort(lines)
		s.say("%s", strings.Join(lines, "\n"))
		return 0
	}},
	"errors": {play: func(s *stage) int {
		os.WriteFile(s.dir+"/noexec", []byte("#!/bin/sh\n"), 0o644)
		os.WriteFile(s.dir+"/badinterp", []byte("#!/no/such/sh\n"), 0o755)
		os.WriteFile(s.dir+"/garbage", []byte("\x00\x01"), 0o755)
		for name, text := range map[string]string{"crlf": "#!/bin/sh\r\n:\r\n", "crlfarg": "#!/bin/sh -e\r\n:\r\n",
			"crlfenv": "#!/usr/bin/env bash\r\n", "text": "echo\n",
			"empty": "", "bom": "\xef\xbb\xbf#!/bin/sh\n", "dirinterp": "#!/etc\n", "arm": foreign("/bin/true"), "musl": otherLoader("/bin/true"),
			"cut": "\x7fELF"} {
			os.WriteFile(s.dir+"/"+name, []byte(text), 0o755)
		}
		umask := 0o27
		for _, spec := range []Spec{
			{Argv: []string{"/no/such"}}, {Argv: []string{"nosuch"}, Env: []string{"PATH=/usr/bin:/bin"}},
			{Argv: []string{s.dir + "/noexec"}}, {Argv: []string{s.dir}}, {Argv: []string{s.dir + "/badinterp"}},
			{Argv: []string{s.dir + "/garbage"}}, {Argv: []string{"/bin/true"}, Dir: "/no/dir"},
			{Argv: []string{"/bin/true"}, Dir: s.dir + "/noexec"},
			{Argv: nil}, {Argv: []string{s.dir + "/garbage"}, Attributes: execshim.Attributes{Umask: &umask}},
			{Argv: []string{s.dir + "/crlf"}}, {Argv: []string{s.dir + "/crlfarg"}}, {Argv: []string{"crlfenv"}, Env: []string{"PATH=" + s.dir}},
			{Argv: []string{"./crlf"}, Dir: s.dir, Attributes: execshim.Attributes{Umask: &umask}}, {Argv: []string{s.dir + "/text"}},
			{Argv: []string{s.dir + "/text"}, Attributes: execshim.Attributes{Umask: &umask}},
			{Argv: []string{s.dir + "/empty"}}, {Argv: []string{s.dir + "/bom"}}, {Argv: []string{s.dir + "/dirinterp"}},
			{Argv: []string{s.dir + "/arm"}}, {Argv: []string{s.dir + "/musl"}},
			{Argv: []string{s.dir + "/musl"}, Attributes: execshim.Attributes{Umask: &umask}}, {Argv: []string{s.dir + "/cut"}},
		} {
			spec.ID = "x"
			_, err := s.m.Start(context.Background(), spec)
			var se *program.StartError
			if !errors.As(err, &se) {
				s.say("no StartError: %v", err)
				continue
			}
			s.say("%d %s", se.Code(), strings.ReplaceAll(strings.ReplaceAll(err.Error(), s.dir, "DIR"), "\nhint: ", "; "))
		}
		s.say("%d", status(s.sh("after", "exit 4")))
		return 0
	}},
	// What a child finds: descriptors, signals, session, group.
	"clean": {play: func(s *stage) int {
		s.say("%d", status(s.sh("clean", `cat /proc/self/status | grep -E 'Sig(Blk|Ign)' >`+s.dir+`/sig; ls /proc/self/fd >`+s.dir+
			`/fd; cut -d' ' -f5,6 /proc/$$/stat >`+s.dir+`/ids; echo $$ >`+s.dir+`/pid`)))
		return 0
	}},
	"shim": {play: func(s *stage) int {
		umask := 0o27
		p, err := s.m.Start(context.Background(), Spec{ID: "shim",
			Argv: []string{"/bin/sh", "-c", "umask >" + s.dir + "/umask; ls /proc/self/fd >" + s.dir + "/fd; grep SigIgn /proc/self/status >" +
				s.dir + "/sig; exit 6"}, Env: os.Environ(), Attributes: execshim.Attributes{Umask: &umask}})
		if err != nil {
			s.say("%v", err)
			return 1
		}
		s.say("%d", status(p))
		return 0
	}},
	"group":          {play: playGroup},
	"group-no-pidfd": {opts: func(o *Options, _ string) { o.Deny.Pidfd = true }, play: playGroup},
	"own-children": {opts: func(o *Options, _ string) { o.Deny.CloneParent = true }, play: func(s *stage) int {
		p := s.sh("a", "read x; exit 5")
		s.say("%v", s.m.Survives())
		s.say("%d", status(p))
		s.say("%d", status(s.sh("b", "exit 6")))
		return 0
	}},
	// Every process has ended before its pid is recorded.
	"few-descriptors": {opts: func(o *Options, _ string) {
		o.at = func(step string) {
			if step == "cloned" {
				unix.Poll(nil, 10)
			}
		}
	}, play: playFewDescriptors},
	"no-splice": {opts: func(o *Options, _ string) { o.Deny.Splice = true }, play: func(s *stage) int {
		s.say("%d", status(s.sh("a", "echo copied; exit 3")))
		return 0
	}},
	// Killed while a process runs and writes.
	"adopt": {play: func(s *stage) int {
		if s.first() {
			s.sh("a", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; while [ ! -e "+s.dir+
				"/go ]; do sleep 0.02; done; echo last; exit 9")
			s.m.Adopted()
			die()
		}
		p := s.process("a")
		os.WriteFile(s.dir+"/go", nil, 0o644)
		s.say("%d", status(p))
		l, _ := s.m.Logs.Open("out", logs.Options{})
		s.say("lines %d", l.Stats().Lines)
		return 0
	}},
	// Killed between the steps of a start; the process must be started exactly
	// once and its exit must be reported.
	"at-intent":      {opts: dieAt("intent"), play: playDieAt},
	"at-cloned":      {opts: dieAt("cloned"), play: playDieAt},
	"at-recorded":    {opts: dieAt("recorded"), play: playDieAt},
	"at-cloned-long": {opts: dieAt("cloned"), play: playDieAt},
	"at-cloned-open": {opts: dieAt("cloned"), play: playOpened},
	"sockets":        {play: playSockets},
	"at-cloned-link": {opts: dieAt("cloned"), play: playLinked},
	"ended-unseen":   {opts: dieAt("cloned"), play: playDieAt},
	"kills":          {play: playKills},
	"stalled": {play: func(s *stage) int {
		p := s.sh("a", "i=0; while [ $i -lt 60000 ]; do echo 'a line that is about fifty bytes long, to fill memory' $i; i=$((i+1)); done; exit 0")
		s.say("%d", status(p)) // it ends although our stdout is not read
		l, _ := s.m.Logs.Open("out", logs.Options{})
		s.say("written %d", l.Stats().Lines)
		s.say("bounded %v", memoryOf("log-out") < logs.DefaultKeep+2*outputPipe+1<<19)
		os.WriteFile(s.dir+"/read", nil, 0o644)
		s.m.Logs.Flush(5 * time.Second)
		after := l.Stats()
		s.say("dropped %v", after.DroppedLines > 0)
		os.WriteFile(s.dir+"/dropped", fmt.Append(nil, after.DroppedLines), 0o644)
		return 0
	}},
	// Output that cannot be kept must not stall who writes it.
	"file-limit": {opts: func(*Options, string) {
		unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100 << 10, Max: unix.RLIM_INFINITY})
		signal.Ignore(unix.SIGXFSZ)
	}, play: func(s *stage) int {
		s.say("%d", status(s.sh("a", "i=0; while [ $i -lt 30000 ]; do echo 'a line of some fifty bytes, far more than a pipe holds' $i; i=$((i+1)); done; exit 6")))
		l, _ := s.m.Logs.Open("out", logs.Options{})
		st := l.Stats()
		s.say("counted %v", st.Lines+st.LostLines)
		return 0
	}},
	// Killed before the clone, while a stranger becomes a child of the init: it
	// must not be taken for the process that was meant.
	"stranger": {opts: func(o *Options, dir string) {
		o.at = func(at string) {
			if _, err := os.Stat(dir + "/died"); at != "intent" || err == nil {
				return
			}
			os.WriteFile(dir+"/died", nil, 0o644)
			syscall.ForkExec("/bin/sh", []string{"sh", "-c", "setsid sh -c 'echo $$ >" + dir + "/stranger; exec sleep 77' & while [ ! -s " + dir +
				"/stranger ]; do sleep 0.01; done"},
				&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{2, 2, 2}})
			waitFile(dir + "/stranger")
			die()
		}
	}, play: playDieAt},
	"setsid-holder": {play: func(s *stage) int {
		p := s.sh("a", "setsid sh -c 'sleep 30' & echo before; exit 2")
		s.say("%d", status(p))
		l, _ := s.m.Logs.Open("out", logs.Options{})
		l.Lines(context.Background(), 0, false, func(l logs.Line) error { s.say("%s", l.Text); return nil })
		return 0
	}},
}

// playGroup ends a group whose leader is gone already.
func playGroup(s *stage) int {
	p := s.sh("a", "sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.02; done' & exit 0")
	<-p.Exited()
	l, _ := s.m.Logs.Open("out", logs.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	l.Lines(ctx, 0, true, func(logs.Line) error { cancel(); return nil })
	s.say("signal to the leader: %v", p.Signal(syscall.SIGTERM))
	s.say("members %v", len(p.Members()) > 0)
	s.say("term %v", p.SignalGroup(syscall.SIGTERM))
	s.say("members %v", len(p.Members()) > 0)
	s.say("kill %v", p.SignalGroup(syscall.SIGKILL))
	for len(p.Members()) > 0 {
		unix.Poll(nil, 2)
	}
	for p.SignalGroup(0) == nil { // until the init has reaped the zombie
		unix.Poll(nil, 2)
	}
	s.say("again %v", p.SignalGroup(syscall.SIGKILL))
	p.Done()
	return 0
}

func dieAt(step string) func(*Options, string) {
	return func(o *Options, dir string) {
		o.at = func(at string) {
			if _, err := os.Stat(dir + "/died"); at == step && err != nil {
				os.WriteFile(dir+"/died", nil, 0o644)
				if strings.HasSuffix(os.Args[1], "unseen") {
					waitFile(dir + "/once") // let it end before we do
				}
				die()
			}
		}
	}
}

func waitFile(path string) {
	for range 4000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		unix.Poll(nil, 5)
	}
}

func playDieAt(s *stage) int {
	p := s.process("a")
	if p == nil {
		s.say("started by life %d", s.rec.Starts)
		wait := ""
		if strings.HasSuffix(os.Args[1], "long") {
			wait = "while [ ! -e " + s.dir + "/go ]; do sleep 0.02; done; "
		}
		p = s.sh("a", "echo once >>"+s.dir+"/once; "+wait+"exit 11")
	}
	os.WriteFile(s.dir+"/go", nil, 0o644)
	s.say("%d", status(p))
	once, _ := os.ReadFile(s.dir + "/once")
	s.say("%s", strings.TrimSpace(string(once)))
	return 0
}

// playKills is killed at random moments of its work: a process that counts and
// writes for as long as it runs, and short ones whose codes must all be right.
func playKills(s *stage) int {
	s.output.Block = true // we may be read too slowly
	if s.first() {
		s.sh("long", "i=0; while [ ! -e "+s.dir+"/enough ]; do echo n $i; i=$((i+1)); done; echo end $i")
	}
	s.m.Adopted()
	if s.rec.Starts <= 60 {
		go func() { // ends with us
			time.Sleep(time.Duration(s.rec.Starts%20) * 1500 * time.Microsecond)
			die()
		}()
	}
	check := func(p *Process) {
		n := 0
		fmt.Sscanf(p.ID(), "short.%d", &n)
		if got := status(p); got != n%250 {
			s.say("%s ended with %d", p.ID(), got)
		}
	}
	for _, p := range s.rec.Processes {
		if strings.HasPrefix(p.ID(), "short") {
			check(p)
		}
	}
	for n := s.rec.Starts * 1000; s.rec.Starts <= 60; n++ {
		check(s.sh(fmt.Sprintf("short.%d", n), fmt.Sprintf("echo %d >>%s/ran; exit %d", n, s.dir, n%250)))
	}
	os.WriteFile(s.dir+"/enough", nil, 0o644)
	s.say("long %d", status(s.process("long")))
	l, _ := s.m.Logs.Open("out", s.output)
	s.say("lost %d", l.Stats().LostLines)
	return 0
}

func TestExitCodes(t *testing.T) { runPlay(t, "codes").want(t, "0", "1", "7", "255", "137") }

func TestOutput(t *testing.T) {
	r := runPlay(t, "output")
	r.want(t, "1 no end true", "1 out false", "2 err false")
	if r.stdout != "out\nno end" || r.stderr != "err\n" {
		t.Errorf("passed on %q and %q", r.stdout, r.stderr)
	}
}

func TestStartErrors(t *testing.T) {
	const windows = ": exec format error (its first line ends with a carriage return, it has Windows line ends); sed -i 's/\\r$//' "
	machine := strings.ToLower(strings.TrimPrefix(map[string]elf.Machine{"amd64": elf.EM_X86_64,
		"arm64": elf.EM_AARCH64}[runtime.GOARCH].String(), "EM_"))
	runPlay(t, "errors").want(t,
		"127 cannot execute /no/such: no such file or directory",
		`127 cannot find "nosuch" in PATH (/usr/bin:/bin): no such file or directory`,
		"126 cannot execute DIR/noexec: permission denied (its mode is 0644); chmod +x DIR/noexec",
		"126 cannot execute DIR: is a directory; name the program in it",
		"127 cannot execute DIR/badinterp: no such file or directory (its interpreter /no/such/sh is not here); install it, or name another one in the #! line",
		"126 cannot execute DIR/garbage: exec format error (it is no program of this machine)",
		"127 cannot change to the working directory /no/dir: no such file or directory",
		"126 cannot change to the working directory DIR/noexec: not a directory",
		"126 cannot execute an empty command: invalid argument",
		"126 cannot execute DIR/garbage: exec format error (it is no program of this machine)",
		"126 cannot execute DIR/crlf"+windows+"DIR/crlf",
		"126 cannot execute DIR/crlfarg"+windows+"DIR/crlfarg",
		`126 cannot find "crlfenv" in PATH (DIR)`+windows+"DIR/crlfenv",
		"126 cannot execute ./crlf"+windows+"DIR/crlf",
		"126 cannot execute DIR/text: exec format error (it has no #! line); begin a script with #!/bin/sh",
		"126 cannot execute DIR/text: exec format error (it has no #! line); begin a script with #!/bin/sh",
		"126 cannot execute DIR/empty: exec format error (it is empty)",
		"126 cannot execute DIR/bom: exec format error (it begins with a byte order mark before its #!); save it as UTF-8 without one",
		"126 cannot execute DIR/dirinterp: permission denied (its interpreter /etc is not a program); name another one in the #! line",
		"126 cannot execute DIR/arm: exec format error (it is a program for sparcv9, and this machine is "+machine+
			"); use an image of this architecture",
		"127 cannot execute DIR/musl: no such file or directory (its loader /no/loader is not here); it was built for another C library (glibc or musl)",
		"127 cannot execute DIR/musl: no such file or directory (its loader /no/loader is not here); it was built for another C library (glibc or musl)",
		"126 cannot execute DIR/cut: exec format error (its file is damaged: EOF)",
		"4")
}

// foreign is a program as if it were for another machine.
func foreign(path string) string {
	data, _ := os.ReadFile(path)
	binary.NativeEndian.PutUint16(data[18:], uint16(elf.EM_SPARCV9)) // e_machine
	return string(data)
}

// otherLoader is a program as if it had been built for another C library.
func otherLoader(path string) string {
	data, _ := os.ReadFile(path)
	at := bytes.Index(data, []byte("/lib"))
	end := at + bytes.IndexByte(data[at:], 0)
	copy(data[at:end], "/no/loader"+strings.Repeat("\x00", end-at))
	return string(data)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestChildIsClean(t *testing.T) {
	r := runPlay(t, "clean")
	r.want(t, "0")
	if got := read(t, r.dir+"/sig"); regexp.MustCompile(`[1-9a-f]`).MatchString(regexp.MustCompile(`Sig(Blk|Ign):`).ReplaceAllString(got,
		"")) {
		t.Errorf("signals are blocked or ignored:\n%s", got)
	}
	if got := strings.Fields(read(t, r.dir+"/fd")); len(got) > 4 { // 0 1 2 and the one that lists them
		t.Errorf("descriptors %v", got)
	}
	pid := strings.TrimSpace(read(t, r.dir+"/pid"))
	if got := strings.Fields(read(t, r.dir+"/ids")); got[0] != pid || got[1] != pid {
		t.Errorf("group and session %v, want %s", got, pid)
	}
}

func TestShim(t *testing.T) {
	r := runPlay(t, "shim")
	r.want(t, "6")
	if got := strings.TrimSpace(read(t, r.dir+"/umask")); got != "0027" {
		t.Errorf("umask %s", got)
	}
	if got := strings.Fields(read(t, r.dir+"/fd")); len(got) > 4 {
		t.Errorf("descriptors %v", got)
	}
	if got := read(t, r.dir+"/sig"); !strings.Contains(got, "0000000000000000") {
		t.Errorf("ignored signals: %s", got)
	}
}

func TestGroupOutlivesLeader(t *testing.T) {
	for _, name := range []string{"group", "group-no-pidfd"} {
		t.Run(name, func(t *testing.T) {
			runPlay(t, name).want(t, "signal to the leader: os: process already finished", "members true",
				"term <nil>", "members true", "kill <nil>", "again os: process already finished")
		})
	}
}

func TestKernelThatIgnoresCloneParent(t *testing.T) {
	r := runPlay(t, "own-children")
	r.want(t, "false", "5", "6")
	if !strings.Contains(r.stderr, "ignores CLONE_PARENT") {
		t.Error("the operator is not warned")
	}
}

// The exit of a child that the supervisor reaps itself holds up no acknowledgement.
func TestOwnChildIsNotAcknowledged(t *testing.T) {
	m := &Manager{acked: map[uint64]bool{}}
	m.exited(initproto.Exit{Pid: 7})
	if len(m.pending) != 0 {
		t.Errorf("pending %v", m.pending)
	}
}

func TestWithoutSplice(t *testing.T) {
	r := runPlay(t, "no-splice")
	if r.want(t, "3"); r.stdout != "copied\n" {
		t.Errorf("passed on %q", r.stdout)
	}
}

func TestAdoptRunning(t *testing.T) {
	r := runPlay(t, "adopt")
	r.want(t, "9", "lines 3001")
	var want strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if want.WriteString("last\n"); r.stdout != want.String() {
		t.Errorf("passed on %d bytes, want %d", len(r.stdout), want.Len())
	}
}

func TestDeathWithinStart(t *testing.T) {
	for name, who := range map[string][]string{
		"at-intent":      {"started by life 1", "started by life 2"}, // never born: started again
		"at-cloned":      {"started by life 1"},
		"at-cloned-long": {"started by life 1"},
		"at-recorded":    {"started by life 1"},
		"ended-unseen":   {"started by life 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runPlay(t, name).want(t, append(who, "11", "once")...)
		})
	}
}

// Every short process runs exactly once or not at all, with the right code, and
// no line of the long one is lost or reported twice.
func TestSixtyKills(t *testing.T) {
	r := runPlay(t, "kills")
	counted := 0
	if _, err := fmt.Sscanf(r.said, "long 0\nlost %d\n", &counted); err != nil {
		t.Fatalf("said %q: %v", r.said, err)
	}
	seen := map[string]bool{}
	for _, n := range strings.Fields(read(t, r.dir+"/ran")) {
		if seen[n] {
			t.Errorf("process %s was started twice", n)
		}
		seen[n] = true
	}
	if len(seen) < 60 {
		t.Errorf("only %d processes ran between the kills", len(seen))
	}
	checkLines(t, r.stdout, counted, 60)
}

// checkLines wants each line that was written to be there, or to be counted: on a
// machine that has other things to do a supervisor may take longer to begin than the
// init waits for it. At each of that many gaps a line may be there in part.
func checkLines(t *testing.T, stdout string, counted, gaps int) {
	t.Helper()
	if counted == 0 {
		gaps = 0
	}
	next, missing, odd, end := 0, 0, 0, -1
	for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		word, number, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		switch {
		case err != nil || n < next || word != "n" && word != "end":
			odd++ // the beginning of the first line that was dropped
		case word == "end":
			missing, end = missing+n-next, n
		default:
			missing, next = missing+n-next, n+1
		}
	}
	if end < 0 || odd > gaps || missing < counted-gaps || missing > counted+gaps {
		t.Errorf("the output ends at %d (its end says %d): %d lines are missing, %d are odd; %d are counted", next, end, missing, odd, counted)
	}
}

// Nobody reads our stdout until the process has ended: it must not be held up,
// memory must stay bounded, and what was dropped must be reported in the stream.
func TestStalledReader(t *testing.T) {
	r := runPlay(t, "stalled")
	r.want(t, "0", "written 60000", "bounded true", "dropped true")
	kept := strings.Count(r.stdout, "\n")
	if k := strings.IndexByte(r.stdout, 0); k >= 0 {
		t.Errorf("zero bytes at %d of %d, %d of them", k, len(r.stdout), strings.Count(r.stdout, "\x00"))
	}
	var dropped int
	fmt.Sscan(read(t, r.dir+"/dropped"), &dropped)
	// The beginning of the first line that was dropped may have been passed on.
	if both := kept + dropped; both != 60000 && both != 60001 {
		t.Errorf("%d lines read and %d counted as dropped, want 60000 together", kept, dropped)
	}
	if !strings.Contains(r.stderr, fmt.Sprintf("%d lines", dropped)) {
		t.Errorf("the dropped lines are not reported: %q", r.stderr)
	}
}

func TestUnkeptOutputStallsNoWriter(t *testing.T) {
	r := runPlay(t, "file-limit")
	r.want(t, "6", "counted 30000")
	if !strings.Contains(r.stderr, "cannot be kept") {
		t.Error("the operator is not warned")
	}
}

func TestOtherProcessIsNotAdopted(t *testing.T) {
	runPlay(t, "stranger").want(t, "started by life 1", "started by life 2", "11", "once")
}

func TestOutputIsThereWhenExitIs(t *testing.T) { runPlay(t, "setsid-holder").want(t, "2", "before") }

// memoryOf is how many bytes a memfd of this process takes; more than any where it is not found.
func memoryOf(name string) int64 {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		var st unix.Stat_t
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "/memfd:"+name) && unix.Stat(link, &st) == nil {
			return st.Blocks * 512
		}
	}
	return math.MaxInt64
}
