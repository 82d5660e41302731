package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// secondTimeout bounds the wait for an answer of another stoker, which is asked again after secondPause if it ends a connection.
const (
	secondTimeout = 2 * time.Second
	secondPause   = 20 * time.Millisecond
)

// rejectSecond returns an error if another stoker runs services here, as with `docker exec C stoker run`: two Tomcats cannot share one
// base. The other stoker is PID 1, or answers on the same socket. A separate socket means that a second stoker is wanted. A command
// alone may always run.
func (d *daemon) rejectSecond(socket string, initPid int) error {
	if d.opts.Force || initPid == 1 || d.opts.Alone() {
		return nil
	}
	if socket == "" && d.runsServices(1) {
		return errSecond("(pid 1)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), secondTimeout)
	defer cancel()
	for {
		c, err := api.Find(socket, func(name string) string {
			if name == "STOKER_SOCKET" { // for client commands only
				return ""
			}
			return os.Getenv(name)
		})
		if err != nil {
			return nil // no stoker answers
		}
		v, err := c.Versions(ctx)
		switch {
		case err == nil && d.runsServices(v.Init.Pid):
			return errSecond(fmt.Sprintf("(pid %d)", v.Init.Pid))
		case err == nil: // it is in another container, or has only a command
			return nil
		case ctx.Err() != nil || errors.As(err, new(*api.StatusError)):
			return errSecond("and answers at " + c.Socket())
		}
		select { // it ends, or its supervisor is restarted
		case <-ctx.Done():
		case <-time.After(secondPause):
		}
	}
}

func errSecond(which string) error {
	return &exit.Error{Err: fmt.Errorf("cannot run the services: a stoker runs here already %s", which),
		Hint: "stoker status shows its services, stoker reload applies the configuration; " +
			"stoker run --force starts a second one beside it", Code: exit.TryLater}
}

// runsServices reports whether a process is the init of a stoker that runs services.
func (d *daemon) runsServices(pid int) bool {
	args, _ := procfs.Cmdline(pid)
	if len(args) < 2 || args[1] != "run" || filepath.Base(args[0]) != "stoker" && !sameProgram(pid) {
		return false
	}
	opts, err := d.program.Parse(args[1:])
	return err == nil && opts != nil && !opts.Alone()
}

// ownerOf returns a prefix for the files of the stoker whose init has a pid, by which they differ from those of others that share a folder
// with it: in this container, or in one with the same volume.
func ownerOf(initPid int) string {
	var namespace unix.Stat_t
	_ = unix.Stat("/proc/self/ns/pid", &namespace) // without /proc the pid remains
	return fmt.Sprintf("%d-%d-", namespace.Ino, initPid)
}

// sameProgram reports whether a process executes the same file as this one.
func sameProgram(pid int) bool {
	other, err := procfs.Exe(pid)
	if err != nil {
		return false
	}
	own, err := os.Executable()
	return err == nil && strings.TrimSuffix(other, " (deleted)") == own
}
