package proc

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is lost of one stream ends no line of the other.
func TestLossEndsLinesOfItsStream(t *testing.T) {
	l, err := NewScratchLog("x")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write := func(stream int, text string) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		unix.Write(fds[1], []byte(text))
		unix.Close(fds[1])
		if n, err := l.capture(fds[0], stream, true); n != len(text) || err != nil {
			t.Fatalf("captured %d bytes of %q: %v", n, text, err)
		}
		unix.Close(fds[0])
	}
	l.EndLine(Stdout) // there is none
	write(Stdout, "whole\nout")
	write(Stderr, "err")
	l.mu.Lock()
	l.ix.begin(l.end, Stdout, time.Now()) // of a supervisor that died before its bytes came
	l.mu.Unlock()
	l.EndLine(Stdout)
	l.EndLine(Stdout)
	write(Stderr, " goes on\n")
	if text, lines := l.Text(), l.Stats().Lines; text != "whole\nouterr\n goes on\n" || lines != 3 {
		t.Errorf("the log holds %q and counts %d lines", text, lines)
	}
	if got := string(l.streamTail(Stdout, 100)); got != "whole\nout\n" {
		t.Errorf("stdout is %q", got)
	}
}

// fakeStore is a store in memory, with descriptors of its own.
type fakeStore struct {
	items map[string][]byte
	files map[string][]int
}

func newFakeStore() *fakeStore { return &fakeStore{map[string][]byte{}, map[string][]int{}} }

func (s *fakeStore) Put(name string, body []byte, fds ...int) error {
	if s.items[name] = body; len(fds) == 0 {
		return nil
	}
	s.files[name] = nil
	for _, fd := range fds {
		again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.files[name] = append(s.files[name], again)
	}
	return nil
}

func (s *fakeStore) Del(name string) {
	delete(s.items, name)
	delete(s.files, name)
}

// registry is one whose output goes to two files.
func registry(t *testing.T, s Store) (r *Registry, stdout, stderr string) {
	t.Helper()
	var outs [2]*Outlet
	var names [2]string
	for k := range outs {
		f, err := os.CreateTemp(t.TempDir(), "out")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		outs[k], names[k] = NewOutlet(int(f.Fd())), f.Name()
	}
	return NewRegistry(Config{Outlets: &outs, Store: s, Warn: func(msg string) { t.Error(msg) }, Reserve: func(int) error { return nil },
		Explain: func(err error) error { return err }}), names[0], names[1]
}

// A supervisor from before formats and files left an item with keep alone, and an index
// without the words that came later.
func TestOldStoreIsTakenOver(t *testing.T) {
	s := newFakeStore()
	r, _, _ := registry(t, s)
	l, err := r.Open("svc", LogOptions{Format: FormatNone})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, time.Now(), "1before\n")
	l.mu.Lock()
	l.ix.droppedLines, l.ix.droppedBytes = 7, 70
	l.ix.marked, l.ix.markedLines, l.ix.markedBytes = 0, 0, 0
	l.mu.Unlock()
	s.items["log/svc"] = []byte(`{"keep":12345}`)
	r, stdout, stderr := registry(t, s)
	r.Adopt(s.items, s.files)
	l = r.Get("svc")
	if l.opts.Keep != 12345 || l.opts.Format != FormatRaw {
		t.Errorf("%+v", l.opts)
	}
	fill(t, l, time.Now(), "1after\n")
	r.Flush(5 * time.Second)
	if got := readFile(t, stdout) + readFile(t, stderr); got != "before\nafter\n" {
		t.Errorf("%q", got)
	}
}

// The options are in the store when Configure returns.
func TestOptionsAreTakenOver(t *testing.T) {
	s := newFakeStore()
	r, _, _ := registry(t, s)
	l, err := r.Open("svc", LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := LogOptions{Format: FormatJSON, Keep: 99999, Block: true, Title: "the title"}
	if err := l.Configure(o); err != nil {
		t.Fatal(err)
	}
	r, _, _ = registry(t, s)
	r.Adopt(s.items, s.files)
	if got := r.Get("svc").opts; got != o {
		t.Errorf("%+v, want %+v", got, o)
	}
	r.Flush(5 * time.Second)
}
