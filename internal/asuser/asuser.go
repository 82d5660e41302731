// Package asuser looks users up, and calls functions with the rights that another user or
// process has to files. It starts no processes.
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

// Identity is what the kernel goes by where a file is looked up, opened, made or
// removed.
type Identity struct {
	UID, GID int
	Groups   []int // supplementary
	// Capabilities are those that may be in effect, a bit each: a user's, other than
	// root's, are none.
	Capabilities uint64
}

// Of is the identity of a process: its effective user and group, and every capability
// that it could have in effect.
func Of(pid int) (Identity, error) {
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

// parse reads the lines that matter. All of them must be there.
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

// Try calls f and, where that is not permitted, calls it again with the rights of a process:
// root in a default container lacks CAP_SYS_PTRACE, and may not look into another user's
// process. It is for what the kernel shows in /proc alone: at places that the process can
// choose, Do comes first.
func Try(pid int, f func() error) error {
	err := f()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	id, idErr := Of(pid)
	if idErr != nil {
		return err
	}
	return id.Do(f)
}

// Do calls f on a thread that has these rights and no others, and returns its
// error. Without them f is not called. f must start no process, and leave its
// goroutine only by returning. A process that is not root can only act as itself.
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
			if err = id.take(); err == nil {
				err = f()
			}
			if own.restore() != nil {
				done <- err
				return // still locked: the thread ends with the goroutine
			}
		}
		// A thread that ended here each time would have to be replaced by a new one, and
		// there may be no room for that.
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// take gives the calling thread these rights. Groups go first: a user other than root
// may not change them. Setfsuid from root to another user takes every capability for
// files out of effect (capabilities(7)); the others, and those that a confined root
// lacks, are taken out here.
func (id Identity) take() error {
	groups, err := unix.Getgroups()
	if err == nil && !slices.Equal(groups, id.Groups) {
		err = unix.Setgroups(id.Groups) // of the thread: that of package syscall is for all
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

// current is the identity of the calling thread, with what is in effect of it.
func current() (id Identity, err error) {
	if id.Groups, err = unix.Getgroups(); err == nil {
		id.Capabilities, err = effective()
	}
	id.UID, _ = unix.SetfsuidRetUid(-1) // no such user: this only reads
	id.GID, _ = unix.SetfsgidRetGid(-1)
	return id, err
}

// restore gives the calling thread back what current was: first the user, which is
// always allowed, since it is the real one too, then what its capabilities allow.
func (id Identity) restore() error {
	_, _ = unix.SetfsuidRetUid(id.UID)
	return errors.Join(setEffective(id.Capabilities), unix.Setgroups(id.Groups), setIDs(id.UID, id.GID), setEffective(id.Capabilities))
}

// setIDs sets user and group for files. These calls return no error, only the former value:
// called again they show what is in force.
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

// effective are the capabilities of the calling thread that are in effect.
func effective() (uint64, error) {
	_, sets, err := capabilities()
	return uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective), err
}

// setEffective puts these of the permitted ones in effect, and no others.
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
