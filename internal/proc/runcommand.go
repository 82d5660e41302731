package proc

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/printable"
)

// RunProbe is RunCommand for a command that is repeated: processes that it leaves
// behind in its group are killed.
func RunProbe(ctx context.Context, m *Manager, spec Spec) (code int, output string, err error) {
	return run(ctx, m, spec, true)
}

// RunCommand runs a command to its end and returns its exit code by shell
// convention and its output. When ctx is done the group is killed.
func RunCommand(ctx context.Context, m *Manager, spec Spec) (code int, output string, err error) {
	return run(ctx, m, spec, false)
}

// killWait is how long a killed command may take to be gone.
const killWait = time.Second

func run(ctx context.Context, m *Manager, spec Spec, killGroup bool) (code int, output string, err error) {
	log, err := logs.NewTemporary(spec.ID)
	if err != nil {
		return 0, "", err
	}
	defer log.Close() // may come while a descendant still writes
	spec.Stdio = Stdio{Mode: Capture, Log: log, Merge: true}
	begun := time.Now()
	p, err := m.Start(ctx, spec)
	if err != nil {
		return 0, "", err
	}
	select {
	case <-p.Exited():
	case <-ctx.Done():
		err = killedError(ctx, begun)
		p.SignalGroup(syscall.SIGKILL)
		select {
		case <-p.Exited():
		case <-time.After(killWait):
		}
	}
	x, ended := p.Exit()
	if !ended {
		go func() { // ends with the process
			<-p.Exited()
			p.Done()
		}()
		return 0, "", fmt.Errorf("cannot end %s (pid %d): it survives SIGKILL", spec.Argv[0], p.Pid())
	}
	if killGroup {
		p.SignalGroup(syscall.SIGKILL)
	}
	p.Done()
	return x.Status(), log.Text(), err
}

// killedError says why a command was killed.
func killedError(ctx context.Context, begun time.Time) error {
	deadline, ok := ctx.Deadline()
	if !ok || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	return &timeoutError{deadline.Sub(begun).Round(100 * time.Millisecond), ctx.Err()}
}

// timeoutError says how long a command had.
type timeoutError struct {
	had time.Duration
	err error
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("did not end within %v and was killed", e.had)
}
func (e *timeoutError) Unwrap() error { return e.err }

// quotedLines is how much of a command's output an error quotes.
const quotedLines = 3

// CommandError turns the results of RunCommand into an error that quotes the last
// lines of the output; nil if the command succeeded.
func CommandError(code int, output string, err error) error {
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if last := printable.LastLines(output, quotedLines); err != nil && last != "" {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return err
}
