package console

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What goes through a ring comes out, in pieces of any size, by splice and by read, and in a ring that was opened again.
func TestRing(t *testing.T) {
	for _, noSplice := range []bool{false, true} {
		r, err := newRing(1, true)
		if err != nil {
			t.Fatal(err)
		}
		r.noSplice = noSplice
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var all []byte
		for k := range 200 {
			text := bytes.Repeat([]byte{byte(k)}, 1+k*37%5000)
			if _, err := out.Write(text); err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
			for left := len(text); left > 0; {
				n, err := r.fill(Stderr, int(in.Fd()), 1<<20)
				if err != nil || n == 0 {
					t.Fatalf("%d, %v", n, err)
				}
				left -= n
			}
			if k == 100 { // as after a kill right behind the splice
				r.h.end[Stderr] -= int64(len(text))
				fd, _ := unix.Dup(r.fd)
				r.closeFile()
				r.release()
				if r, err = openRing(fd, true); err != nil {
					t.Fatal(err)
				}
				r.noSplice = noSplice
			}
			if r.h.end[Stderr] != int64(len(all)) {
				t.Fatalf("step %d: %d bytes, want %d", k, r.h.end[Stderr], len(all))
			}
			buf := make([]byte, 7000)
			from := max(0, int64(len(all)-6000))
			n, at := r.copyTo(buf, Stderr, from)
			if at != from || !bytes.Equal(buf[:n], all[at:]) {
				t.Fatalf("step %d: %d bytes at %d differ", k, n, at)
			}
		}
		n, at := r.copyTo(make([]byte, 10), Stderr, 0)
		if want := int64(len(all)) - r.h.size; at != want || n != 10 || r.h.end[Stdout] != 0 {
			t.Errorf("the oldest is at %d, want %d", at, want)
		}
		out.Close()
		if n, err := r.fill(Stdout, int(in.Fd()), 10); n != 0 || err != nil {
			t.Errorf("at the end: %d, %v", n, err)
		}
		r.closeFile()
		r.release()
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd, _ := unix.Dup(int(null.Fd()))
	if _, err := openRing(fd, true); err == nil {
		t.Error("/dev/null is a ring")
	}
}
