package logpipes

import (
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// What the init discards ends with a line, and a line that is not complete counts:
// nothing but its end is left for a supervisor.
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
		t.Errorf("of a line that is not complete took %d bytes, %d lines", bytes, lines)
	}
}
