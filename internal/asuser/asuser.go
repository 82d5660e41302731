// Package asuser looks up users, and calls functions with the file access rights of another user or process. It starts no processes.
package asuser

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Identity is the set of credentials that the kernel checks for file access.
type Identity struct {
	UID, GID int
	Groups   []int // supplementary
	// Capabilities are the permitted ones as a bit set; a user other than root has none.
	Capabilities uint64
}

// OfProcess returns the identity of a process: its effective user and group, and its permitted capabilities.
func OfProcess(pid int) (Identity, error) {
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return Identity{}, err
	}
	id, err := parse(status)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot read the identity of process %d: %w", pid, err)
	}
	return id, nil
}

// parse reads the credentials; all of them must be present.
func parse(status procfs.Status) (Identity, error) {
	uids, err1 := status.Ints("Uid") // real, effective, saved, file system
	gids, err2 := status.Ints("Gid")
	groups, err3 := status.Ints("Groups")
	caps, err4 := status.Mask("CapPrm")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Identity{}, err
	}
	if len(uids) != 4 || len(gids) != 4 {
		return Identity{}, errors.New("its user or groups are missing")
	}
	return Identity{UID: uids[1], GID: gids[1], Groups: groups, Capabilities: caps}, nil
}

// RetryAs calls f and, if that is not permitted, calls it again with the rights of a process: root in a default container lacks
// CAP_SYS_PTRACE and may not read another user's /proc entries. It is only for files in /proc; for paths that the process can choose,
// use Do.
func RetryAs(pid int, f func() error) error {
	err := f()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	id, idErr := OfProcess(pid)
	if idErr != nil {
		return err
	}
	return id.Do(f)
}

// Do calls f on a thread with exactly these rights and returns its error; if they cannot be set, f is not called. f must not start
// processes and must return normally. Without root only the own identity is possible.
func (id Identity) Do(f func() error) error {
	if euid := os.Geteuid(); euid != 0 {
		if euid != id.UID {
			return fmt.Errorf("cannot act as user %d: %w", id.UID, unix.EPERM)
		}
		return f()
	}
	done := make(chan error, 1)
	go func() { // ends with f
		runtime.LockOSThread()
		own, err := current()
		if err == nil {
			if err = id.apply(); err == nil {
				err = f()
			}
			if own.restore() != nil {
				done <- err
				return // still locked: the thread ends with the goroutine
			}
		}
		// Ending the thread each time would make the runtime create a new one, which may exceed the thread limit.
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// apply sets these rights on the calling thread. Groups come first, since only root may change them. Setfsuid from root to another
// user clears the effective file capabilities (capabilities(7)); the remaining ones are cleared here.
func (id Identity) apply() error {
	groups, err := unix.Getgroups()
	if err == nil && !slices.Equal(groups, id.Groups) {
		err = unix.Setgroups(id.Groups) // only this thread; syscall.Setgroups sets all
	}
	if err != nil {
		return fmt.Errorf("cannot take the groups of user %d: %w", id.UID, err)
	}
	if err := setIDs(id.UID, id.GID); err != nil {
		return fmt.Errorf("cannot act as user %d: %w", id.UID, err)
	}
	caps, err := effective()
	if err == nil {
		err = setEffective(caps & id.Capabilities)
	}
	if err != nil {
		return fmt.Errorf("cannot give up the capabilities that user %d lacks: %w", id.UID, err)
	}
	return nil
}

// current returns the identity of the calling thread with its effective capabilities.
func current() (id Identity, err error) {
	if id.Groups, err = unix.Getgroups(); err == nil {
		id.Capabilities, err = effective()
	}
	id.UID, _ = unix.SetfsuidRetUid(-1) // an invalid id: this only reads
	id.GID, _ = unix.SetfsgidRetGid(-1)
	return id, err
}

// restore resets the calling thread to the result of current: first the user, which is always permitted as it is the real one, then
// what its capabilities permit.
func (id Identity) restore() error {
	_, _ = unix.SetfsuidRetUid(id.UID)
	return errors.Join(setEffective(id.Capabilities), unix.Setgroups(id.Groups), setIDs(id.UID, id.GID), setEffective(id.Capabilities))
}

// setIDs sets the file system user and group. The system calls return the previous value and no error, so a second call verifies them.
func setIDs(uid, gid int) error {
	_, _ = unix.SetfsgidRetGid(gid)
	_, _ = unix.SetfsuidRetUid(uid)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID != uid || nowGID != gid {
		return unix.EPERM
	}
	return nil
}

// effective returns the effective capabilities of the calling thread.
func effective() (uint64, error) {
	_, sets, err := capabilities()
	return uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective), err
}

// setEffective makes exactly these of the permitted capabilities effective.
func setEffective(caps uint64) error {
	header, sets, err := capabilities()
	if err != nil {
		return err
	}
	sets[0].Effective, sets[1].Effective = uint32(caps)&sets[0].Permitted, uint32(caps>>32)&sets[1].Permitted
	return unix.Capset(&header, &sets[0])
}

func capabilities() (header unix.CapUserHeader, sets [2]unix.CapUserData, err error) {
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	err = unix.Capget(&header, &sets[0])
	return header, sets, err
}
