package procfs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A process may have its command line end anywhere in its memory.
func TestCmdline(t *testing.T) {
	own, err := Cmdline(os.Getpid())
	if err != nil || !slices.Equal(own, os.Args) {
		t.Fatalf("%q, %v", own, err)
	}
	const size = 1 << 30
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	must(t, err)
	defer unix.Munmap(memory)
	stat, err := os.ReadFile("/proc/self/stat")
	must(t, err)
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after) // from the third of proc(5) on
	field := func(n int) uint64 {
		value, err := strconv.ParseUint(fields[n-3], 10, 64)
		must(t, err)
		return value
	}
	at := uint64(uintptr(unsafe.Pointer(&memory[0])))
	layout := func(begin, end uint64) [13]uint64 { // struct prctl_mm_map
		return [13]uint64{field(26), field(27), field(45), field(46), field(47), field(47), field(28), begin, end, field(50), field(51), 0,
			0xffffffff << 32}
	}
	set := func(m [13]uint64) error {
		_, _, errno := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, uintptr(unsafe.Pointer(&m)), unsafe.Sizeof(m), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := set(layout(at, at+size)); err != nil {
		t.Skipf("this kernel does not allow it: %v", err)
	}
	_, err = Cmdline(os.Getpid())
	must(t, set(layout(field(48), field(49))))
	if !errors.Is(err, errTooLarge) {
		t.Errorf("a command line of 1 GiB: %v", err)
	}
}

// Each reader works on the test's own process.
func TestOwnProcess(t *testing.T) {
	pid := os.Getpid()
	if s, err := ReadStat(pid); err != nil || s.Parent != os.Getppid() || !s.Alive() || s.Start == 0 {
		t.Errorf("stat: %+v, %v", s, err)
	}
	if all := TakeSnapshot().Stats; all[pid].Parent != os.Getppid() || all[os.Getppid()].Comm == "" {
		t.Errorf("a snapshot of %d processes lacks this one or its parent", len(all))
	}
	status, err := ReadStatus(pid)
	must(t, err)
	uids, err := status.Ints("Uid")
	if uid, ownerErr := Owner(pid); err != nil || ownerErr != nil || uid != os.Geteuid() || uids[1] != uid {
		t.Errorf("users %v, owner %d, %v, %v", uids, uid, err, ownerErr)
	}
	t.Setenv("ADDED", "later")
	if env, err := Environ(pid); err != nil || slices.Contains(env, "ADDED=later") {
		t.Errorf("environment: %q, %v", env, err)
	}
	wd, _ := os.Getwd()
	if cwd, err := Cwd(pid); err != nil || cwd != wd {
		t.Errorf("working directory: %s, %v", cwd, err)
	}
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	found := false
	must(t, EachFD(pid, func(path, target string) bool {
		found = target == os.DevNull && path == Path(pid, "fd/"+strconv.Itoa(int(null.Fd())))
		return !found
	}))
	if !found {
		t.Error("an open file is missing")
	}
	if _, err := ReadStat(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that is not there: %v", err)
	}
}
