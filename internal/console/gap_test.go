package console

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// output puts bytes into the ring of stdout, as much as a process without a holder may write.
func (b *bubble) output(t *testing.T, n int) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	piece := make([]byte, 32<<10)
	for n > 0 {
		part, err := out.Write(piece[:min(n, len(piece))])
		if err != nil {
			t.Fatal(err)
		}
		n -= part
		b.s.mu.Lock()
		for part > 0 && err == nil {
			var moved int
			moved, err = b.s.ring.fill(Stdout, int(in.Fd()), int64(part))
			part -= moved
		}
		b.s.wakeLinks()
		b.s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestGap: a link with a window goes on behind a gap that is larger than it. What is lost needs no acknowledgement.
func TestGap(t *testing.T) {
	const all, most = 3 << 20, 256 << 10
	for name, c := range map[string]struct {
		mode   Mode
		before bool // it was attached before the gap
	}{"a viewer comes back": {View, false}, "the holder comes back": {Hold, false}, "a viewer stalls": {View, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, testConfig(), time.Minute)
				b.hold(t).Close()
				attach := func() *Link {
					l, err := b.s.Attach(tester(), Attach{Mode: c.mode, Window: most})
					if err != nil {
						t.Fatal(err)
					}
					return l
				}
				var l *Link
				if c.before {
					l = attach()
				}
				b.output(t, all)
				if l == nil {
					l = attach()
				}
				kept := b.s.ring.h.size
				read(t, l, all-kept, all, true)
				b.output(t, all) // again, and unread acknowledgements do not count for what is lost
				read(t, l, 2*all-kept, 2*all-kept+most, false)
				if c.mode == Hold && b.s.ring.h.need[Stdout] < b.s.ring.start(Stdout) {
					t.Errorf("the process would wait for a holder that needs %d, which is lost", b.s.ring.h.need[Stdout])
				}
				l.Close()
				b.s.End("enough")
				<-b.s.Done()
				time.Sleep(time.Minute)
			})
		})
	}
}

// read wants output of a range, and no more than the window where nothing is acknowledged.
func read(t *testing.T, l *Link, from, to int64, ack bool) {
	t.Helper()
	for at := from; ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		c, err := l.Next(ctx)
		cancel()
		if err != nil {
			if at != to {
				t.Errorf("at %d, want %d: %v", at, to, err)
			}
			return
		}
		if c.Offset != at {
			t.Errorf("at %d, want %d", c.Offset, at)
			return
		}
		if at += int64(len(c.Data)); ack {
			l.Ack(Stdout, at)
		}
	}
}

// TestSpaceAtTheEnd: what is on its way when the process ends overwrites nothing that the holder has not acknowledged: its link may
// break now.
func TestSpaceAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 256 << 10
		b := newBubble(t, testConfig(), time.Minute)
		l, err := b.s.Attach(tester(), Attach{Mode: Hold, Window: most})
		if err != nil {
			t.Fatal(err)
		}
		b.output(t, most)
		read(t, l, 0, most, false)
		space := func() int64 {
			b.s.mu.Lock()
			defer b.s.mu.Unlock()
			defer func(was bool) { b.s.exited = was }(b.s.exited)
			b.s.exited = true
			return b.s.space(Stdout)
		}
		if got, want := space(), b.s.ring.h.size-most; got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
		l.Ack(Stdout, 1000)
		if got, want := space(), b.s.ring.h.size-most+1000; got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
		l.Close()
		b.s.End("enough")
		<-b.s.Done()
		time.Sleep(time.Minute)
	})
}
