package proc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"golang.org/x/sys/unix"
)

// performance is a container in which one service writes.
type performance struct {
	script  string // of the supervisor; empty: "write"
	shell   string // of the service
	options logs.Options
	merge   bool     // both streams through one pipe
	kills   int      // of the supervisor, at random moments
	stdout  *os.File // nil: a pipe that is read
	stderr  *os.File
	read    func(io.Reader) []byte // nil: all, as it comes
	during  func(dir string)       // runs beside it
}

// outcome is what it left behind.
type outcome struct {
	result
	stats logs.Stats
}

// outputScripts are the supervisors of the tests of output, by name.
func outputScripts() map[string]play {
	return map[string]play{
		"write":           {play: playWrite},
		"blocked":         {play: playBlocked},
		"change":          {play: playChange},
		"many":            {play: playMany},
		"retire-again":    {play: playRetireAgain},
		"retire":          {play: playRetire},
		"late":            {play: playLate},
		"unknown-layout":  {play: playUnknownLayout},
		"unread":          {play: playUnread},
		"no-splice-write": {opts: func(o *Options, _ string) { o.Deny.Splice = true }, play: playWrite},
	}
}

func playOptions() (o logs.Options) {
	if err := json.Unmarshal([]byte(os.Getenv("PLAY_OPTIONS")), &o); err != nil {
		panic(err)
	}
	return o
}

// service starts a shell command that writes to a log.
func (s *stage) service(name, script string, o logs.Options) *Process {
	l, err := s.m.Logs.Open(name, o)
	if err != nil {
		s.say("log: %v", err)
		os.Exit(1)
	}
	p, err := s.m.Start(context.Background(), Spec{ID: name + ".1", Argv: []string{"/bin/bash", "-c", script},
		Env:   append(os.Environ(), "DIR="+s.dir),
		Stdio: Stdio{Mode: Capture, Log: l, Merge: os.Getenv("PLAY_MERGE") == "true"}})
	if err != nil {
		s.say("start: %v", err)
		os.Exit(1)
	}
	return p
}

// dieSoon kills us at another moment in each life.
func (s *stage) dieSoon() {
	if kills, _ := strconv.Atoi(os.Getenv("PLAY_KILLS")); s.rec.Starts <= kills {
		go func() { // ends with us
			unix.Poll(nil, 3+s.rec.Starts*7%23)
			die()
		}()
	}
}

// playWrite runs the service to its end and tells the counters.
func playWrite(s *stage) int {
	o := playOptions()
	l, err := s.m.Logs.Open("svc", o)
	if err != nil {
		s.say("%v", err)
		return 1
	}
	p := s.process("svc.1")
	if s.first() {
		p = s.service("svc", os.Getenv("PLAY_SHELL"), o)
	}
	s.m.Adopted()
	s.dieSoon()
	if p != nil {
		s.say("%d", status(p))
	}
	os.WriteFile(s.dir+"/ended", nil, 0o644)
	s.m.Logs.Flush(5 * time.Second)
	data, _ := json.Marshal(l.Stats())
	os.WriteFile(s.dir+"/stats", data, 0o644)
	return 0
}

// perform runs it.
func (p performance) run(t *testing.T) outcome {
	t.Helper()
	dir := t.TempDir()
	if p.script == "" {
		p.script = "write"
	}
	cmd := playCommand(t, p.script, dir)
	options, err := json.Marshal(p.options)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PLAY_OPTIONS="+strings.ReplaceAll(string(options), "DIR", dir), "PLAY_SHELL="+p.shell,
		fmt.Sprint("PLAY_KILLS=", p.kills), fmt.Sprint("PLAY_MERGE=", p.merge))
	var out []byte
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if p.stderr != nil {
		cmd.Stderr = p.stderr
	}
	reading := make(chan struct{})
	var w *os.File
	if p.stdout != nil {
		cmd.Stdout = p.stdout
		close(reading)
	} else {
		var r *os.File
		if r, w, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = w
		go func() { // ends with the container
			defer close(reading)
			defer r.Close()
			if p.read != nil {
				out = p.read(r)
			} else {
				out, _ = io.ReadAll(r)
			}
		}()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if w != nil {
		w.Close()
	}
	timer := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if p.during != nil {
		p.during(dir)
	}
	cmd.Wait()
	<-reading
	o := outcome{result: result{cmd.ProcessState.ExitCode(), "", string(out), errs.String(), dir}}
	said, _ := os.ReadFile(filepath.Join(dir, "said"))
	o.said = string(said)
	if data, err := os.ReadFile(dir + "/stats"); err == nil {
		if err := json.Unmarshal(data, &o.stats); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("code %d\nsaid:\n%s\nstats %+v\nstderr:\n%.2000s", o.code, o.said, o.stats, o.stderr)
		}
	})
	return o
}

// odd makes what is easily damaged: lines of every length up to size, binary
// bytes, and no newline at the end.
func odd(size int) []byte {
	var b bytes.Buffer
	x := uint32(2463534242)
	for n := 0; b.Len() < size; n++ {
		for range n % 300 {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			b.WriteByte(byte(x))
		}
		b.WriteString(strings.Repeat("\r\x00é", n%7) + "\n")
	}
	b.Write(bytes.Repeat([]byte("one long line "), 10<<20/14))
	return b.Bytes()
}

// The bytes of a service come out as they are, whatever the container's stdout is.
func TestRawIsByteIdentical(t *testing.T) {
	want := odd(2 << 20)
	file := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(file, want, 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, got []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			k := 0
			for k < min(len(got), len(want)) && got[k] == want[k] {
				k++
			}
			t.Errorf("%d bytes, want %d; the first other one is number %d", len(got), len(want), k)
		}
	}
	p := performance{shell: "cat " + file, options: logs.Options{Block: true}}
	t.Run("pipe", func(t *testing.T) { check(t, []byte(p.run(t).stdout)) })
	t.Run("slow pipe", func(t *testing.T) {
		p := p
		p.read = func(r io.Reader) (out []byte) {
			for buf := make([]byte, 300<<10); ; unix.Poll(nil, 1) {
				n, err := r.Read(buf)
				if out = append(out, buf[:n]...); err != nil {
					return out
				}
			}
		}
		check(t, []byte(p.run(t).stdout))
	})
	t.Run("no splice", func(t *testing.T) {
		p := p
		p.script = "no-splice-write"
		check(t, []byte(p.run(t).stdout))
	})
	for name, flags := range map[string]int{"file": 0, "appended": os.O_APPEND} {
		t.Run(name, func(t *testing.T) {
			p := p
			var err error
			if p.stdout, err = os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_CREATE|os.O_WRONLY|flags, 0o644); err != nil {
				t.Fatal(err)
			}
			defer p.stdout.Close()
			p.run(t)
			check(t, []byte(read(t, p.stdout.Name())))
		})
	}
	t.Run("socket", func(t *testing.T) {
		p := p
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours := os.NewFile(uintptr(fds[0]), "socket")
		p.stdout = os.NewFile(uintptr(fds[1]), "socket")
		var got []byte
		var wg sync.WaitGroup
		wg.Go(func() { got, _ = io.ReadAll(ours) })
		p.run(t)
		p.stdout.Close()
		wg.Wait()
		check(t, got)
	})
	t.Run("terminal", func(t *testing.T) {
		p := p
		master, slave := terminalPair(t)
		p.stdout = slave
		got := make(chan []byte, 1)
		go func() { // ends with the last writer of the terminal
			data, _ := io.ReadAll(master)
			got <- data
		}()
		p.run(t)
		slave.Close()
		check(t, <-got)
	})
}

// A flood, which writes over free memory, comes out byte for byte, in spite of kills of the
// supervisor, to a file and to a pipe.
func TestFloodIsExactInSpiteOfKills(t *testing.T) {
	const times, kills = 8, 12
	part := odd(2 << 20)
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, part, 0o644); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat(part, times)
	for _, sink := range []string{"file", "pipe"} {
		t.Run(sink, func(t *testing.T) {
			p := performance{shell: fmt.Sprintf("for i in {1..%d}; do cat %s; done", times, in), options: logs.Options{Block: true}, kills: kills}
			if sink == "file" {
				var err error
				if p.stdout, err = os.Create(filepath.Join(t.TempDir(), "out")); err != nil {
					t.Fatal(err)
				}
				defer p.stdout.Close()
			}
			out := p.run(t)
			got := []byte(out.stdout)
			if sink == "file" {
				got = []byte(read(t, p.stdout.Name()))
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d, or others", len(got), len(want))
			}
			if st := out.stats; st.DroppedBytes+st.LostBytes > 0 || st.Lines != uint64(bytes.Count(want, []byte("\n"))) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// terminalPair opens a pseudo terminal that changes no byte.
func terminalPair(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	state.Oflag &^= unix.OPOST
	state.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, state); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// count writes lines with a number to both streams until there were enough kills.
const count = `for i in {0..%d}; do echo "out $i"; echo "err $i" >&2; [ $((i %% 50)) = 0 ] && sleep 0.01; done; printf 'no end'`

// wantCounted checks that every line is there once and in its order.
func wantCounted(t *testing.T, what, text, each string, n int) {
	t.Helper()
	k := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, "no end") {
			continue
		}
		if want := fmt.Sprintf(each+"\n", k); line != want {
			t.Fatalf("%s: line %q, want %q", what, line, want)
		}
		k++
	}
	if k != n+1 {
		t.Errorf("%s: %d lines, want %d", what, k, n+1)
	}
}

// wantRepeated checks that every line from first to last is there in its order, and that at
// most one batch comes again, and one line is torn, for each kill.
func wantRepeated(t *testing.T, what, text, each string, first, last, kills int) {
	t.Helper()
	const batch = 2 * (64 << 10)
	next, again, torn := first, 0, 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, "no end") {
			continue
		}
		var k int
		if n, err := fmt.Sscanf(line, each+"\n", &k); n != 1 || err != nil || line != fmt.Sprintf(each+"\n", k) {
			torn++
			continue
		}
		if k > next {
			t.Fatalf("%s: line %d follows line %d", what, k, next-1)
		}
		if k < next {
			if again++; (next-k)*len(line) > batch {
				t.Errorf("%s: line %d follows line %d: more than a batch comes again", what, k, next-1)
			}
		}
		next = k + 1
	}
	if next != last+1 {
		t.Errorf("%s: it ends with line %d, want %d", what, next-1, last)
	}
	if again > kills || torn > kills {
		t.Errorf("%s: %d times lines came again and %d lines are torn by %d kills", what, again, torn, kills)
	}
}

// The supervisor is killed again and again in the middle of all this; no line is lost,
// raw repeats and tears none, and the others repeat at most a batch.
func TestForwardedInSpiteOfKills(t *testing.T) {
	const n, kills = 6000, 60
	run := func(t *testing.T, o logs.Options) (outcome, string) {
		errs, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer errs.Close()
		out := performance{shell: fmt.Sprintf(count, n), options: o, kills: kills, stderr: errs}.run(t)
		if out.stats.DroppedLines+out.stats.LostLines > 0 {
			t.Errorf("%+v", out.stats)
		}
		init := regexp.MustCompile(`stoker: init: [^\n]*starting it again\n`)
		return out, init.ReplaceAllString(read(t, errs.Name()), "")
	}
	t.Run("prefix", func(t *testing.T) {
		t.Parallel()
		out, errs := run(t, logs.Options{Format: logs.FormatPrefix, Keep: 4 << 20})
		wantRepeated(t, "stdout", out.stdout, "svc | out %d", 0, n, kills)
		wantRepeated(t, "stderr", errs, "svc | err %d", 0, n, kills)
		if !strings.HasSuffix(out.stdout, "\nsvc | no end") {
			t.Errorf("it ends with %.40q", out.stdout[max(0, len(out.stdout)-40):])
		}
	})
	t.Run("json", func(t *testing.T) {
		t.Parallel()
		out, errs := run(t, logs.Options{Format: logs.FormatJSON, Keep: 4 << 20})
		wantRepeated(t, "stdout", texts(t, untorn(t, out.stdout, kills), "stdout"), "out %d", 0, n, kills)
		wantRepeated(t, "stderr", texts(t, untorn(t, errs, kills), "stderr"), "err %d", 0, n, kills)
		if !strings.HasSuffix(out.stdout, `"stream":"stdout","text":"no end","partial":true}`+"\n") {
			t.Errorf("it ends with %.80q", out.stdout[max(0, len(out.stdout)-80):])
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		out, _ := run(t, logs.Options{Format: logs.FormatNone, Keep: 4 << 20, File: &logfile.Options{Path: "DIR/f", Size: 5000, Files: 100}})
		wantFiles(t, out.dir, n, 5000, kills)
	})
	t.Run("raw and file", func(t *testing.T) {
		t.Parallel()
		out, errs := run(t, logs.Options{Keep: 4 << 20, File: &logfile.Options{Path: "DIR/f", Size: 50000, Files: 100}})
		wantCounted(t, "stdout", out.stdout, "out %d", n)
		wantCounted(t, "stderr", errs, "err %d", n)
		wantFiles(t, out.dir, n, 50000, kills)
	})
}

// untorn leaves out the lines that a kill has torn: they are no objects.
func untorn(t *testing.T, text string, kills int) string {
	t.Helper()
	var out strings.Builder
	torn := 0
	for line := range strings.Lines(text) {
		if json.Valid([]byte(line)) {
			out.WriteString(line)
		} else {
			torn++
		}
	}
	if torn > kills {
		t.Errorf("%d lines are torn by %d kills", torn, kills)
	}
	return out.String()
}

// With one pipe the lines of both streams keep their order, on the container's
// output and in files, over kills of the supervisor.
func TestMergedStreamsKeepTheirOrder(t *testing.T) {
	const n, kills = 20000, 20
	script := fmt.Sprintf(`for ((k = 1; k <= %d; k += 2)); do echo "line $k"; echo "line $((k + 1))" >&2; done`, n)
	for name, o := range map[string]logs.Options{
		"raw":    {Keep: 4 << 20},
		"prefix": {Keep: 4 << 20, Format: logs.FormatPrefix},
		"json":   {Keep: 4 << 20, Format: logs.FormatJSON},
		"file":   {Keep: 4 << 20, Format: logs.FormatNone, File: &logfile.Options{Path: "DIR/f", Size: 8 << 20, Files: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := performance{shell: script, options: o, kills: kills, merge: true}.run(t)
			text, each, most := out.stdout, "line %d", kills
			switch name {
			case "raw":
				most = 0
			case "prefix":
				each = "svc | line %d"
			case "json":
				text = texts(t, untorn(t, text, kills), "stdout")
			case "file":
				text = read(t, filepath.Join(out.dir, "f"))
			}
			wantRepeated(t, name, text, each, 1, n, most)
			if strings.Contains(out.stderr, "line ") {
				t.Error("stderr has lines of its own")
			}
		})
	}
}

// wantFiles checks what count wrote to a chain of files.
func wantFiles(t *testing.T, dir string, n int, size int64, kills int) {
	t.Helper()
	var all strings.Builder
	for k := 200; k >= 0; k-- {
		path := dir + "/f"
		if k > 0 {
			path = fmt.Sprintf("%s.%d", path, k)
		}
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if info.Size() > size || info.Mode().Perm() != 0o640 {
			t.Errorf("%s has %d bytes and mode %v", path, info.Size(), info.Mode())
		}
		all.WriteString(read(t, path))
	}
	var streams [2]strings.Builder
	for line := range strings.Lines(all.String()) {
		k := 0
		if strings.HasPrefix(line, "err") {
			k = 1
		}
		streams[k].WriteString(line)
	}
	wantRepeated(t, "stdout in files", streams[0].String(), "out %d", 0, n, kills)
	wantRepeated(t, "stderr in files", streams[1].String(), "err %d", 0, n, kills)
	if !strings.HasSuffix(streams[0].String(), "no end") {
		t.Error("the last line is missing")
	}
}

// object is a line in the format json.
type object struct {
	Time                          time.Time
	Service, Stream, Text, Bytes_ string
	Bytes                         []byte
	Partial                       bool
}

// texts puts the objects of a stream together again.
func texts(t *testing.T, from, stream string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(from) {
		if stream == "stderr" && !strings.HasPrefix(line, "{") {
			continue // of the test's own supervisor
		}
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%.200q: %v", line, err)
		}
		if o.Service != "svc" || o.Stream != stream && o.Stream != "stoker" || time.Since(o.Time) > time.Minute {
			t.Fatalf("%+v", o)
		}
		if out.WriteString(o.Text + string(o.Bytes)); !o.Partial {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// Long lines, binary bytes and what has no newline can be put together again from
// objects; with a prefix a line has one, however long it is.
func TestRenderedIsWhole(t *testing.T) {
	want := odd(1 << 20)
	file := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(file, want, 0o644); err != nil {
		t.Fatal(err)
	}
	out := performance{shell: "cat " + file, options: logs.Options{Block: true, Format: logs.FormatJSON}}.run(t)
	if got := texts(t, out.stdout, "stdout"); got != string(want) {
		t.Errorf("json: %d bytes, want %d", len(got), len(want))
	}
	for line := range strings.Lines(out.stdout) {
		if len(line) > logs.MaxLine*4/3+200 {
			t.Errorf("an object of %d bytes", len(line))
			break
		}
	}
	out = performance{shell: "cat " + file, options: logs.Options{Block: true, Format: logs.FormatPrefix}}.run(t)
	var plain strings.Builder
	for line := range strings.Lines(out.stdout) {
		text, ok := strings.CutPrefix(line, "svc | ")
		if !ok {
			t.Fatalf("a line without prefix: %.100q", line)
		}
		plain.WriteString(text)
	}
	if plain.String() != string(want) {
		t.Errorf("prefix: %d bytes, want %d", plain.Len(), len(want))
	}
}

// Nobody reads until the service has ended: it must not be held up, and what was
// dropped is reported in the stream, in its format.
func TestStalledReaderOfRendered(t *testing.T) {
	for _, f := range []logs.Format{logs.FormatPrefix, logs.FormatJSON} {
		t.Run(string(f), func(t *testing.T) {
			gate := make(chan struct{})
			out := performance{shell: `for i in {1..60000}; do echo "a line that is about fifty bytes long, to fill memory $i"; done`,
				options: logs.Options{Format: f},
				read:    func(r io.Reader) []byte { <-gate; out, _ := io.ReadAll(r); return out },
				during:  func(dir string) { waitFile(dir + "/ended"); close(gate) }}.run(t)
			kept := strings.Count(out.stdout, "\n")
			if both := kept + int(out.stats.DroppedLines); out.stats.DroppedLines == 0 || both != 60000 && both != 60001 {
				t.Errorf("%d lines read and %d dropped, want 60000 together", kept, out.stats.DroppedLines)
			}
			mark := map[logs.Format]string{logs.FormatPrefix: "stoker | " +
				"%d lines (%d bytes) of the output of svc were dropped here: it is not read fast enough\n",
				logs.FormatJSON: `"service":"svc","stream":"stoker","text":"%d lines (%d bytes) of the output of svc were dropped here: it is not read fast enough"}` + "\n"}[f]
			if want := fmt.Sprintf(mark, out.stats.DroppedLines, out.stats.DroppedBytes); !strings.Contains(out.stderr, want) {
				t.Errorf("no mark %q", want)
			}
		})
	}
}

// A reader that is gone is as one that stalls, and costs nothing but counting.
func TestVanishedReader(t *testing.T) {
	for _, o := range []logs.Options{{}, {Block: true}, {Format: logs.FormatPrefix}, {Format: logs.FormatJSON, Block: true},
		{Format: logs.FormatNone}} {
		t.Run(string(cmp.Or(o.Format, logs.FormatRaw))+fmt.Sprint(o.Block), func(t *testing.T) {
			out := performance{shell: `for i in {1..60000}; do echo "a line that is about fifty bytes long, to fill memory $i"; done; exit 7`,
				options: o,
				read:    func(io.Reader) []byte { return nil }}.run(t)
			if out.want(t, "7"); out.stats.Lines != 60000 {
				t.Errorf("%+v", out.stats)
			}
			want := uint64(60000)
			if o.Format == logs.FormatNone {
				want = 0
			}
			if out.stats.DroppedLines != want {
				t.Errorf("%d lines dropped, want %d", out.stats.DroppedLines, want)
			}
		})
	}
}

// playBlocked has a service that must wait, is stopped, and another that must
// wait and is let go on.
func playBlocked(s *stage) int {
	o := logs.Options{Block: true, Format: playOptions().Format}
	s.m.Adopted()
	p := s.service("svc", `trap 'i=0; while [ $i -lt 5000 ]; do echo "the last words, many of them: $i"; i=$((i+1)); done; exit 5' TERM; touch $DIR/up; while :; do echo "a line that is about fifty bytes long, to fill memory"; done`, o)
	l, _ := s.m.Logs.Open("svc", o)
	for until := time.Now().Add(20 * time.Second); !l.Stats().Blocked && time.Now().Before(until); {
		unix.Poll(nil, 5)
	}
	st := l.Stats()
	s.say("blocked %v", st.Blocked)
	s.say("bounded %v", st.Bytes-l.Stats().Forwarded < logs.DefaultKeep+128<<10)
	unix.Poll(nil, 100)
	s.say("waits %v", l.Stats().Bytes == st.Bytes && st.DroppedBytes == 0)
	began := time.Now()
	p.SignalGroup(syscall.SIGTERM)
	s.say("stopped %d", status(p))
	s.say("at once %v", time.Since(began) < 20*time.Second)
	q := s.service("two", `for i in {1..60000}; do echo "a line that is about fifty bytes long, to fill memory $i"; done; exit 6`, o)
	l, _ = s.m.Logs.Open("two", o)
	for until := time.Now().Add(20 * time.Second); !l.Stats().Blocked && time.Now().Before(until); {
		unix.Poll(nil, 5)
	}
	s.say("blocked %v", l.Stats().Blocked)
	os.WriteFile(s.dir+"/ended", nil, 0o644)
	s.say("%d", status(q))
	s.m.Logs.Flush(5 * time.Second)
	s.say("dropped %d", l.Stats().DroppedLines)
	return 0
}

func TestBlock(t *testing.T) {
	for _, f := range []logs.Format{logs.FormatRaw, logs.FormatPrefix, logs.FormatJSON} {
		t.Run(string(f), func(t *testing.T) {
			gate := make(chan struct{})
			out := performance{script: "blocked", options: logs.Options{Format: f},
				read:   func(r io.Reader) []byte { <-gate; out, _ := io.ReadAll(r); return out },
				during: func(dir string) { waitFile(dir + "/ended"); close(gate) }}.run(t)
			out.want(t, "blocked true", "bounded true", "waits true", "stopped 5", "at once true", "blocked true", "6", "dropped 0")
			if n := strings.Count(out.stdout, "memory 60000"); n != 1 {
				t.Errorf("the last line came %d times", n)
			}
		})
	}
}

// playChange changes the format while the service writes.
func playChange(s *stage) int {
	if s.first() {
		s.service("svc", os.Getenv("PLAY_SHELL"), logs.Options{})
	}
	s.m.Adopted()
	l := s.m.Logs.Get("svc")
	step := func(o logs.Options, tell string) {
		var before uint64
		if st := l.Stats(); st.File != nil {
			before = st.File.Bytes
		}
		if err := l.Configure(o); err != nil {
			s.say("%v", err)
		}
		os.WriteFile(s.dir+"/"+tell, nil, 0o644)
		for until := time.Now().Add(10 * time.Second); time.Now().Before(until); unix.Poll(nil, 2) {
			if st := l.Stats(); st.Lines >= uint64(len(tell)) && st.Bytes == l.Stats().Forwarded && (o.File == nil || st.File.Bytes > before) {
				return
			}
		}
	}
	if s.first() {
		step(logs.Options{}, "1")
		step(logs.Options{Format: logs.FormatJSON}, "22")
		die()
	}
	step(logs.Options{Format: logs.FormatPrefix}, "333")
	step(logs.Options{Format: logs.FormatNone}, "4444")
	step(logs.Options{Format: logs.FormatRaw, File: &logfile.Options{Path: s.dir + "/f"}}, "55555")
	step(logs.Options{Format: logs.FormatJSON, File: &logfile.Options{Path: s.dir + "/g"}}, "666666")
	step(logs.Options{Format: logs.FormatPrefix, Keep: 8192}, "7777777")
	s.say("%d", status(s.process("svc.1")))
	return 0
}

func TestConfigureInUse(t *testing.T) {
	out := performance{script: "change", shell: `for n in 1 22 333 4444 55555 666666 7777777; do while [ ! -e $DIR/$n ]; do sleep 0.005; done; echo "line $n"; done`}.run(t)
	out.want(t, "0")
	got := strings.Split(strings.TrimSuffix(out.stdout, "\n"), "\n")
	want := []string{"line 1", `{"time`, "svc | line 333", "line 55555", `{"time`, "svc | line 7777777"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for k := range want {
		if !strings.HasPrefix(got[k], want[k]) {
			t.Errorf("line %d is %q, want %q", k, got[k], want[k])
		}
	}
	if f, g := read(t, out.dir+"/f"), read(t, out.dir+"/g"); f != "line 55555\n" || g != "line 666666\n" {
		t.Errorf("the files have %q and %q", f, g)
	}
}

// playMany has services that write long lines at the same time.
func playMany(s *stage) int {
	s.m.Adopted()
	var all []*Process
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, s.service(name, fmt.Sprintf(`(head -c 300000 /dev/zero | tr '\0' %s; echo) >$DIR/%s; for i in {1..10}; do cat $DIR/%s; echo %s; done`, name, name, name, name), playOptions()))
	}
	for _, p := range all {
		s.say("%d", status(p))
	}
	return 0
}

func TestServicesShareTheSinkByLines(t *testing.T) {
	for _, f := range []logs.Format{logs.FormatRaw, logs.FormatPrefix} {
		t.Run(string(f), func(t *testing.T) {
			out := performance{script: "many", options: logs.Options{Format: f, Block: true}}.run(t)
			out.want(t, "0", "0", "0")
			lines := 0
			for line := range strings.Lines(out.stdout) {
				line = strings.TrimSuffix(line, "\n")
				if f == logs.FormatPrefix {
					if name, _, _ := strings.Cut(line, " | "); name != line[len(line)-1:] {
						t.Fatalf("%.20q", line)
					}
					line = line[4:]
				}
				if strings.Trim(line, line[:1]) != "" || len(line) != 1 && len(line) != 300000 {
					t.Fatalf("a line of %d bytes that begins with %.20q", len(line), line)
				}
				lines++
			}
			if lines != 60 {
				t.Errorf("%d lines, want 60", lines)
			}
		})
	}
}

// mount makes a small file system of its own for a test.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "none", dir).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A disk that is full stalls no writer; what could not be written in time is counted,
// and marked when there is room again.
func TestFullDisk(t *testing.T) {
	dir := mount(t, "256k")
	if err := os.WriteFile(dir+"/filler", make([]byte, 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	out := performance{shell: `for i in {1..60000}; do echo "a line that is about fifty bytes long, to fill disks $i"; done; touch $DIR/full; while [ ! -e $DIR/room ]; do sleep 0.02; done; sleep 2.5; echo last`,
		options: logs.Options{Format: logs.FormatNone, File: &logfile.Options{Path: dir + "/f", Size: 16 << 20}, Keep: 64 << 10},
		during: func(play string) {
			waitFile(play + "/full")
			os.Remove(dir + "/filler")
			if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
				t.Error(err)
			}
			os.WriteFile(play+"/room", nil, 0o644)
		}}.run(t)
	text := read(t, dir+"/f")
	f := out.stats.File
	if f == nil || f.DroppedLines == 0 || f.Error != "" || f.Bytes != uint64(len(text)) {
		t.Fatalf("%+v for a file of %d bytes", f, len(text))
	}
	mark := fmt.Sprintf("\nstoker: %d lines (%d bytes) of the output of svc were dropped here: cannot write to %s/f: no space left on device\n", f.DroppedLines, f.DroppedBytes, dir)
	if strings.Count(text, mark) != 1 || strings.Count(text, "stoker:") != 1 || !strings.HasSuffix(text, "last\n") {
		t.Errorf("no mark %q, or more than one", mark)
	}
	if lines := strings.Count(text, "\n") - 1; lines+int(f.DroppedLines) != 60001 && lines+int(f.DroppedLines) != 60002 {
		t.Errorf("%d lines written and %d dropped, want 60001 together", lines, f.DroppedLines)
	}
	if n := strings.Count(out.stderr, "no space left"); n != 1 {
		t.Errorf("the operator was warned %d times", n)
	}
}

// What is no ordinary file is refused, and said once.
func TestRefusedPaths(t *testing.T) {
	dir := t.TempDir()
	os.Symlink("/tmp", dir+"/link")
	os.Mkdir(dir+"/dir", 0o755)
	unix.Mkfifo(dir+"/fifo", 0o600)
	for path, want := range map[string]string{
		dir + "/link": "it is a symbolic link", dir + "/dir": "it is a directory", dir + "/fifo": "it is a FIFO",
		"/dev/null": "it is a device", dir + "/none/f": "no such file or directory",
	} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			out := performance{shell: "for i in {1..1000}; do echo $i; done", options: logs.Options{File: &logfile.Options{Path: path}}}.run(t)
			if strings.Count(out.stderr, want) != 1 || !strings.Contains(out.stats.File.Error, want) ||
				!strings.Contains(out.stats.File.Error, path) {
				t.Errorf("%q; %+v", out.stderr, out.stats.File)
			}
			if out.stats.File.Bytes != 0 || strings.Count(out.stdout, "\n") != 1000 {
				t.Errorf("%+v", out.stats.File)
			}
		})
	}
}

// written is a function of the shell that waits until a line is in the file f: the supervisor writes it some time after the service.
const written = `written() { until grep -qsx "$1" $DIR/f; do sleep 0.01; done; }; `

// The file is found again when it is moved or removed, and truncated files
// are appended to.
func TestFileIsMovedAway(t *testing.T) {
	out := performance{shell: written + `echo one; written one; mv $DIR/f $DIR/moved; echo two; written two; rm $DIR/f; echo three; written three
		: >$DIR/f; echo four`,
		options: logs.Options{Format: logs.FormatNone, File: &logfile.Options{Path: "DIR/f"}}}.run(t)
	if moved, now := read(t, out.dir+"/moved"), read(t, out.dir+"/f"); moved != "one\n" || now != "four\n" {
		t.Errorf("%q and %q", moved, now)
	}
}

// The oldest files go first, by number and by the total.
func TestFilesAreLimited(t *testing.T) {
	shell := `for i in {1..2000}; do echo "a line that is about thirty bytes $i"; done`
	sum := func(dir string) (n int, total int64) {
		all, _ := filepath.Glob(dir + "/f*")
		for _, path := range all {
			if info, err := os.Stat(path); err == nil {
				n, total = n+1, total+info.Size()
			}
		}
		return n, total
	}
	out := performance{shell: shell, options: logs.Options{Block: true, File: &logfile.Options{Path: "DIR/f", Size: 4000, Files: 3}}}.run(t)
	if n, _ := sum(out.dir); n != 4 || !strings.HasSuffix(read(t, out.dir+"/f"), "bytes 2000\n") {
		t.Errorf("%d files", n)
	}
	out = performance{shell: shell, options: logs.Options{File: &logfile.Options{Path: "DIR/f", Size: 4000, Files: 30, Total: 20000}}}.run(t)
	if n, total := sum(out.dir); n != 5 || total > 20000 {
		t.Errorf("%d files of %d bytes", n, total)
	}
}

// A file is full by its age too, at the next line.
func TestFileIsFullByAge(t *testing.T) {
	t.Parallel() // it mostly waits
	out := performance{shell: written + `echo one; written one; echo two; written two; sleep 4; echo three`,
		options: logs.Options{File: &logfile.Options{Path: "DIR/f", Every: 4 * time.Second}}}.run(t)
	if one, two := read(t, out.dir+"/f.1"), read(t, out.dir+"/f"); one != "one\ntwo\n" || two != "three\n" {
		t.Errorf("%q and %q", one, two)
	}
}
