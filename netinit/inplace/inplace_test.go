package inplace

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKilledBeforeTruncation: a write that is killed before the truncation leaves empty lines, which mean nothing.
func TestKilledBeforeTruncation(t *testing.T) {
	fd, err := unix.MemfdCreate("sealed", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "sealed")
	defer file.Close()
	_, err = file.WriteString("a longer content\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	if err != nil {
		t.Fatal(err)
	}
	if err := overwrite(file, "short\n"); err == nil {
		t.Fatal("a sealed file was truncated: this tests nothing")
	}
	const left = "short\n\n\n\n\n\n\n\n\n\n\n\n"
	got := make([]byte, 100)
	if n, _ := file.ReadAt(got, 0); string(got[:n]) != left {
		t.Errorf("there is %q, want %q", got[:n], left)
	}
}
