package logs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// model is what a log must contain.
type model struct {
	t       *testing.T
	l       *Log
	text    []byte // everything that was ever written
	streams []byte // of each byte
}

// write captures n bytes of numbered lines.
func (m *model) write(stream, n int) {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%d %d ", stream, len(m.text)+b.Len())
		if b.Len()%7 == 0 {
			b.WriteByte('\n')
		}
	}
	write(m.t, m.l, stream, b.String())
	m.text = append(m.text, b.String()...)
	m.streams = append(m.streams, bytes.Repeat([]byte{byte(stream)}, b.Len())...)
}

// check compares all that is kept, and the counters.
func (m *model) check(step string) {
	m.t.Helper()
	l := m.l
	end := int64(len(m.text))
	l.mu.Lock()
	start, lines := l.ix.start(), l.ix.lines
	l.mu.Unlock()
	if l.End() != end || lines != newlines(m.text) || start.lines != newlines(m.text[:start.pos]) {
		m.t.Fatalf("%s: it ends at %d with %d lines, want %d with %d; %d lines before %d, want %d", step, l.End(), lines, end,
			newlines(m.text), start.lines, start.pos, newlines(m.text[:start.pos]))
	}
	if want := min(end, l.opts.Keep); end-start.pos < want {
		m.t.Fatalf("%s: %d bytes are kept, want %d", step, end-start.pos, want)
	}
	if got := l.Bytes(start.pos, end); !bytes.Equal(got, m.text[start.pos:]) {
		k := 0
		for k < len(got) && got[k] == m.text[start.pos+int64(k)] {
			k++
		}
		m.t.Fatalf("%s: other bytes from offset %d on (kept from %d to %d)", step, start.pos+int64(k), start.pos, end)
	}
	for _, off := range []int64{start.pos, (start.pos + end) / 2, end - 1} {
		if seg, _, ok := l.ix.find(off, end); off >= start.pos && off < end && (!ok || seg.stream() != int(m.streams[off])) {
			m.t.Fatalf("%s: offset %d is of stream %d, want %d", step, off, seg.stream(), m.streams[off])
		}
	}
}

// restart takes the log over, as after a kill.
func (m *model) restart() {
	old := m.l
	old.mu.Lock()
	defer old.mu.Unlock()
	l, err := openLog(old.name, old.opts, old.data, old.sent, old.ix.fd)
	if err != nil {
		m.t.Fatal(err)
	}
	l.reuse = true
	unmapShared(old.ix.content)
	m.l = l
}

// A flood writes over what is no longer kept, and nothing else: not over pinned bytes, and also
// not if the supervisor is killed between any two steps.
func TestFloodWritesOverFreeMemory(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		l, err := newLog("x", Options{Keep: 64 << 10 << r.IntN(4), Format: FormatNone})
		if err != nil {
			t.Fatal(err)
		}
		l.reuse = true
		m := &model{t: t, l: l}
		var pin [2]int64
		for n := range 100 {
			m.write(1+r.IntN(2), []int{1 + r.IntN(100), 1 + r.IntN(60<<10), 60 << 10, 150 << 10}[r.IntN(4)])
			l := m.l
			step := fmt.Sprint("seed ", seed, ", write ", n)
			if n%10 == 0 {
				m.check(step)
			}
			if pin[1] > pin[0] && r.IntN(20) == 0 { // it was forwarded
				got := make([]byte, pin[1]-pin[0])
				if n, _ := unix.Pread(l.data, got, pin[0]-l.ix.sentShift); n != len(got) || !bytes.Equal(got, m.text[pin[0]:pin[1]]) {
					t.Fatalf("%s: pinned bytes have changed", step)
				}
				l.mu.Lock()
				l.unpin()
				l.mu.Unlock()
				pin = [2]int64{}
			}
			switch r.IntN(30) {
			case 0:
				if pin[1] == pin[0] && m.l.end > m.l.ix.start().pos {
					l.mu.Lock()
					seg, until, _ := l.ix.find(l.ix.start().pos, l.end)
					pin = [2]int64{seg.off, until}
					l.pinned = pin
					l.moveSent(seg, seg.off)
					l.mu.Unlock()
				}
			case 1:
				pin = [2]int64{}
				m.restart()
				m.check(step + ", taken over")
			case 2: // killed when it had noted where the next bytes go, but not moved there
				l.mu.Lock()
				at := l.mem.At
				l.begin(Stdout)
				unix.Seek(l.data, at, 0)
				l.mu.Unlock()
				pin = [2]int64{}
				m.restart()
				m.check(step + ", taken over in between")
			}
		}
		var st unix.Stat_t
		if err := unix.Fstat(m.l.data, &st); err != nil {
			t.Fatal(err)
		}
		if used := st.Blocks * 512; used > m.l.opts.Keep+freeMax+2*chunkSize+64<<10 {
			t.Errorf("seed %d: %d bytes of memory, keep is %d", seed, used, m.l.opts.Keep)
		}
		if len(m.text) > 2<<20 && st.Size > int64(len(m.text))*9/10 {
			t.Errorf("seed %d: the file grew to %d for %d bytes", seed, st.Size, len(m.text))
		}
		m.l.release()
	}
}

// Slow output does not keep memory that is free.
func TestSlowOutputReleasesMemory(t *testing.T) {
	l, err := newLog("x", Options{Keep: 64 << 10, Format: FormatNone})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	l.reuse = true
	m := &model{t: t, l: l}
	for range 100 {
		m.write(Stdout, 60<<10)
		l.ix.at(l.ix.next - 1).time -= int64(2 * time.Second)
	}
	m.check("slow")
	var st unix.Stat_t
	if err := unix.Fstat(l.data, &st); err != nil || st.Blocks*512 > 64<<10+4*chunkSize {
		t.Errorf("%d bytes of memory, %v", st.Blocks*512, err)
	}
}

// Where an earlier version may take over again, a flood leaves the layout that it reads.
func TestFloodKeepsOldLayout(t *testing.T) {
	for _, old := range []bool{false, true} {
		s := newFakeStore()
		r, _, _ := registry(t, s)
		r.OldLayout = old
		l, err := r.Open("svc", Options{Keep: 64 << 10, Format: FormatNone})
		if err != nil {
			t.Fatal(err)
		}
		flood := func(want uint64) {
			t.Helper()
			m := &model{t: t, l: l, text: make([]byte, l.End())}
			for range 50 {
				m.write(Stdout, 60<<10)
			}
			if l.ix.magic != want {
				t.Errorf("the layout is %#x, want %#x", l.ix.magic, want)
			}
		}
		if !old {
			flood(shiftedMagic)
			continue
		}
		flood(indexMagic)
		r, _, _ = registry(t, s)
		r.OldLayout = old
		r.Adopt(s.Items)
		l = r.Get("svc")
		flood(indexMagic)
	}
}

// What a reader has not read yet stays as it was while a flood writes over free memory.
func TestUnreadOutputIsNotWrittenOver(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sink := NewSink(int(w.Fd()))
	reg := NewRegistry(Config{Sinks: &[2]*Sink{sink, sink}, Store: newFakeStore(), Warn: func(string) {},
		Reserve: func(int) error { return nil }, Explain: func(err error) error { return err }})
	l, err := reg.Open("svc", Options{Keep: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if !l.reuse {
		t.Log("this kernel has no O_DIRECT on memfds: nothing is written over")
	}
	m := &model{t: t, l: l}
	for range 200 {
		m.write(Stdout, 60<<10)
	}
	got := make([]byte, 32<<10)
	n, err := r.Read(got)
	if err != nil || n == 0 || !bytes.Equal(got[:n], m.text[:n]) {
		t.Errorf("%d bytes, %v: not the first that were written", n, err)
	}
	w.Close()
}
