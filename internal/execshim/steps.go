package execshim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/terminal"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// failure makes the error of a step that failed; nil: it did not. why is what the error
// does not say.
func failure(step string, err error, why string) *StepError {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		errno = syscall.EINVAL
	}
	return &StepError{Step: step, Errno: errno, Why: why}
}

// obey does what was ordered, on the calling thread. The order is the point: what
// needs a right comes before the rights are given up.
func (o *Orders) obey(note func(string)) *StepError {
	o.join(note)
	for _, step := range []func() *StepError{o.adjustOOM, o.setLimits, o.setPriorities, o.setUmaskAndTerminal,
		o.dropBounding, o.become, o.enterDir, o.dropRest} {
		if failed := step(); failed != nil {
			return failed
		}
	}
	return nil
}

// join enters the cgroups, all of them or none. A process without is better than
// none.
func (o *Orders) join(note func(string)) {
	for k, dir := range o.Cgroups {
		err := enterCgroup(dir)
		if err == nil {
			continue
		}
		for _, entered := range o.Cgroups[:k] {
			_ = enterCgroup(filepath.Dir(entered)) // the parent, from which it came
		}
		note(fmt.Sprintf("no cgroup of its own: cannot enter %s: %v", dir, untrusted.Cause(err)))
		return
	}
}

// enterCgroup moves this process, as a whole, into a cgroup.
func enterCgroup(dir string) error {
	return os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0)
}

func (o *Orders) adjustOOM() *StepError {
	if o.OOMScoreAdj == nil {
		return nil
	}
	err := os.WriteFile("/proc/self/oom_score_adj", strconv.AppendInt(nil, int64(*o.OOMScoreAdj), 10), 0)
	why := ""
	if errors.Is(err, unix.EACCES) {
		why = needs(unix.CAP_SYS_RESOURCE, "it cannot be lowered here")
	}
	return failure(fmt.Sprintf("set the OOM score adjustment %d of", *o.OOMScoreAdj), err, why)
}

// setLimits goes by package syscall: it then knows that the limit of open files
// is not the Go runtime's to restore.
func (o *Orders) setLimits() *StepError {
	for _, l := range o.Rlimits {
		var have syscall.Rlimit
		_ = syscall.Getrlimit(l.Resource, &have) // for the message
		err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard})
		if err == nil {
			continue
		}
		why := ""
		switch {
		case err != unix.EPERM:
		case !holds(unix.CAP_SYS_RESOURCE):
			why = fmt.Sprintf("the hard limit here is %s, and more needs CAP_SYS_RESOURCE", limitText(have.Max))
		case l.Resource == unix.RLIMIT_NOFILE:
			most, _ := os.ReadFile("/proc/sys/fs/nr_open")
			why = "fs.nr_open of this machine is " + strings.TrimSpace(string(most))
		}
		return failure("set the limit "+l.Name+" of", err, why)
	}
	return nil
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// setPriorities sets those of this thread, which becomes the program's.
func (o *Orders) setPriorities() *StepError {
	if o.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *o.Nice); err != nil {
			return failure(fmt.Sprintf("set the nice value %d of", *o.Nice), err, needs(unix.CAP_SYS_NICE, ""))
		}
	}
	if o.IOPriority == nil {
		return nil
	}
	const thisThread = 1 // IOPRIO_WHO_PROCESS
	_, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, thisThread, 0, uintptr(*o.IOPriority))
	switch errno {
	case 0:
		return nil
	case unix.EPERM:
		return failure("set the I/O priority of", errno, needs(unix.CAP_SYS_NICE, ""))
	}
	return failure("set the I/O priority of", errno, "")
}

func (o *Orders) setUmaskAndTerminal() *StepError {
	if o.Umask != nil {
		unix.Umask(*o.Umask)
	}
	if !o.Foreground {
		return nil
	}
	return failure("give the terminal to", terminal.SetForeground(0, os.Getpid()), "")
}

// dropBounding may be refused to one who has no capabilities anyway. Then a set-
// user-ID program could still give them, except where nothing can.
func (o *Orders) dropBounding() *StepError {
	if o.Drop == 0 {
		return nil
	}
	number, err := o.Drop.dropBounding()
	if err == nil || o.NoNewPrivileges && errors.Is(err, unix.EPERM) {
		return nil
	}
	return failure("drop the capability "+capabilityName(number)+" of", err,
		needs(unix.CAP_SETPCAP, "the kernel keeps it")+"; with no_new_privileges nothing can give it")
}

// become takes the user's identity, by calls that change this thread only.
func (o *Orders) become() *StepError {
	c := o.Become
	if c == nil {
		return nil
	}
	if !c.NoSetGroups {
		groups := make([]int, len(c.Groups))
		for k, gid := range c.Groups {
			groups[k] = int(gid)
		}
		if err := unix.Setgroups(groups); err != nil {
			return failure("set the groups of user "+o.User+" for", err, needs(unix.CAP_SETGID, "the user namespace allows none"))
		}
	}
	gid, uid := uintptr(c.Gid), uintptr(c.Uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return failure("become group "+strconv.FormatUint(uint64(c.Gid), 10)+" for", errno, needs(unix.CAP_SETGID, ""))
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return failure("become user "+o.User+" for", errno, needs(unix.CAP_SETUID, ""))
	}
	return nil
}

// enterDir comes after the user: the directory may be closed to others, root
// included where it is on NFS.
func (o *Orders) enterDir() *StepError {
	if o.Dir == "" {
		return nil
	}
	failed := failure("change to the working directory", os.Chdir(o.Dir), "")
	if failed != nil {
		failed.Thing = o.Dir
	}
	return failed
}

// dropRest gives up what is left to give up, and takes over orphans.
func (o *Orders) dropRest() *StepError {
	if o.Drop != 0 {
		if err := o.Drop.dropHeld(); err != nil {
			return failure("drop the capabilities of", err, "")
		}
	}
	if o.Subreaper {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // fails before Linux 3.4 only
	}
	if !o.NoNewPrivileges {
		return nil
	}
	return failure("set no_new_privileges for", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "")
}
