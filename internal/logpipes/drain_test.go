package logpipes

import (
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// The init discards whole lines. It counts an incomplete line, of which the supervisor gets
// only the end.
func TestRestOfLine(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer initproto.CloseAll(fds[:])
	unix.Write(fds[1], []byte("abc\nnext"))
	if bytes, lines := restOfLine(int32(fds[0]), time.Now()); bytes != 4 || lines != 1 {
		t.Errorf("took %d bytes, %d lines", bytes, lines)
	}
	if bytes, lines := restOfLine(int32(fds[0]), time.Now()); bytes != 4 || lines != 1 {
		t.Errorf("of an incomplete line took %d bytes, %d lines", bytes, lines)
	}
}
