package proc

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// processFDs are the descriptors of a process that starts: the ends of two pipes.
const processFDs = 4

// start runs in the loop: intent, clone, pid.
func (m *Manager) start(spec Spec) (started *Process, err error) {
	defer func() {
		if err != nil {
			removeCgroups(spec.Cgroups)
			err = withLimitHint(err)
		}
		m.started(err)
	}()
	if m.stopping && !spec.WhileStopping {
		return nil, ErrStopping
	}
	if spec.KeepReserve && len(m.pids) > 0 { // the first one has to run at any limit
		if err := headroom.DescriptorsFor(processFDs); err != nil {
			return nil, fmt.Errorf("cannot start %q: %w", spec.ID, err)
		}
	}
	path, executable, err := spec.command().Find()
	defer executable.Close()
	if err != nil {
		return nil, err
	}
	p := m.newProcess(newRecord(&spec, path))
	p.rec.Path = filepath.Join(filepath.Dir(path), filepath.Base(executable.Exe)) // as the kernel calls it
	files, err := p.openStreams(&spec)
	defer files.close()
	if err != nil {
		return nil, err
	}
	// From here on a later supervisor knows that there may be a child, and has its pipes.
	if err := m.putRecord(p.rec, true, p.capture.Fds()); err != nil {
		p.abandonStreams()
		return nil, fmt.Errorf("cannot start %q: %w", spec.ID, err)
	}
	m.step("intent")
	spec.Env = m.environ(&spec)
	pid, err := m.clone(&spec, path, executable, files)
	m.step("cloned")
	if err != nil {
		m.store.Delete(procPrefix + spec.ID)
		p.abandonStreams()
		return nil, err
	}
	p.rec.Pid = pid
	if b, err := procfs.ReadStat(pid); err == nil {
		p.rec.Start = b.Start
	}
	m.putRecord(p.rec, false, nil)
	m.step("recorded")
	m.pids[pid] = append(m.pids[pid], p)
	m.procs[spec.ID] = p
	m.tracked.add(p)
	p.capture.Run()
	m.checkParent(p)
	if m.ownChildren {
		go m.waitOwn(pid) // ends with the child
	}
	return p, nil
}

// started handles the result of a start.
func (m *Manager) started(err error) {
	switch {
	case err == nil:
		m.onShortage = nil
	case m.onShortage != nil && (headroom.Short(err) || headroom.ShortOfFiles(err)):
		m.onShortage(err)
	}
}

// OnShortage sets what is called if, before the first start that succeeds, a start fails
// for want of processes, descriptors or memory.
func (m *Manager) OnShortage(f func(error)) { m.do(func() { m.onShortage = f }) }

func (m *Manager) step(name string) {
	if m.opts.at != nil {
		m.opts.at(name)
	}
}

// clone makes the child. The init started the supervisor with an empty signal mask and
// without ignored signals, and the child inherits both.
func (m *Manager) clone(spec *Spec, path string, executable program.Opened, files *streams) (pid int, err error) {
	sys := &syscall.SysProcAttr{Setsid: !spec.Foreground, Setpgid: spec.Foreground, Setctty: spec.Stdio.Mode == Pty}
	if !m.opts.Deny.CloneParent && !m.ownChildren {
		sys.Cloneflags = syscall.CLONE_PARENT
	}
	attr := &syscall.ProcAttr{Dir: spec.Dir, Env: spec.Env, Files: files.child[:], Sys: sys}
	exe, argv := executable.Exe, spec.Argv
	var shim *execshim.Shim
	if !spec.NeedShim() && len(spec.Sockets) == 0 {
		sys.Credential = spec.credential()
	} else { // the shim starts with stoker's rights, in stoker's directory
		if shim, err = execshim.New(spec.orders(executable.Exe)); err != nil {
			return 0, fmt.Errorf("cannot start %q: %w", spec.ID, err)
		}
		defer shim.Close()
		exe, argv = "/proc/self/exe", execshim.Args(spec.ID)
		attr.Dir = ""
		attr.Files = append(files.child[:], shim.FDs()...)
		for _, s := range spec.Sockets {
			attr.Files = append(attr.Files, s.File.Fd())
		}
	}
	attr.Files = executable.AddTo(attr.Files)
	m.withOOMScore(spec.OOMRaise, func() { pid, err = syscall.ForkExec(exe, argv, attr) })
	if err != nil {
		return 0, startError(spec, path, err)
	}
	if shim != nil {
		// The child exists: a failure of the shim is reported by the shim and by the exit
		// that follows.
		notes, err := shim.Wait()
		for _, note := range notes {
			m.warn(fmt.Sprintf("%s: %s", spec.ID, note))
		}
		if err != nil {
			if m.ownChildren {
				go m.waitOwn(pid) // ends with the child, which is about to; its exit belongs to no process
			}
			return 0, spec.shimError(path, err)
		}
	}
	return pid, nil
}

// credential is the user that a child becomes; nil: stoker's own, which is not set again,
// since that needs a capability too.
func (s *Spec) credential() *syscall.Credential {
	u := s.User
	if u == nil || os.Getuid() != 0 && !u.Grouped && int(u.UID) == os.Getuid() && int(u.GID) == os.Getgid() {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups, NoSetGroups: os.Getuid() != 0 && !u.Grouped}
}

// orders are what the exec shim does to start a program.
func (s *Spec) orders(program string) execshim.Orders {
	o := execshim.Orders{Attributes: s.Attributes, Path: program, Argv: s.Argv, Dir: s.Dir, Become: s.credential()}
	if s.User != nil {
		o.User = s.User.Name
	}
	for _, socket := range s.Sockets {
		o.Sockets = append(o.Sockets, socket.Name)
	}
	return o
}

// shimError is the *StartError for a step of the exec shim that failed.
func (s *Spec) shimError(path string, err error) error {
	var failed *execshim.StepError
	if !errors.As(err, &failed) {
		return fmt.Errorf("cannot start %s: %w", path, err)
	}
	if failed.Step == "execute" && failed.Why == "" {
		return s.command().CannotExecute(path, failed.Errno)
	}
	return &program.StartError{Path: cmp.Or(failed.Thing, path), Step: failed.Step, Why: failed.Why, Err: failed.Errno}
}

// startError says which of the steps between clone and exec may have failed: the kernel
// returns only an errno.
func startError(spec *Spec, path string, err error) error {
	e := spec.command().CannotExecute(path, err)
	if spec.Dir != "" {
		info, dirErr := os.Stat(spec.Dir)
		if dirErr == nil && !info.IsDir() {
			dirErr = syscall.ENOTDIR
		}
		if dirErr != nil {
			return &program.StartError{Path: spec.Dir, Step: "change to the working directory", Err: untrusted.Cause(dirErr)}
		}
	}
	if errors.Is(err, syscall.ENOENT) && e.Why == "" {
		e.Step = "find the interpreter (the #! line, or the ELF loader) of" // the file itself was there a moment ago
	}
	if spec.Dir != "" && spec.User != nil && errors.Is(err, syscall.EACCES) && e.Why == "" {
		e.Why = fmt.Sprintf("user %s needs access to it, and to the working directory %s", spec.User.Name, spec.Dir)
	}
	if errors.Is(err, syscall.EAGAIN) {
		e.Why += headroom.TaskLimitText()
	}
	if spec.User != nil && errors.Is(err, syscall.EPERM) {
		e.Step = fmt.Sprintf("become user %s for", spec.User.Name)
		e.Why = "needs CAP_SETUID and CAP_SETGID"
	}
	return e
}

// withLimitHint adds a hint to an error that is caused by too few descriptors.
func withLimitHint(err error) error {
	var limit syscall.Rlimit
	if !errors.Is(err, syscall.EMFILE) || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return err
	}
	return fmt.Errorf("%w\nhint: the limit of open files is %d here; raise it (docker run --ulimit nofile=65536)", err, limit.Cur)
}
