package pid1

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is the program of a plan that is nothing else. Where no supervisor can be
// started the init runs it by itself, as a plain init does: that needs neither /proc,
// nor more than a few descriptors, nor many threads.
type Command struct {
	Path      string
	Argv, Env []string
	Budget    time.Duration // from a wish to stop to the KILL
	Err       error         // there is no such program; Code is the exit code that says so
	Code      int
}

// commandRun is the command at work.
type commandRun struct {
	pid    int
	budget time.Duration
	killAt time.Time // zero: nobody has asked for a stop
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
	for _, name := range slices.Clone(i.bag.order) { // an API at which nobody answers
		i.bag.del(name)
	}
	if c.Err != nil {
		i.log.printf("%v", c.Err)
		i.beginEnd(c.Code, 0)
		return true
	}
	err := i.lack
	if err == nil {
		err = i.tasks.make(0, 1)
	}
	if err == nil {
		i.log.printf("%s; running %s without a supervisor: there is no API, and status, logs and stop do not work", why, c.Argv[0])
		err = i.run(c)
	}
	switch {
	case err == nil:
	case lacking(err), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		i.log.printf("%s; nor is there room for an init: %s takes its place, gets the signals of a first process and has to wait for orphans",
			why, c.Argv[0])
		i.become(c)
	default:
		i.cannotRun(c, err)
	}
	return true
}

// run starts the command as a child.
func (i *initState) run(c *Command) error {
	pid, err := start(c.Path, c.Argv, c.Env, []uintptr{0, 1, 2})
	if err != nil {
		return err
	}
	if i.tty.state != nil { // it may have asked for the terminal before it was its own
		_ = TakeForeground(0, pid)
		unix.Kill(-pid, unix.SIGCONT)
	}
	i.command = &commandRun{pid: pid, budget: c.Budget}
	CatchRest(i.sigs)
	i.waiter.resume()
	return nil
}

// become executes the command in the place of the init. It returns if that fails.
func (i *initState) become(c *Command) {
	i.log.close()
	err := syscall.Exec(c.Path, c.Argv, c.Env)
	i.log = newLogger(i.opts.Log)
	i.cannotRun(c, err)
}

// cannotRun ends the container as a shell would.
func (i *initState) cannotRun(c *Command, err error) {
	i.log.printf("cannot execute %s: %v", c.Path, err)
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
