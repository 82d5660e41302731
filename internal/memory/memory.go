// Package memory gives the memory back that only the start of a process needed.
package memory

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReleaseStartup releases the memory that only the start of the process needed:
// the free heap, and the mapped pages of the executable, which are the file's
// own. Those that are used again come back by a minor fault each. Most of a Go
// program's start is the set-up of packages that it then hardly uses.
func ReleaseStartup() {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		f := bytes.Fields(line)
		// Read-only and private: there is nothing in them that the file has not.
		if len(f) < 6 || string(bytes.Join(f[5:], []byte{' '})) != exe || f[1][1] != '-' {
			continue
		}
		lo, hi, ok := bytes.Cut(f[0], []byte{'-'})
		from, err1 := strconv.ParseUint(string(lo), 16, 64)
		to, err2 := strconv.ParseUint(string(hi), 16, 64)
		if !ok || err1 != nil || err2 != nil || to <= from {
			continue
		}
		unix.Madvise(mapped(uintptr(from), int(to-from)), unix.MADV_DONTNEED)
	}
}

// mapped is memory at an address as a slice, for a system call that takes one.
func mapped(addr uintptr, n int) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
}
