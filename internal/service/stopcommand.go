package service

import (
	"context"
	"fmt"
	"strconv"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor"
)

// stopCommand returns a function that runs the configured stop command as the service's user; nil: none is configured. It may also
// start while the container stops.
func (l *Launcher) stopCommand() func(context.Context, supervisor.Process) error {
	if len(l.Config.Stop.Command) == 0 {
		return nil
	}
	return func(ctx context.Context, p supervisor.Process) error {
		spec, err := l.specBeside()
		if err != nil {
			return err
		}
		spec.Env = append(spec.Env, "STOKER_PID="+strconv.Itoa(p.Pid()))
		spec.ID, spec.Argv, spec.WhileStopping = ProcessID("stop"), l.Config.Stop.Command, true
		if err := proc.CommandError(proc.RunProbe(ctx, l.Manager, spec)); err != nil {
			return fmt.Errorf("cannot stop by %s: %w", l.Config.Stop.Command[0], err)
		}
		return nil
	}
}
