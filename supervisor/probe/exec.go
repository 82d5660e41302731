package probe

import (
	"context"
	"errors"
	"fmt"

	"github.com/stoker-init/stoker/internal/proc"
)

// Exec is a command that must exit with 0; empty: not checked.
type Exec []string

// Key is the key in the configuration.
func (Exec) Key() string { return "exec" }

// IsSet reports whether a command is set.
func (e Exec) IsSet() bool { return len(e) > 0 }

// New returns the probe.
func (e Exec) New(run Runner) Checker {
	return Func(func(ctx context.Context, _ Process) error {
		err := proc.CommandError(run(ctx, e))
		switch {
		case errors.Is(err, context.DeadlineExceeded): // without %w: Check would replace this text
			return fmt.Errorf("exec %s: %s", e[0], err.Error())
		case err != nil:
			return fmt.Errorf("exec %s: %w", e[0], err)
		}
		return nil
	})
}
