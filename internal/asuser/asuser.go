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

// IsOwn reports whether the effective user and group are those of this process.
func (id Identity) IsOwn() bool { return id.UID == os.Geteuid() && id.GID == os.Getegid() }

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
func (id Identity) Do(f func() error) error { return id.do(setFileIDs, f) }

// DoAsPeer is Do for a connection to a unix socket whose other end compares the peer's user and group with its own (SO_PEERCRED): the
// thread's effective ids are those of id, its real and saved ones stay. Processes of that user can neither signal nor trace the thread,
// but may lower its priority meanwhile (with fs.suid_dumpable=1 also change the oom_score_adj of this process), so f must be short. f has
// no capabilities, unless id is root's.
func (id Identity) DoAsPeer(f func() error) error { return id.do(setEffectiveIDs, f) }

func (id Identity) do(set func(uid, gid int) error, f func() error) error {
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
			if err = id.apply(set); err == nil {
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

// apply sets these rights on the calling thread. Groups come first, since only root may change them. A change of the user from root to
// another clears the effective file capabilities, or with the effective user all effective ones (capabilities(7)); the remaining ones are
// cleared here.
func (id Identity) apply(set func(uid, gid int) error) error {
	groups, err := unix.Getgroups()
	if err == nil && !slices.Equal(groups, id.Groups) {
		err = unix.Setgroups(id.Groups) // only this thread; syscall.Setgroups sets all
	}
	if err != nil {
		return fmt.Errorf("cannot take the groups of user %d: %w", id.UID, err)
	}
	if err := set(id.UID, id.GID); err != nil {
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
	id.UID, id.GID = unix.Geteuid(), unix.Getegid()
	return id, err
}

// restore resets the calling thread to the result of current: first the effective user, which is always permitted as it is the real one,
// then what its capabilities permit. The effective ids take those for files along.
func (id Identity) restore() error {
	return errors.Join(setEffectiveUser(id.UID), setEffective(id.Capabilities), unix.Setgroups(id.Groups), setEffectiveIDs(id.UID, id.GID),
		setEffective(id.Capabilities))
}

// setFileIDs sets the file system user and group. The system calls return the previous value and no error, so a second call verifies
// them.
func setFileIDs(uid, gid int) error {
	_, _ = unix.SetfsgidRetGid(gid)
	_, _ = unix.SetfsuidRetUid(uid)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID != uid || nowGID != gid {
		return unix.EPERM
	}
	return nil
}

// setEffectiveIDs sets the effective group and user, and those for files with them.
func setEffectiveIDs(uid, gid int) error {
	// The functions of package syscall change all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(gid), keep); errno != 0 {
		return errno
	}
	return setEffectiveUser(uid)
}

func setEffectiveUser(uid int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return errno
	}
	return nil
}

// keep is the argument by which setresuid and setresgid leave an id as it is.
const keep = ^uintptr(0)

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
