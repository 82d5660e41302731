package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/procfs"
)

// secondTime is what a stoker that runs here already has to answer.
const secondTime = 2 * time.Second

// refuseSecond refuses to start services where a stoker runs some already, as by
// `docker exec C stoker run`: two Tomcats in one base spoil each other. Such a one is
// the container's first process, or answers at the socket that ours would have; who
// gives ours a socket of its own means another one. A command alone is only run.
func refuseSecond(opts daemon.Options, configured string, initPid int) error {
	if opts.Force || initPid == 1 || opts.Alone() {
		return nil
	}
	if configured == "" && runsServices(1) {
		return errSecond("(pid 1)")
	}
	c, err := api.Find(configured, func(name string) string {
		if name == "STOKER_SOCKET" { // where commands look, not where ours would listen
			return ""
		}
		return os.Getenv(name)
	})
	if err != nil {
		return nil // none answers
	}
	ctx, cancel := context.WithTimeout(context.Background(), secondTime)
	defer cancel()
	switch v, err := c.Versions(ctx); {
	case err != nil:
		return errSecond("and answers at " + c.Socket())
	case runsServices(v.Init.Pid): // else it is in another container, or has only a command
		return errSecond(fmt.Sprintf("(pid %d)", v.Init.Pid))
	}
	return nil
}

func errSecond(which string) error {
	return &exit.Error{Err: fmt.Errorf("cannot run the services: a stoker runs here already %s", which),
		Hint: "stoker status shows its services, stoker reload applies the configuration; " +
			"stoker run --force starts a second one beside it", Code: exit.TryLater}
}

// runsServices says whether a process is the init of a stoker that runs services.
func runsServices(pid int) bool {
	args, _ := procfs.Cmdline(pid)
	if len(args) < 2 || args[1] != "run" || filepath.Base(args[0]) != "stoker" && !sameProgram(pid) {
		return false
	}
	opts, help, err := parseRun(args[2:])
	return err == nil && !help && !opts.Alone()
}

// sameProgram says whether a process executes the file that we do.
func sameProgram(pid int) bool {
	theirs, err := procfs.Exe(pid)
	if err != nil {
		return false
	}
	ours, err := os.Executable()
	return err == nil && strings.TrimSuffix(theirs, " (deleted)") == ours
}
