package main

import (
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/program"
)

// commandAlone is what the init runs where it cannot start a supervisor: the command
// of run; nil: there is none, or services are to run too.
func commandAlone(args []string) *pid1.Command {
	opts, help, err := parseRun(args)
	if err != nil || help || !opts.Alone() {
		return nil
	}
	c := &pid1.Command{Argv: opts.Command, Env: os.Environ()}
	c.Budget = func() time.Duration {
		loaded, err := config.Load(config.Options{File: opts.File, Set: opts.Set, Environ: c.Env})
		if err != nil { // a supervisor would say so
			return config.WithDefaults(config.Config{}).Stop.Timeout
		}
		return loaded.Config.Stop.Timeout
	}
	c.Find = func() (string, int, error) {
		path, err := (&program.Command{Argv: c.Argv, Env: c.Env}).LookPath()
		return path, exitCode(err), err
	}
	return c
}
