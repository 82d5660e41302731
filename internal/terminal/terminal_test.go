package terminal

import (
	"os"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// onTerminal makes a new terminal the stdin of the test.
func onTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(slave.Fd()), 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Dup3(stdin, 0, 0); err != nil {
			t.Error(err)
		}
		unix.Close(stdin)
		master.Close()
		slave.Close()
	})
	return master, slave
}

func TestRaw(t *testing.T) {
	master, slave := onTerminal(t)
	before, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s := Save()
	if err := s.Raw(); err != nil {
		t.Fatal(err)
	}
	// ^C, ^Z, ^D, CR and a byte with the eighth bit arrive as they are, without an end of line and without an echo.
	keys := "\x03\x1a\x04\r\xff\x11"
	if _, err := master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 20)
	if n, err := slave.Read(got); err != nil || string(got[:n]) != keys {
		t.Errorf("read %q, %v; want %q", got[:n], err, keys)
	}
	if _, err := slave.WriteString("a\nb"); err != nil {
		t.Fatal(err)
	}
	if n, err := master.Read(got); err != nil || string(got[:n]) != "a\nb" {
		t.Errorf("the terminal shows %q, %v", got[:n], err)
	}
	s.Reset()
	after, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("%+v, %v; want %+v", after, err, before)
	}
}

func TestSize(t *testing.T) {
	master, _ := onTerminal(t)
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	if rows, columns := Size(0); rows != 33 || columns != 101 {
		t.Errorf("%d rows, %d columns", rows, columns)
	}
}

func TestNoTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if rows, columns := Size(int(null.Fd())); rows != 0 || columns != 0 {
		t.Errorf("%d rows, %d columns", rows, columns)
	}
	if err := (Settings{}).Raw(); err != unix.ENOTTY {
		t.Error(err)
	}
	Settings{}.Reset() // does nothing
}
