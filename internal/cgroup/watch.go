package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Times of Watch.
const (
	settleTime = 100 * time.Millisecond // from a write to the reading: a program writes several files in a row
	// PollTime is the time between two readings where notifications cannot be had.
	PollTime = 4 * time.Second
)

// watchedFiles are the limit files of both versions. The kernel does not notify of every change of cpuset.cpus.effective.
var watchedFiles = [...]string{"memory.max", "memory.high", "cpu.max", "cpuset.cpus", "cpuset.cpus.effective", "pids.max",
	"memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us"}

// Watch calls changed after each change of the limits below root until ctx ends, and at once if they are not those of before. inotify on
// the limit files of the own cgroup and every visible ancestor reports writes, so nothing runs meanwhile. An error means that the system
// refuses it; Poll is the alternative, with the limits that Watch has seen last.
func Watch(ctx context.Context, root string, before Limits, changed func(before, now Limits)) (last Limits, err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return before, fmt.Errorf("cannot make an inotify instance: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // reads wait in the poller, without a thread
	defer context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Now()) })()
	defer func() { _ = events.Close() }()
	var buffer [4096]byte
	for {
		if err := addWatches(fd, root); err != nil {
			return before, err
		}
		now := Read(root)
		if now.Changes(before) != "" {
			changed(before, now)
		}
		before = now
		if _, err := events.Read(buffer[:]); err == nil && !pause(ctx, settleTime) {
			return before, nil
		} else if ctx.Err() != nil {
			return before, nil
		} else if err != nil {
			return before, fmt.Errorf("cannot read notifications of inotify: %w", err)
		}
		drain(fd, buffer[:])
	}
}

// Poll is Watch that reads the limits every PollTime.
func Poll(ctx context.Context, root string, before Limits, changed func(before, now Limits)) {
	for again := true; again; again = pause(ctx, PollTime) {
		if now := Read(root); now.Changes(before) != "" {
			changed(before, now)
			before = now
		}
	}
}

// pause waits, and reports whether ctx is not over.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// drain reads the notifications that are there: they belong to the change that is about to be read.
func drain(fd int, buffer []byte) {
	for {
		if n, err := unix.Read(fd, buffer); n <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// addWatches watches the limit files. It is repeated after each notification, since a process may be moved to another cgroup; a file
// that is watched already costs nothing.
func addWatches(fd int, root string) error {
	r, err := open(root)
	if err != nil {
		return fmt.Errorf("cannot see the cgroups: %w", err)
	}
	defer func() { _ = r.root.Close() }()
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids"} {
		for _, dir := range r.limitChain(controller).dirs {
			for _, name := range watchedFiles {
				file := path.Join(dir, name)
				if info, err := r.root.Stat(strings.TrimPrefix(file, "/")); err != nil || !info.Mode().IsRegular() {
					continue
				}
				_, err := unix.InotifyAddWatch(fd, filepath.Join(root, file), unix.IN_MODIFY|unix.IN_DELETE_SELF)
				if err != nil && !errors.Is(err, unix.EACCES) { // what cannot be read is a warning of Read
					return fmt.Errorf("cannot watch %s: %w", file, err)
				}
			}
		}
	}
	return nil
}
