package procfs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMaps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "classes")
	must(t, os.WriteFile(file, make([]byte, 4096), 0o600))
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	before, err := Maps(os.Getpid(), file)
	must(t, err)
	memory, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	must(t, err)
	defer unix.Munmap(memory)
	mapped, err := Maps(os.Getpid(), file)
	must(t, err)
	if before || !mapped {
		t.Errorf("mapped before: %v, after: %v", before, mapped)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(filepath.Dir(file), link))
	if mapped, err := Maps(os.Getpid(), filepath.Join(link, "classes")); !mapped || err != nil {
		t.Errorf("mapped by a path with a link: %v, %v", mapped, err)
	}
	if _, err := Maps(1<<30, file); err == nil {
		t.Error("a process that does not exist has maps")
	}
}
