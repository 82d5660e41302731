package wire

import (
	"io"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/console"
)

// fuzzFrames sends bytes to a session over a loopback connection. Whatever they are, the connection and the link end.
func fuzzFrames(f *testing.F, protocol, path string) {
	for _, seed := range [][]byte{frame(0x82, "\x00hello"), frame(0x82, "\xff\x00"), frame(0x81, `{"type":"resize","rows":9,"columns":9}`),
		frame(0x81, `{"type":"ack","stream":1,"offset":5}{"type":"end"}`), frame(0x82, "\x04"+`{"Width":80,"Height":24}`), frame(0x02, ""),
		frame(0x88, "\x03\xe8"), frame(0x89, "ping"), {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, append(frame(0x02, "\x00a"), frame(0x80, "b")...)} {
		f.Add(seed)
	}
	st := newStage(f, cat(0))
	f.Fuzz(func(t *testing.T, data []byte) {
		st.t = t
		conn := st.raw(path, protocol)
		l := st.link()
		<-st.specs
		<-st.attach
		go func() { // ends with the connection
			_, _ = conn.Write(data)
			_, _ = conn.Write(frame(0x82, "\xff\x00")) // v5: the end of input; stoker.v1: a fault
		}()
		go func() { _, _ = io.Copy(io.Discard, conn.r) }() // ends with the connection
		select {
		case <-l.done:
		case <-time.After(5 * time.Millisecond): // it waits for the rest of a frame
		}
		conn.Close()
		l.await(t, "the link to close", func() bool { return l.closed })
		if l.acks[console.Stdout] < 0 || l.acks[console.Stderr] < 0 {
			t.Errorf("acks %v", l.acks)
		}
	})
}

func FuzzV5(f *testing.F) { fuzzFrames(f, V5, "/pod/exec"+ask) }

func FuzzV4(f *testing.F) { fuzzFrames(f, V4, "/v1/exec"+ask) }

func FuzzStoker(f *testing.F) { fuzzFrames(f, Stoker, "/v1/exec?command=cat&stdin=true") }
