package logs

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/logfile"
)

// BenchmarkOutput measures how fast lines of 100 bytes go from a process's pipe to the
// reader of the container's stdout, or to files.
func BenchmarkOutput(b *testing.B) {
	for name, o := range map[string]Options{
		"raw": {Block: true}, "prefix": {Block: true, Format: FormatPrefix}, "json": {Block: true, Format: FormatJSON},
		"file": {Format: FormatNone, Keep: 64 << 20, File: &logfile.Options{Path: "f", Size: 1 << 30}},
	} {
		b.Run(name, func(b *testing.B) {
			r, w, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			read := make(chan int64)
			go func() { // ends when w is closed
				n, _ := io.Copy(io.Discard, struct{ io.Reader }{r})
				read <- n
			}()
			if o.File != nil {
				f := *o.File
				f.Path = b.TempDir() + "/f"
				o.File = &f
			}
			sinks := &[2]*Sink{NewSink(int(w.Fd())), NewSink(int(w.Fd()))}
			reg := NewRegistry(Config{Sinks: sinks, Store: newFakeStore(), Warn: func(string) {}, Reserve: func(int) error { return nil },
				Explain: func(err error) error { return err }})
			l, err := reg.Open("web", o)
			if err != nil {
				b.Fatal(err)
			}
			c, writers, err := NewCapture(l, 1)
			if err != nil {
				b.Fatal(err)
			}
			c.Run()
			chunk := bytes.Repeat(append(bytes.Repeat([]byte("x"), 99), '\n'), 640)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := writers[0].Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			writers[0].Close()
			done := make(chan struct{})
			c.OnEnd(func() { close(done) })
			<-done
			reg.Flush(10 * time.Second)
			w.Close()
			<-read
			if st := l.Stats(); st.DroppedBytes > 0 || st.File != nil && st.File.DroppedBytes > 0 {
				b.Logf("dropped %+v", st)
			}
		})
	}
}
