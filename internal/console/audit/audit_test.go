package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v\ngot:\n%s\nwant:\n%s", name, err, got, want)
	}
}

var _ console.Auditor = (*Log)(nil)

func entry(started time.Time) console.Entry {
	who := access.Identity{Name: "token ops", Grants: access.View | access.Exec, UID: -1, Pid: -1, Address: "192.0.2.7:4711"}
	return console.Entry{Identity: who,
		Info: console.Info{ID: "abcdefghij", By: "token ops", Address: "192.0.2.7:4711", Started: started, User: "app", Recording: "x.cast",
			Spec: console.Spec{Command: []string{"/bin/sh", "-c", "echo '<\x1b]0;x\x07\u202e\u009b\n>'"}, TTY: true, Context: "tomcat",
				AuditID: "6c1f", Env: []string{"TERM=xterm"}}}}
}

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		path := filepath.Join(t.TempDir(), "audit.log")
		l := New(path, hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}))
		e := entry(time.Now())
		if err := l.Begin(e); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		other := e
		other.Identity, other.Mode = access.Identity{Name: "uid 0", Grants: access.All, Pid: 4711}, "take"
		l.Attached(other)
		other.Error = fmt.Errorf("%w: the command list of %q does not have it", console.ErrNotAllowed, "token ops")
		l.Attached(other)
		now := time.Now()
		e.Pid, e.StdinBytes, e.StdoutBytes, e.StderrBytes, e.Ended = 12, 3, 40, 2, &now
		e.Exit = &console.Exit{Code: 137, Signal: "KILL", OOM: true, Why: "idle for 15m0s"}
		l.End(e)
		e.Exit, e.Ended, e.Error = nil, nil, errors.New("cannot execute /bin/sh: no such file")
		l.End(e)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "lines.golden", got)
		logged := strings.ReplaceAll(out.String(), "[INFO]  audit ", "")
		if logged != string(got) {
			t.Errorf("the log has:\n%s", logged)
		}
		if at := strings.IndexFunc(logged, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); at >= 0 {
			t.Errorf("a control character in %q", logged[at:])
		}
		for text := range strings.Lines(string(got)) {
			var line Line
			if err := json.Unmarshal([]byte(text), &line); err != nil || line.Argv[2] != e.Command[2] {
				t.Errorf("%v: %q, want %q", err, line.Argv[2], e.Command[2])
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	})
}

// TestRefused wants an error where the file cannot be written, and the line in the log.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Symlink(filepath.Join(dir, "target"), link), syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, filepath.Join(dir, "fifo"), filepath.Join(dir, "none", "audit.log"), dir} {
		var out bytes.Buffer
		l := New(path, hclog.New(&hclog.LoggerOptions{Output: &out}))
		if err := l.Begin(entry(time.Now())); err == nil {
			t.Errorf("%s was written", path)
		}
		if !strings.Contains(out.String(), `"event":"start"`) {
			t.Errorf("the log has %q", &out)
		}
	}
	l := New("", hclog.NewNullLogger())
	if err := l.Begin(entry(time.Now())); err != nil {
		t.Error(err)
	}
}

// TestDiskFull refuses sessions while the disk is full; the lines after that are whole.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=16k,mode=0700"); err != nil {
		t.Skipf("cannot mount a file system: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	path, filler := filepath.Join(dir, "audit.log"), filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(path, hclog.NewNullLogger())
	defer l.Configure("")
	written, err := 0, error(nil)
	for ; err == nil && written < 1000; written++ {
		err = l.Begin(entry(time.Now()))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d lines: %v", written, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := l.Begin(entry(time.Now())); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	whole := 0
	for text := range strings.Lines(string(data)) {
		if json.Valid([]byte(text)) {
			whole++
		}
	}
	if err != nil || whole != written {
		t.Errorf("%d whole lines, want %d: %v", whole, written, err)
	}
}

// TestSecrets wants all arguments in the file, and those that are secrets hidden in the log.
func TestSecrets(t *testing.T) {
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "audit.log")
	l := New(path, hclog.New(&hclog.LoggerOptions{Output: &out}))
	e := entry(time.Now())
	e.Command, e.Env = []string{"psql", "--password", "hunter2", "postgres://u:hunter2@db/x"}, []string{"DB_PASSWORD=hunter2"}
	if err := l.Begin(e); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || bytes.Count(got, []byte("hunter2")) != 3 || strings.Contains(out.String(), "hunter2") ||
		!strings.Contains(out.String(), `"argv":["psql","--password","***",`) {
		t.Errorf("file: %s\nlog: %s\n%v", got, &out, err)
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := New(path, hclog.NewNullLogger())
	const fileSize = 64 << 10
	l.file.Size = fileSize
	e := entry(time.Now())
	e.Command = []string{strings.Repeat("x", 4<<10)}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { // ends after its lines
			for range 25 {
				if err := l.Begin(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	lines := 0
	for k := range 7 {
		name := path
		if k > 0 {
			name = fmt.Sprintf("%s.%d", path, k)
		}
		data, err := os.ReadFile(name)
		if (err == nil) != (k <= files) || len(data) > fileSize {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
		for text := range strings.Lines(string(data)) {
			if lines++; !json.Valid([]byte(text)) {
				t.Errorf("%s has a broken line", name)
			}
		}
	}
	if lines < 14*files {
		t.Errorf("%d lines", lines)
	}
}
