package procfs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Stat is what /proc/PID/stat says of a process.
type Stat struct {
	Comm    string `json:"comm"`  // name of the main thread, 15 bytes at most
	Parent  int    `json:"ppid"`  // 0: it is in another PID namespace
	Pgrp    int    `json:"pgrp"`  // process group
	Session int    `json:"sid"`   // session
	Start   uint64 `json:"start"` // clock ticks since boot; with the pid it identifies the process
	State   byte   `json:"state"` // R, S, D, Z, T ...
}

// Alive is false for a zombie.
func (s Stat) Alive() bool { return s.State != 'Z' && s.State != 'X' }

// TicksPerSecond is USER_HZ, the unit of Stat.Start, which is 100 on every architecture
// that Go and Java share.
const TicksPerSecond = 100

// Ticks converts a CLOCK_BOOTTIME in nanoseconds to the unit of Stat.Start.
func Ticks(ns int64) uint64 { return uint64(ns) / (1e9 / TicksPerSecond) }

// ReadStat reads /proc/PID/stat, of zombies too.
func ReadStat(pid int) (Stat, error) {
	path := Path(pid, "stat")
	var buf [1024]byte // it is one line of fifty numbers
	n, err := readOnce(path, buf[:])
	if err != nil {
		return Stat{}, &os.PathError{Op: "read", Path: path, Err: err}
	}
	s, ok := parseStat(buf[:n])
	if !ok {
		return Stat{}, fmt.Errorf("cannot read %s: unknown format %.80q", path, buf[:n])
	}
	return s, nil
}

// readOnce reads a file of /proc, which returns all of it at once, in three system calls:
// os.ReadFile takes seven, and beside a fork bomb each may cost a turn of the processor.
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

// parseStat reads the line of /proc/PID/stat. The name stands in parentheses and may
// itself hold parentheses and blanks: the last ")" ends it.
func parseStat(data []byte) (Stat, bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Stat{}, false
	}
	f := bytes.Fields(data[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return Stat{}, false
	}
	s := Stat{Comm: string(data[open+1 : end]), State: f[0][0]}
	for k, to := range []*int{&s.Parent, &s.Pgrp, &s.Session} {
		n, err := strconv.Atoi(string(f[k+1]))
		if err != nil {
			return Stat{}, false
		}
		*to = n
	}
	start, err := strconv.ParseUint(string(f[19]), 10, 64)
	s.Start = start
	return s, err == nil
}

// Snapshot is the Stat of every visible process by pid. Changed says that a process ended
// while it was taken: a child that it left behind may be missing.
type Snapshot struct {
	Stats   map[int]Stat
	Changed bool
}

// TakeSnapshot reads all of /proc.
func TakeSnapshot() Snapshot {
	s := Snapshot{Stats: map[int]Stat{}}
	for _, pid := range Pids() {
		if stat, err := ReadStat(pid); err == nil {
			s.Stats[pid] = stat
		} else {
			s.Changed = true
		}
	}
	return s
}

// Descendants are the living children of a process, their children and so on.
func (s Snapshot) Descendants(ancestor int) []int {
	var out []int
	for pid, stat := range s.Stats {
		if pid == ancestor || !stat.Alive() {
			continue
		}
		for p, hops := stat.Parent, 0; p > 1 && hops < 1000; p, hops = s.Stats[p].Parent, hops+1 {
			if p == ancestor {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}
