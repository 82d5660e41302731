package pid1

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// ReadBirth reads /proc/PID/stat. It works on zombies too.
func ReadBirth(pid int) (initproto.Birth, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	var buf [1024]byte // it is one line, of fifty numbers
	n, err := readOnce(path, buf[:])
	if err != nil {
		return initproto.Birth{}, &os.PathError{Op: "read", Path: path, Err: err}
	}
	b, ok := parseStat(buf[:n])
	if !ok {
		return initproto.Birth{}, fmt.Errorf("cannot read %s: unknown format %.80q", path, buf[:n])
	}
	return b, nil
}

// readOnce reads a file of /proc, which gives all of it at once, in three system calls:
// os.ReadFile takes seven, and beside a fork bomb each may cost us our turn.
func readOnce(path string, buf []byte) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	for err == unix.EINTR {
		n, err = unix.Read(fd, buf)
	}
	return n, err
}

// parseStat reads the line of proc(5) /proc/pid/stat. The name stands in
// parentheses and may itself hold parentheses and blanks: the last ")" ends it.
func parseStat(data []byte) (initproto.Birth, bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return initproto.Birth{}, false
	}
	f := bytes.Fields(data[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return initproto.Birth{}, false
	}
	b := initproto.Birth{Comm: string(data[open+1 : end]), State: f[0][0]}
	ints := []struct {
		to *int
		at int
	}{{&b.Parent, 1}, {&b.Pgrp, 2}, {&b.Session, 3}}
	for _, i := range ints {
		n, err := strconv.Atoi(string(f[i.at]))
		if err != nil {
			return initproto.Birth{}, false
		}
		*i.to = n
	}
	start, err := strconv.ParseUint(string(f[19]), 10, 64)
	b.Start = start
	return b, err == nil
}

// pids lists the numeric folders of /proc.
func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	out := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// Children lists the children of parent, zombies included, by a scan of /proc.
func Children(parent int) map[int]initproto.Birth {
	out := map[int]initproto.Birth{}
	for _, pid := range pids() {
		if b, err := ReadBirth(pid); err == nil && b.Parent == parent {
			out[pid] = b
		}
	}
	return out
}

// Group lists the living members of a process group, zombies left out, by a
// scan of /proc.
func Group(pgrp int) map[int]initproto.Birth {
	out := map[int]initproto.Birth{}
	for _, pid := range pids() {
		if b, err := ReadBirth(pid); err == nil && b.Pgrp == pgrp && b.State != 'Z' && b.State != 'X' {
			out[pid] = b
		}
	}
	return out
}
