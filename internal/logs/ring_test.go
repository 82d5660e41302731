package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// Lost output of one stream does not end a line of the other.
func TestLossEndsLinesOfItsStream(t *testing.T) {
	l, err := NewTemporary("x")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write := func(stream int, text string) { write(t, l, stream, text) }
	l.endLine(Stdout) // no line
	write(Stdout, "whole\nout")
	write(Stderr, "err")
	l.mu.Lock()
	l.ix.begin(l.end, Stdout, time.Now(), l.end) // of a supervisor that died before it captured the bytes
	l.mu.Unlock()
	l.endLine(Stdout)
	l.endLine(Stdout)
	write(Stderr, " goes on\n")
	if text, lines := l.Text(), l.Stats().Lines; text != "whole\nouterr\n goes on\n" || lines != 3 {
		t.Errorf("the log holds %q and counts %d lines", text, lines)
	}
	if got := string(l.streamTail(Stdout, 100)); got != "whole\nout\n" {
		t.Errorf("stdout is %q", got)
	}
}

// write captures text as the output of a process.
func write(t *testing.T, l *Log, stream int, text string) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	unix.Write(fds[1], []byte(text))
	unix.Close(fds[1])
	if n, err := l.capture(fds[0], stream, true); n != len(text) || err != nil {
		t.Fatalf("captured %d bytes of %q: %v", n, text, err)
	}
	unix.Close(fds[0])
}

// fakeStore is a store in memory, with duplicated descriptors.
type fakeStore struct{ fdstore.Items }

func newFakeStore() fakeStore { return fakeStore{fdstore.NewItems()} }

func (s fakeStore) Put(name string, blob []byte, fds ...int) error {
	if s.Blobs[name] = blob; len(fds) == 0 {
		return nil
	}
	s.Files[name] = nil
	for _, fd := range fds {
		again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.Files[name] = append(s.Files[name], again)
	}
	return nil
}

func (s fakeStore) Delete(name string) { s.Take(name) }

// registry makes a registry with two files as stdout and stderr.
func registry(t *testing.T, s Store) (r *Registry, stdout, stderr string) {
	t.Helper()
	var outs [2]*Sink
	var names [2]string
	for k := range outs {
		f, err := os.CreateTemp(t.TempDir(), "out")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		outs[k], names[k] = NewSink(int(f.Fd())), f.Name()
	}
	return NewRegistry(Config{Sinks: &outs, Store: s, Warn: func(msg string) { t.Error(msg) }, Reserve: func(int) error { return nil },
		Explain: func(err error) error { return err }}), names[0], names[1]
}

// The item of an early version has only keep, and its index lacks the later fields.
func TestItemsOfEarlyVersionAreTakenOver(t *testing.T) {
	s := newFakeStore()
	r, _, _ := registry(t, s)
	l, err := r.Open("svc", Options{Format: FormatNone})
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, Stdout, "before\n")
	l.mu.Lock()
	l.ix.dropped = amount{70, 7}
	l.ix.marked, l.ix.reported = 0, amount{}
	l.mu.Unlock()
	s.Blobs["log/svc"] = []byte(`{"keep":12345}`)
	r, stdout, stderr := registry(t, s)
	r.Adopt(s.Items)
	l = r.Get("svc")
	if l.opts.Keep != 12345 || l.opts.Format != FormatRaw {
		t.Errorf("%+v", l.opts)
	}
	write(t, l, Stdout, "after\n")
	r.Flush(5 * time.Second)
	if got := readFile(t, stdout) + readFile(t, stderr); got != "after\n" {
		t.Errorf("%q", got)
	}
}

// A supervisor that dies while it forwards pinned bytes leaves a position before the first
// byte that is kept. Only the lines before that position were forwarded.
func TestPositionInPinnedBytesIsTakenOver(t *testing.T) {
	l, err := newLog("x", Options{Keep: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 99) + "\n"
	l.pinned = [2]int64{0, 8 << 10}
	for range 50 {
		write(t, l, Stdout, strings.Repeat(line, 600))
	}
	if _, err := unix.Seek(l.sent, 2000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	want := l.ix.start().lines - 20
	l, err = openLog("x", l.opts, l.data, l.sent, l.ix.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	if got := l.Stats().DroppedLines; got != want || want < 1000 {
		t.Errorf("%d lines are dropped, want %d", got, want)
	}
}

// The options are in the store when Configure returns.
func TestOptionsAreTakenOver(t *testing.T) {
	s := newFakeStore()
	r, _, _ := registry(t, s)
	l, err := r.Open("svc", Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Format: FormatJSON, Keep: 99999, Block: true, Title: "the title"}
	if err := l.Configure(o); err != nil {
		t.Fatal(err)
	}
	r, _, _ = registry(t, s)
	r.Adopt(s.Items)
	if got := r.Get("svc").opts; got != o {
		t.Errorf("%+v, want %+v", got, o)
	}
	r.Flush(5 * time.Second)
}

func BenchmarkIndexFind(b *testing.B) {
	ix, err := newIndex()
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for k := range int64(segments) {
		ix.begin(k*100, int(k%2)+1, now, k*100)
	}
	for b.Loop() {
		ix.find(12345, segments*100)
	}
}

func TestLineAssembler(t *testing.T) {
	var got []string
	a := assembleAt(0)
	add := func(l Line) bool {
		got = append(got, fmt.Sprintf("%d%s%v%d", l.Stream, l.Text, l.Open, l.Offset))
		return true
	}
	a.take([]byte("a\nb"), segment{word: 1}, add)
	a.take([]byte("x\n"), segment{word: 2}, add)
	a.take([]byte("c\n"), segment{word: 1}, add)
	a.take(append(bytes.Repeat([]byte("y"), MaxLine+1), '\n'), segment{word: 1}, add)
	a.take([]byte("z"), segment{word: 2}, add)
	a.take([]byte("\n"), segment{word: 1}, add)
	a.emitHeld(0, add)
	a.emitHeld(1, add)
	long := strings.Repeat("y", MaxLine)
	want := []string{"1afalse2", "2xfalse5", "1bcfalse7", "1" + long + "true65543", "1yfalse65545", "1false65547", "2ztrue65546"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %.200v", got)
	}
}

// A change of the format while a reader stalls does not skip later output.
func TestFormatChangesWhileReaderStalls(t *testing.T) {
	for _, f := range []Format{FormatRaw, FormatPrefix} {
		t.Run(string(f), func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			sink := NewSink(int(w.Fd()))
			reg := NewRegistry(Config{Sinks: &[2]*Sink{sink, sink}, Store: newFakeStore(), Warn: func(string) {},
				Reserve: func(int) error { return nil }, Explain: func(err error) error { return err }})
			l, err := reg.Open("svc", Options{Format: f})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // more than the pipe holds
				write(t, l, Stdout, strings.Repeat("0123456789abcde\n", chunkSize/16))
			}
			unread := func() int {
				n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			for until := time.Now().Add(10 * time.Second); unread() < chunkSize && time.Now().Before(until); {
				unix.Poll(nil, 5)
			}
			if err := l.Configure(Options{Format: FormatNone}); err != nil {
				t.Fatal(err)
			}
			read := make(chan []byte)
			go func() { // ends when w is closed
				all, _ := io.ReadAll(r)
				read <- all
			}()
			if err := l.Configure(Options{Format: FormatRaw}); err != nil {
				t.Fatal(err)
			}
			l.AwaitForwarded(l.End(), 10*time.Second)
			write(t, l, Stdout, "the end\n")
			reg.Flush(10 * time.Second)
			w.Close()
			if all := <-read; !bytes.HasSuffix(all, []byte("\nthe end\n")) {
				t.Errorf("it ends with %q", all[max(0, len(all)-40):])
			}
			if st := l.Stats(); st.Forwarded != st.Bytes {
				t.Errorf("%+v", st)
			}
		})
	}
}
