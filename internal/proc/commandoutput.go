package proc

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/waitid"
)

// maxOutput bounds what Output keeps, in bytes.
const maxOutput = 1 << 20

// Output runs a program to its end for a command line tool, whose children no init
// watches; a supervisor uses a Manager. It gives the exit code by shell convention and
// what was written to stdout and stderr. The group is killed when ctx is done.
func Output(ctx context.Context, argv, env []string) (code int, output string, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out := &limitedBuffer{}
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a descendant may hold the pipe
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, out.String(), ctx.Err()
	case errors.As(err, &exit):
		return waitid.ShellCode(exit.Sys().(syscall.WaitStatus)), out.String(), nil
	}
	return 0, out.String(), err
}

// limitedBuffer drops what goes beyond maxOutput.
type limitedBuffer struct{ kept bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	_, _ = b.kept.Write(p[:min(len(p), maxOutput-b.kept.Len())]) // it does not fail
	return len(p), nil
}

func (b *limitedBuffer) String() string { return b.kept.String() }
