package recording

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/console"
)

// BenchmarkCreate begins and ends a recording beside as many as are kept.
func BenchmarkCreate(b *testing.B) {
	o := Options{Folder: b.TempDir() + "/recordings", FileSize: 16 << 20, TotalSize: 256 << 20}
	r, n := New(o, hclog.NewNullLogger()), 0
	one := func() {
		c, err := r.Create(session(fmt.Sprint(n), time.Now()))
		if err != nil {
			b.Fatal(err)
		}
		c.Close(console.Exit{})
		n++
	}
	for range maxFiles + 1 {
		one()
	}
	for b.Loop() {
		one()
	}
}

// BenchmarkOutput records pieces of a terminal's output, and what a full recording costs.
func BenchmarkOutput(b *testing.B) {
	for name, size := range map[string]int64{"recorded": 1 << 40, "full": 1 << 16} {
		b.Run(name, func(b *testing.B) {
			o := Options{Folder: b.TempDir() + "/recordings", FileSize: size, TotalSize: 1 << 41}
			c, err := New(o, hclog.NewNullLogger()).Create(session("abcdefghij", time.Now()))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close(console.Exit{})
			line := []byte("1234567 some output of a program \x1b[1m with colours\x1b[0m\r\n")
			var piece []byte
			for len(piece) < 4096-len(line) {
				piece = append(piece, line...)
			}
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				_ = c.Output(piece)
			}
		})
	}
}
