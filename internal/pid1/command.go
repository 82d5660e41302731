package pid1

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// Command is the program of a plan that is nothing else. Where no supervisor can be
// started the init runs it by itself, as a plain init does: that needs neither /proc,
// nor more than a few descriptors, nor many threads.
type Command struct {
	Argv, Env []string
	Budget    func() time.Duration // from a wish to stop to the KILL
	// Find gives the program's path, or why there is none and the exit code that says so.
	Find func() (path string, code int, err error)
}

// commandRun is the command at work.
type commandRun struct {
	pid    int
	budget time.Duration
	killAt time.Time // zero: no stop was asked for
}

// commandGrace is what a command's children get when it has ended.
const commandGrace = 500 * time.Millisecond

// alone runs the command without a supervisor, and says whether it does. A command is
// started once: where a supervisor has begun to start anything it does not.
func (i *initState) alone(why string) bool {
	if i.opts.Command == nil || i.began || i.bag.open > 0 || i.stop > 0 {
		return false
	}
	c := i.opts.Command()
	if c == nil {
		return false
	}
	i.began = true
	for _, name := range slices.Clone(i.bag.order) { // such as an API that is not served
		i.bag.del(name)
	}
	err := i.lack
	if err == nil {
		err = i.tasks.make(0, 1)
	}
	if err == nil {
		err = i.run(c)
	}
	switch {
	case err == nil && i.command == nil: // there is no such program
	case err == nil:
		i.log.printf("%s; running %s without a supervisor: there is no API, and status, logs and stop do not work", why, c.Argv[0])
	case lacking(err), fewFiles(err):
		i.become(c, why)
	default:
		i.cannotRun(c, err)
	}
	return true
}

// run starts the command as a child.
func (i *initState) run(c *Command) error {
	path, code, err := c.Find()
	if err != nil {
		i.log.printf("%v", err)
		i.beginEnd(code, 0)
		return nil
	}
	pid, err := start(path, c.Argv, c.Env, []uintptr{0, 1, 2})
	if err != nil {
		return err
	}
	if i.tty.state != nil { // it may have asked for the terminal before it was its own
		_ = TakeForeground(0, pid)
		unix.Kill(-pid, unix.SIGCONT)
	}
	i.command = &commandRun{pid: pid, budget: c.Budget()}
	CatchRest(i.sigs)
	i.waiter.resume()
	return nil
}

// become executes the command in the place of the init. It returns if that fails. It
// needs neither a descriptor nor a thread: nothing here may use Go's poller or a timer.
func (i *initState) become(c *Command, why string) {
	_, _ = fmt.Fprintf(i.opts.Log, "stoker: init: %s; nor is there room for an init: %s takes its place, "+
		"gets the signals of a first process and has to wait for orphans\n", why, c.Argv[0]) // it runs also if that is not read
	i.cannotRun(c, execvp(c.Argv, c.Env))
}

// execvp is execvp(3). It returns if that fails.
func execvp(argv, env []string) error {
	if strings.Contains(argv[0], "/") {
		return syscall.Exec(argv[0], argv, env)
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var found error = unix.ENOENT
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		if err := syscall.Exec(dir+"/"+argv[0], argv, env); err != unix.ENOENT && err != unix.ENOTDIR {
			found = err
		}
	}
	return found
}

// cannotRun ends the container as a shell would.
func (i *initState) cannotRun(c *Command, err error) {
	i.log.printf("cannot execute %s: %v", c.Argv[0], err)
	code := 126
	if errors.Is(err, unix.ENOENT) {
		code = 127
	}
	i.beginEnd(code, 0)
}

// signal gives the command what reaches the container.
func (c *commandRun) signal(sig syscall.Signal, now time.Time) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT:
		if c.killAt.IsZero() {
			c.killAt = now.Add(c.budget)
		}
	case unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGWINCH, unix.SIGCONT:
	default:
		return
	}
	unix.Kill(c.pid, sig)
}

// step kills what has not ended within the budget.
func (c *commandRun) step(now time.Time) {
	if !c.killAt.IsZero() && !now.Before(c.killAt) {
		c.killAt = now.Add(time.Hour)
		unix.Kill(-c.pid, unix.SIGKILL)
	}
}

// exitCode is the container's when its command has ended.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// lacking says whether err is one of the moment: processes, threads or memory are
// used up.
func lacking(err error) bool {
	var lack *lackError
	return errors.As(err, &lack) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM)
}

// cannotStart says why there is no supervisor.
func (i *initState) cannotStart(err error) string {
	limits := ""
	if errors.Is(err, unix.EAGAIN) {
		limits = TaskLimits()
	}
	return fmt.Sprintf("cannot start the supervisor from %s: %v%s", i.bins.now.exe(), err, limits)
}

// fewFiles says whether err is the want of descriptors.
func fewFiles(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// ownFiles are the descriptors without which a start does not work, nor Go's poller,
// which ends the process then.
const ownFiles = 8

// descriptorsFor says whether n more can be had.
func descriptorsFor(n int) error {
	fds := make([]int, 0, n)
	defer func() { initproto.CloseAll(fds) }()
	for range n {
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 0)
		if fewFiles(err) {
			return fmt.Errorf("%d more descriptors are needed, and %d can be had: %w", n, len(fds), err)
		}
		if err != nil {
			return nil // there is no stdout
		}
		fds = append(fds, fd)
	}
	return nil
}
