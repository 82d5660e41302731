package supervisor

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
)

// RunProbe is RunCommand for a probe, which is repeated: what the command leaves
// behind in its group is killed, so that it does not pile up.
func RunProbe(ctx context.Context, m *proc.Manager, spec proc.Spec) (code int, output string, err error) {
	return run(ctx, m, spec, true)
}

// RunCommand runs argv to its end in our own name: killed with its group when
// ctx is done. It gives the exit code by shell convention and the output.
func RunCommand(ctx context.Context, m *proc.Manager, spec proc.Spec) (code int, output string, err error) {
	return run(ctx, m, spec, false)
}

// dieTime is how long a killed command may take to be gone.
const dieTime = time.Second

func run(ctx context.Context, m *proc.Manager, spec proc.Spec, killGroup bool) (code int, output string, err error) {
	log, err := logs.NewScratchLog(spec.ID)
	if err != nil {
		return 0, "", err
	}
	defer log.Close() // may come while a descendant still writes
	spec.Log, spec.Merge = log, true
	begun := time.Now()
	p, err := m.Start(ctx, spec)
	if err != nil {
		return 0, "", err
	}
	select {
	case <-p.Exited():
	case <-ctx.Done():
		err = endedEarly(ctx, begun)
		p.SignalGroup(syscall.SIGKILL)
		select {
		case <-p.Exited():
		case <-time.After(dieTime):
		}
	}
	x, ended := p.Exit()
	if !ended {
		go func() { // ends with the process
			<-p.Exited()
			p.Done()
		}()
		return 0, "", fmt.Errorf("cannot end %s (pid %d): it does not die", spec.Argv[0], p.Pid())
	}
	if killGroup {
		p.SignalGroup(syscall.SIGKILL)
	}
	p.Done()
	return x.Status(), log.Text(), err
}

// endedEarly says why a command was killed. It is the context's error in plain words.
func endedEarly(ctx context.Context, begun time.Time) error {
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

// lastLines is how much of a command's output an error quotes.
const lastLines = 3

// CommandError says how a command has failed, with the end of what it wrote; nil: it
// has not. The arguments are what RunCommand gives.
func CommandError(code int, output string, err error) error {
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if last := proc.LastLines(output, lastLines); err != nil && last != "" {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return err
}
