package pid1

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/signals"
	"github.com/stoker-init/stoker/internal/spawn"
	"github.com/stoker-init/stoker/internal/terminal"
	"golang.org/x/sys/unix"
)

// Command is the command of a container that runs nothing else. If no supervisor can be
// started the init runs it, which needs neither /proc nor many descriptors and threads.
type Command struct {
	Argv, Env []string
	Budget    func() time.Duration // from a stop request to the KILL
	// Find returns the program's path, or why there is none and the exit code for that.
	Find func() (path string, code int, err error)
}

// commandProcess is the command that runs without a supervisor.
type commandProcess struct {
	pid    int
	budget time.Duration
	killAt time.Time // zero: no stop was requested
}

// commandGrace is what a command's children get when it has ended.
const commandGrace = 500 * time.Millisecond

// runCommand runs the command without a supervisor; false: it does not. A command is
// started once: not after a supervisor has begun to start anything.
func (i *initState) runCommand(why string) bool {
	if i.opts.Command == nil || i.started || i.store.HasIntent() || i.stops > 0 {
		return false
	}
	c := i.opts.Command()
	if c == nil {
		return false
	}
	i.started = true
	i.store.Clear() // such as the API's socket, which is not served
	err := i.startErr
	if err == nil {
		err = i.threads.reserve(0, 1)
	}
	if err == nil {
		err = i.startCommand(c)
	}
	switch {
	case err == nil && i.command == nil: // there is no such program
	case err == nil:
		i.log.printf("%s; running %s without a supervisor: there is no API, and status, logs and stop do not work", why, c.Argv[0])
	case headroom.Short(err), headroom.ShortOfFiles(err):
		i.replaceWithCommand(c, why)
	default:
		i.commandFailed(c, err)
	}
	return true
}

// startCommand starts the command as a child.
func (i *initState) startCommand(c *Command) error {
	path, code, err := c.Find()
	if err != nil {
		i.log.printf("%v", err)
		i.endContainer(code, 0)
		return nil
	}
	pid, err := spawn.Start(path, c.Argv, c.Env, []uintptr{0, 1, 2})
	if err != nil {
		return err
	}
	if i.tty.OnTerminal() { // it may have asked for the terminal before it was its own
		_ = terminal.SetForeground(0, pid)
		unix.Kill(-pid, unix.SIGCONT)
	}
	i.command = &commandProcess{pid: pid, budget: c.Budget()}
	signals.NotifyRest(i.sigs)
	i.waiter.Resume()
	return nil
}

// replaceWithCommand executes the command in place of the init, and returns if that fails.
// It needs neither a descriptor nor a thread: nothing here may use Go's poller or a timer.
func (i *initState) replaceWithCommand(c *Command, why string) {
	_, _ = fmt.Fprintf(i.opts.Log, "stoker: init: %s; nor is there room for an init: %s replaces it, "+
		"gets the signals of a first process and must reap orphans\n", why, c.Argv[0]) // it runs even if nothing reads that
	i.commandFailed(c, spawn.Replace(c.Argv, c.Env))
}

// commandFailed ends the container as a shell would.
func (i *initState) commandFailed(c *Command, err error) {
	i.log.printf("cannot execute %s: %v", c.Argv[0], err)
	code := 126
	if errors.Is(err, unix.ENOENT) {
		code = 127
	}
	i.endContainer(code, 0)
}

// signal relays a signal that reached the container.
func (c *commandProcess) signal(sig syscall.Signal, now time.Time) {
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
func (c *commandProcess) step(now time.Time) {
	if !c.killAt.IsZero() && !now.Before(c.killAt) {
		c.killAt = now.Add(time.Hour)
		unix.Kill(-c.pid, unix.SIGKILL)
	}
}
