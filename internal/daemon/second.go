package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/procfs"
)

// secondTime bounds how long a stoker that runs here has to answer.
const secondTime = 2 * time.Second

// rejectSecond returns an error if another stoker runs services here, as with
// `docker exec C stoker run`: two Tomcats cannot share one base. The other one is the
// container's first process, or answers at the socket that ours would have. A socket of
// its own says that a second stoker is wanted. A command alone may always run.
func (d *daemon) rejectSecond(socket string, initPid int) error {
	if d.opts.Force || initPid == 1 || d.opts.Alone() {
		return nil
	}
	if socket == "" && d.runsServices(1) {
		return errSecond("(pid 1)")
	}
	c, err := api.Find(socket, func(name string) string {
		if name == "STOKER_SOCKET" { // for commands: ours would not listen there
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
	case d.runsServices(v.Init.Pid): // else it is in another container, or has only a command
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
func (d *daemon) runsServices(pid int) bool {
	args, _ := procfs.Cmdline(pid)
	if len(args) < 2 || args[1] != "run" || filepath.Base(args[0]) != "stoker" && !sameProgram(pid) {
		return false
	}
	opts, err := d.program.Parse(args[2:])
	return err == nil && opts != nil && !opts.Alone()
}

// sameProgram says whether a process executes the same file as we do.
func sameProgram(pid int) bool {
	theirs, err := procfs.Exe(pid)
	if err != nil {
		return false
	}
	ours, err := os.Executable()
	return err == nil && strings.TrimSuffix(theirs, " (deleted)") == ours
}
