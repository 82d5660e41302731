package main

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
	"golang.org/x/sys/unix"
)

// maxOptionFiles bounds the entries of a folder with option files.
const maxOptionFiles = 10_000

// optionFiles reads the files that options name (@file and its like). Those that
// the user layer names are read with the rights of the service's user: what they
// hold shows up as options, and stoker itself may read more than that user. A nil
// user is stoker's own.
func optionFiles(user *proc.User) func(jvm.Layer, string) ([]byte, error) {
	return func(layer jvm.Layer, path string) (data []byte, err error) {
		if data, err = readOptionFile(user, layer, path); err != nil {
			return nil, fmt.Errorf("cannot read %q: %w", path, err)
		}
		return data, nil
	}
}

// readOptionFile reads one file of a layer, with the rights that optionFiles tells of.
func readOptionFile(user *proc.User, layer jvm.Layer, path string) ([]byte, error) {
	if layer == jvm.User && user != nil && os.Geteuid() == 0 && user.UID != 0 {
		return readAs(user, path)
	}
	return untrusted.ReadFile(path, jvm.MaxOptionFile)
}

// readAs reads a file with the rights of another user. These are the thread's
// alone (setfsuid(2)), so the goroutine stays on it meanwhile; the runtime starts
// no other thread from a locked one.
func readAs(user *proc.User, path string) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("cannot tell our own groups: %w", err)
	}
	own := make([]uint32, len(groups))
	for i, g := range groups {
		own[i] = uint32(g)
	}
	if err := setThreadGroups(user.Groups); err != nil {
		return nil, fmt.Errorf("cannot take the groups of %s: %w", user.Name, err)
	}
	gid, _ := unix.SetfsgidRetGid(int(user.GID))
	uid, _ := unix.SetfsuidRetUid(int(user.UID)) // takes the thread's right to read everything, too
	defer func() {
		_, _ = unix.SetfsuidRetUid(uid) // back to root is always allowed
		_, _ = unix.SetfsgidRetGid(gid)
		_ = setThreadGroups(own)
	}()
	return untrusted.ReadFile(path, jvm.MaxOptionFile)
}

// setThreadGroups is setgroups(2) for this thread; Go's own is for all of them.
func setThreadGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	return nil
}
