package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/printable"
)

func update() bool {
	return flag.Lookup("update") != nil && flag.Lookup("update").Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if update() {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v\ngot:\n%s\nwant:\n%s", name, err, got, want)
	}
}

// testFolder is one that others cannot change: those of the test are in /tmp, which has the sticky bit.
func testOptions(t *testing.T) Options {
	t.Helper()
	return Options{Folder: filepath.Join(t.TempDir(), "recordings"), FileSize: 1 << 20, TotalSize: 4 << 20}
}

func session(id string, started time.Time) console.Info {
	return console.Info{ID: id, By: "token ops", Address: "192.0.2.7:4711", Started: started, User: "app",
		Spec: console.Spec{Command: []string{"/bin/sh", "-c", "echo <ä>; exit 7"}, TTY: true, Rows: 40, Columns: 120,
			Env: []string{"TERM=xterm-256color", "LANG=C.UTF-8"}, AuditID: "6c1f", Context: "tomcat"}}
}

func begin(t *testing.T, o Options, h console.Info) (*Recorder, *Recording) {
	t.Helper()
	r := New(o, hclog.NewNullLogger())
	c, err := r.Create(h)
	if err != nil {
		t.Fatal(err)
	}
	return r, c.(*Recording)
}

func content(t *testing.T, o Options, c *Recording) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.Folder, c.Name()))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// read returns the header and the events of a recording.
func read(t *testing.T, data []byte) (Header, []Event) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out []Event
	for {
		e, err := r.Next()
		if err == io.EOF {
			return r.Header, out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
}

// shown is the output of events.
func shown(events []Event) (text string) {
	for _, e := range events {
		if e.Kind == Output {
			text += e.Data
		}
	}
	return text
}

func TestRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(t)
		o.Input = true
		_, c := begin(t, o, session("abcdefghij", time.Now()))
		golden(t, "begun.cast", content(t, o, c))
		euro := []byte("€")
		for _, step := range []func(){
			func() { c.Output([]byte("$ \x1b[1m\"<&>\"\x1b[0m\r\n\x00\x7f")) },
			func() { c.Input([]byte("ls\r")) },
			func() { c.Output(euro[:1]) },
			func() { c.Output(euro[1:2]) },
			func() { c.Output(append(euro[2:3:3], "\xff\xe2\x82!"...)) },
			func() { c.Resize(30, 100) },
			func() { c.Output([]byte("\xf0\x9f")) },
		} {
			time.Sleep(1500 * time.Millisecond)
			step()
		}
		c.Close(console.Exit{Code: 137, Signal: "KILL", OOM: true, Why: "idle for 15m0s"})
		golden(t, "ended.cast", content(t, o, c))
		c.Output([]byte("late"))
		c.Close(console.Exit{})
		golden(t, "ended.cast", content(t, o, c))
		h, _ := read(t, content(t, o, c))
		if e := h.Stoker.Exit; e == nil || e.Code != 137 || !e.OOM || e.Seconds != 10.5 {
			t.Errorf("exit is %+v", e)
		}
		for path, mode := range map[string]fs.FileMode{o.Folder: 0o700 | fs.ModeDir, filepath.Join(o.Folder, c.Name()): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v %v, want mode %v", path, info.Mode(), err, mode)
			}
		}
	})
}

func TestInputIsNotRecorded(t *testing.T) {
	o := testOptions(t)
	_, c := begin(t, o, session("abcdefghij", time.Now()))
	c.Input([]byte("password"))
	c.Close(console.Exit{})
	if data := content(t, o, c); bytes.Contains(data, []byte("password")) {
		t.Errorf("%s", data)
	}
}

// TestLongEnd cuts the reason to what the header has room for.
func TestLongEnd(t *testing.T) {
	for _, why := range []string{strings.Repeat("w", 5000), strings.Repeat("\x1b", 300), strings.Repeat("€", 300)} {
		o := testOptions(t)
		_, c := begin(t, o, session("abcdefghij", time.Now()))
		before := len(content(t, o, c))
		c.Output([]byte("last"))
		c.Close(console.Exit{Code: 143, Signal: "TERM", Why: why})
		data := content(t, o, c)
		h, events := read(t, data)
		if e := h.Stoker.Exit; e == nil || e.Signal != "TERM" || len(e.Why) < 30 || !strings.HasPrefix(why, e.Why) {
			t.Errorf("exit is %+v", h.Stoker.Exit)
		}
		if bytes.IndexByte(data, '\n') != before-1 || shown(events) != "last" {
			t.Errorf("the header's line has %d bytes, want %d; events %v", bytes.IndexByte(data, '\n'), before-1, events)
		}
	}
}

func TestFull(t *testing.T) {
	for size, required := range map[int]bool{6000: false, 6: false, 5994: true} {
		t.Run(fmt.Sprint("required ", required), func(t *testing.T) {
			o := testOptions(t)
			o.FileSize, o.Required = 64<<10, required
			_, c := begin(t, o, session("abcdefghij", time.Now()))
			random := bytes.Repeat([]byte{0, 0xff, 0xc3, 'x', 0x1b, 0xe2}, size/6)
			sent, ended := 0, false
			for range 3000 {
				err := c.Output(random)
				if sent += len(random); err != nil {
					ended = errors.Is(err, ErrFull)
					break
				}
			}
			c.Close(console.Exit{})
			if ended != required {
				t.Errorf("the session ends: %v, want %v", ended, required)
			}
			data := content(t, o, c)
			h, events := read(t, data)
			if len(data) > int(o.FileSize) || len(data) < int(o.FileSize)*2/3 {
				t.Errorf("the file has %d bytes, want nearly %d", len(data), o.FileSize)
			}
			if n := len(shown(events)); h.Stoker.Exit.LeftOut < int64(sent-n) || h.Stoker.Exit.LeftOut == 0 {
				t.Errorf("left out %d of %d bytes with %d characters", h.Stoker.Exit.LeftOut, sent, n)
			}
			var marks []string
			for _, e := range events {
				if e.Kind == Marker {
					marks = append(marks, e.Data)
				}
			}
			if len(marks) != 2 || !strings.Contains(marks[0], "is full") || !strings.Contains(marks[1], "bytes of output are left out") {
				t.Errorf("markers %q", marks)
			}
		})
	}
}

// TestFlood records the beginning of much binary output.
func TestFlood(t *testing.T) {
	o := testOptions(t)
	_, c := begin(t, o, session("abcdefghij", time.Now()))
	piece := bytes.Repeat([]byte{0x80, 0, 1, 2}, 8<<10)
	for range 64 << 20 / len(piece) {
		if err := c.Output(piece); err != nil {
			t.Fatal(err)
		}
	}
	c.Close(console.Exit{})
	if data := content(t, o, c); int64(len(data)) > o.FileSize {
		t.Errorf("%d bytes", len(data))
	}
}

// TestDiskFull writes to a file system that has no room: what cannot be written is left out, and the file stays valid.
func TestDiskFull(t *testing.T) {
	o := testOptions(t)
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", o.Folder, "tmpfs", 0, "size=128k,mode=0700"); err != nil {
		t.Skipf("cannot mount a file system: %v", err)
	}
	defer syscall.Unmount(o.Folder, 0)
	for _, required := range []bool{false, true} {
		o.Required = required
		_, c := begin(t, o, session("abcdefghij", time.Now()))
		var err error
		for range 100 {
			if err = c.Output(bytes.Repeat([]byte("output "), 500)); err != nil {
				break
			}
		}
		if required != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("required %v: %v", required, err)
		}
		c.Close(console.Exit{Code: 3})
		data := content(t, o, c)
		h, events := read(t, data)
		whole := bytes.HasSuffix(data, []byte("]\n"))
		if h.Stoker.Exit == nil || h.Stoker.Exit.Code != 3 || h.Stoker.Exit.LeftOut == 0 || len(events) < 5 || !whole {
			t.Errorf("header %+v, %d events, the file ends with %q", h.Stoker.Exit, len(events), data[len(data)-20:])
		}
		if !required {
			if _, err := New(o, hclog.NewNullLogger()).Create(session("zzzzzzzzzz", time.Now())); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a recording on a full disk: %v", err)
			}
		}
		if err := os.Remove(filepath.Join(o.Folder, c.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRoomAgain goes on when the disk has room, and says what is missing.
func TestRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(t)
		_, c := begin(t, o, session("abcdefghij", time.Now()))
		c.Output([]byte("one "))
		whole := c.f
		readOnly, err := os.Open(filepath.Join(o.Folder, c.Name()))
		if err != nil {
			t.Fatal(err)
		}
		c.f = readOnly
		c.Output([]byte("two "))
		c.f = whole
		c.Output([]byte("three ")) // too early for another attempt
		time.Sleep(pause)
		c.Output([]byte("four"))
		c.Close(console.Exit{})
		readOnly.Close()
		h, events := read(t, content(t, o, c))
		if shown(events) != "one four" || h.Stoker.Exit.LeftOut != 10 ||
			events[1].Kind != Marker || !strings.HasPrefix(events[1].Data, "10 bytes") {
			t.Errorf("%v, %+v", events, h.Stoker.Exit)
		}
	})
}

// TestResume goes on after a death at each byte of the file behind the header.
// TestResumeWaits: for a moment others have the lock of the dead supervisor.
func TestResumeWaits(t *testing.T) {
	r, c := begin(t, testOptions(t), session("abcdefghij", time.Now()))
	time.AfterFunc(lockTime/10, func() { _ = c.f.Close() })
	again, err := r.Resume(c.Name())
	if err != nil {
		t.Fatal(err)
	}
	again.Close(console.Exit{})
}

func TestResume(t *testing.T) {
	o := testOptions(t)
	r, c := begin(t, o, session("abcdefghij", time.Now()))
	if _, err := r.Resume(c.Name()); err == nil {
		t.Error("two write to one recording")
	}
	c.Output([]byte("one\n"))
	c.Output([]byte("two €\n"))
	c.f.Close()
	data := content(t, o, c)
	for cut := int(c.head); cut <= len(data); cut++ {
		if err := os.WriteFile(filepath.Join(o.Folder, c.Name()), data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := r.Resume(c.Name())
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		again.Output([]byte("three"))
		again.Close(console.Exit{Code: 4})
		h, events := read(t, content(t, o, c))
		want := ""
		if whole := bytes.Count(data[:cut], []byte("\n")) - 1; whole > 0 {
			want = strings.Join([]string{"one\n", "two €\n"}[:whole], "")
		}
		if shown(events) != want+"three" || h.Stoker.Exit.Code != 4 {
			t.Fatalf("cut at %d: %v, %+v", cut, events, h.Stoker)
		}
	}
	for _, name := range []string{"../x", "", "nothere", "20260101T000000Z-none.cast"} {
		if _, err := r.Resume(name); err == nil {
			t.Errorf("resumed %q", name)
		}
	}
}

// TestClockSetBack wants times that do not go back, also after the death of a supervisor.
func TestClockSetBack(t *testing.T) {
	o := testOptions(t)
	r, c := begin(t, o, session("abcdefghij", time.Now()))
	c.last = 1e6 // seconds
	c.Output([]byte("one"))
	c.f.Close()
	again, err := r.Resume(c.Name())
	if err != nil {
		t.Fatal(err)
	}
	again.Output([]byte("two"))
	again.Close(console.Exit{})
	lines := bytes.Split(bytes.TrimSpace(content(t, o, c)), []byte("\n"))
	if e, err := decodeEvent(lines[len(lines)-1]); err != nil || e.Time < 1e6 || e.Data != "two" {
		t.Errorf("%+v %v", e, err)
	}
}

// TestDamaged refuses to go on with what is no recording.
func TestDamaged(t *testing.T) {
	o := testOptions(t)
	r, c := begin(t, o, session("abcdefghij", time.Now()))
	c.f.Close()
	for _, text := range []string{"", "{", "{}\n", `{"version":2}` + "\n", `{"version":2,"stoker":{}}`} {
		if err := os.WriteFile(filepath.Join(o.Folder, c.Name()), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Resume(c.Name()); err == nil {
			t.Errorf("went on with %q", text)
		}
	}
}

func TestOldestAreRemoved(t *testing.T) {
	o := testOptions(t)
	o.FileSize, o.TotalSize = 100<<10, 300<<10
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := New(o, hclog.NewNullLogger())
	one := func(n int) (*Recording, error) {
		c, err := r.Create(session(fmt.Sprintf("session%03d", n), at.Add(time.Duration(n)*time.Second)))
		if err != nil {
			return nil, err
		}
		return c.(*Recording), nil
	}
	open, err := one(0) // goes on all the time
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		c, err := one(n + 1)
		if err != nil {
			t.Fatal(err)
		}
		c.Output(bytes.Repeat([]byte("x"), 50<<10))
		c.Close(console.Exit{})
	}
	list, err := r.List()
	if err != nil || len(list) != 3 || list[0].ID != "session020" || list[2].ID != "session000" {
		t.Errorf("%v %v", list, err)
	}
	a, errA := one(30)
	b, errB := one(31)
	if _, errC := one(32); errA != nil || errB != nil || errC == nil {
		t.Errorf("three are being written and fill the folder: %v %v %v", errA, errB, errC)
	}
	o.TotalSize = o.FileSize
	if _, err := New(o, hclog.NewNullLogger()).Create(session("elsewhere0", at)); err == nil || len(content(t, o, open)) == 0 {
		t.Error("another stoker has removed what is being written")
	}
	for _, c := range []*Recording{a, b, open} {
		c.Close(console.Exit{})
	}
	if _, err := one(33); err != nil {
		t.Error(err)
	}
}

// TestLinksAreNotFollowed wants nothing of other users to be written, removed or read.
func TestLinksAreNotFollowed(t *testing.T) {
	o := testOptions(t)
	target := filepath.Join(t.TempDir(), "target")
	if err := errors.Join(os.WriteFile(target, []byte("mine"), 0o600), os.Mkdir(o.Folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	h := session("abcdefghij", time.Now())
	name := h.Started.UTC().Format("20060102T150405Z") + "-abcdefghij.cast"
	if err := os.Symlink(target, filepath.Join(o.Folder, name)); err != nil {
		t.Fatal(err)
	}
	r := New(o, hclog.NewNullLogger())
	if _, err := r.Create(h); err == nil {
		t.Error("a recording at the place of a link")
	}
	if _, err := r.Resume(name); err == nil {
		t.Error("went on behind a link")
	}
	if _, _, err := r.Open("abcdefghij"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened a link: %v", err)
	}
	if data, err := os.ReadFile(target); string(data) != "mine" {
		t.Errorf("%q %v", data, err)
	}
	if os.Getuid() == 0 {
		if err := errors.Join(os.RemoveAll(o.Folder), os.Mkdir(o.Folder, 0o700), os.Chown(o.Folder, 1234, 1234)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Create(h); err == nil || !strings.Contains(err.Error(), "can be changed by its owner") {
			t.Errorf("a folder of another user: %v", err)
		}
		o.Folder = filepath.Join(o.Folder, "below")
		r.Configure(o)
		if _, err := r.Create(h); err == nil {
			t.Error("a folder below that of another user")
		}
	}
}

func TestListAndOpen(t *testing.T) {
	o := testOptions(t)
	r, c := begin(t, o, session("abcdefghij", time.Now()))
	for _, name := range []string{"other.cast", "20260101T000000Z-broken.cast", "20260101T000000Z-a-b.cast"} {
		if err := os.WriteFile(filepath.Join(o.Folder, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := r.List()
	if err != nil || len(list) != 1 || list[0].ID != "abcdefghij" || list[0].Header.Stoker.By != "token ops" ||
		list[0].Header.Stoker.Exit != nil {
		t.Errorf("%+v %v", list, err)
	}
	c.Close(console.Exit{Code: 5})
	f, h, err := r.Open("abcdefghij")
	if err != nil || h.Stoker.Exit.Code != 5 {
		t.Fatal(h, err)
	}
	f.Close()
	for _, id := range []string{"nothere", "", "../x", "broken"} {
		if f, _, err := r.Open(id); err == nil {
			f.Close()
			t.Errorf("opened %q", id)
		}
	}
	o.Folder += "-none"
	if list, err := New(o, hclog.NewNullLogger()).List(); err != nil || len(list) != 0 {
		t.Errorf("no folder: %v %v", list, err)
	}
}

func TestReaderRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "it is empty",
		"no json\n":                             "line 1 is not the header",
		`{"version":3,"term":{}}` + "\n":        "of version 3",
		"{\"version\":2}\n[1,\"o\"]\n":          "line 2: it is not an event: it has 2 parts",
		"{\"version\":2}\n[1,\"o\",3]\n":        "line 2: it is not an event",
		"{\"version\":2}\n[\"1\",\"o\",\"\"]\n": "line 2: it is not an event",
		"{\"version\":2}\n" + strings.Repeat("x", maxLine+1): "line 2 has more than",
	} {
		r, err := NewReader(strings.NewReader(text))
		for err == nil {
			_, err = r.Next()
		}
		if err == io.EOF || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// FuzzReader reads anything in bounds: it ends, and times do not go back.
func FuzzReader(f *testing.F) {
	for _, name := range []string{"begun.cast", "ended.cast"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("{\"version\":2,\"width\":1}\n\n[0.5,\"o\",\"\"]\n[0.1,\"x\",\"\"]\n[1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		last, count := 0.0, 0
		for {
			e, err := r.Next()
			if err != nil {
				break
			}
			if count++; e.Time < last || count > len(data) {
				t.Fatalf("event %d at %v after %v", count, e.Time, last)
			}
			last = e.Time
		}
	})
}

// FuzzCutter splits a text anywhere: what comes out is the text, and each event is what JSON makes of the whole.
func FuzzCutter(f *testing.F) {
	f.Add([]byte("a€b\xff\xe2\x82\xf0\x9f\x98\x80"), uint8(2), uint8(1))
	f.Add([]byte("\xe2\x82\xe2\x82\xac\xf0\x9f\xff"), uint8(1), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, first, step uint8) {
		var c printable.Cutter
		var text string
		add := func(p []byte) {
			var e Event
			e, err := decodeEvent(encodeEvent(Event{Kind: Output, Data: string(p)}))
			if err != nil {
				t.Fatal(err)
			}
			text += e.Data
		}
		for rest, n := data, min(int(first), len(data)); len(rest) > 0; n = min(int(step)+1, len(rest)) {
			add(c.Next(rest[:n]))
			rest = rest[n:]
		}
		add(c.End())
		want, _ := json.Marshal(string(data))
		var whole string
		if err := json.Unmarshal(want, &whole); err != nil || text != whole {
			t.Errorf("%q became %q, want %q", data, text, whole)
		}
	})
}

var _ console.Recorder = (*Recorder)(nil)
