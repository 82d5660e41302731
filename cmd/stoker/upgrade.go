package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/proc"
)

// Waits of upgrade. The init gives a new binary 10 s to work, twice where it dies
// late, and then needs a moment for the one before.
const (
	upgradeTime = 45 * time.Second
	upgradeLook = 50 * time.Millisecond
	versionTime = 2 * time.Second
)

// upgrade has the init start the supervisor from another binary, and waits until
// one answers again.
func upgrade(ctx context.Context, w io.Writer, path string, check bool, format string) error {
	c, err := connect()
	if err != nil {
		return err
	}
	if path != "" {
		if path, err = filepath.Abs(path); err != nil {
			return fmt.Errorf("cannot upgrade: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeTime)
	defer cancel()
	before, err := c.Versions(ctx)
	if err != nil {
		return upgradeRefused(err)
	}
	if check {
		v, err := c.Upgrade(ctx, path, true)
		if err != nil {
			return upgradeRefused(err)
		}
		return printVersions(w, v, format)
	}
	now, err := swap(ctx, c, before, path)
	if err != nil {
		return err
	}
	if now.Fallback != nil {
		return &hintError{fmt.Errorf("cannot upgrade to %s: it %s; %s supervises again, and the services run on", now.Fallback.Version, now.Fallback.Reason,
			now.Supervisor.Version), "stoker's own log says more", codeFailed}
	}
	if format == "json" {
		return printJSON(w, now)
	}
	_, err = fmt.Fprintf(w, "stoker %s supervises now (it was %s); the services run on.\n"+
		"If it ends twice within its first minute, %s takes over again.\n", now.Supervisor.Version, before.Supervisor.Version, before.Supervisor.Version)
	return err
}

// upgradeRefused says what was refused. A supervisor that does not know the way
// is one of the first.
func upgradeRefused(err error) error {
	var refused *api.RefusedError
	if errors.As(err, &refused) && refused.Code == "not-found" {
		return &hintError{errors.New("cannot upgrade: the running supervisor cannot do that yet"), "restart the container with the new image", codeFailed}
	}
	if errors.As(err, &refused) && !strings.HasPrefix(refused.Message, "cannot ") {
		return fmt.Errorf("cannot upgrade: %w", err)
	}
	return err
}

// swap asks for the upgrade and waits until a supervisor answers that was started
// after it. One that dies before it has passed the binary on is followed by one
// of the same, which is asked again.
func swap(ctx context.Context, c *api.Client, before api.Versions, path string) (api.Versions, error) {
	for {
		v, err := c.Upgrade(ctx, path, false)
		if err != nil && !errors.Is(err, api.ErrNoSocket) {
			return v, upgradeRefused(err)
		}
		now, done, err := awaitSupervisor(ctx, c, before, v.Candidate)
		if done || err != nil {
			return now, err
		}
		before = now
	}
}

// awaitSupervisor waits for another supervisor than the one before; done says that
// the binary was swapped since.
func awaitSupervisor(ctx context.Context, c *api.Client, before api.Versions, want *api.Program) (v api.Versions, done bool, err error) {
	for {
		v, err := c.Versions(ctx)
		var refused *api.RefusedError
		switch {
		case err == nil && (v.Upgrades > before.Upgrades || v.Supervisor.Pid != before.Supervisor.Pid):
			return v, v.Upgrades > before.Upgrades, nil
		case errors.As(err, &refused) && refused.Code == "not-found" && want != nil: // an older one, which cannot say more
			return api.Versions{Supervisor: *want}, true, nil
		}
		select {
		case <-ctx.Done():
			return v, false, &hintError{fmt.Errorf("cannot say what became of the upgrade: no other supervisor answered within %v", upgradeTime),
				"the services run on; stoker's own log says more", codeFailed}
		case <-time.After(upgradeLook):
		}
	}
}

// showVersion prints the version of this binary and, where a stoker answers that
// knows, of what runs.
func showVersion(ctx context.Context, w io.Writer, format string) error {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	var running *api.Versions
	if c, err := connect(); err == nil {
		if v, err := c.Versions(ctx); err == nil {
			running = &v
		}
	}
	return printVersion(w, format, running)
}

// printVersion prints the version.
func printVersion(w io.Writer, format string, running *api.Versions) error {
	if format == "json" {
		return printJSON(w, struct {
			Version  string        `json:"version"`
			Protocol int           `json:"protocol"`
			Running  *api.Versions `json:"running,omitempty"`
		}{version, proc.Protocol, running})
	}
	if _, err := fmt.Fprintln(w, "stoker", version); err != nil || running == nil {
		return err
	}
	return printVersions(w, *running, format)
}

// printVersions says what runs, and what was checked.
func printVersions(w io.Writer, v api.Versions, format string) error {
	if format == "json" {
		return printJSON(w, v)
	}
	line := func(what string, p api.Program) {
		fmt.Fprintf(w, "%-12s%s, protocol %d", what+":", p.Version, p.Protocol)
		if p.Pid != 0 {
			fmt.Fprintf(w, ", pid %d", p.Pid)
		}
		if p.Path != "" {
			fmt.Fprintf(w, ", from %s", p.Path)
		}
		fmt.Fprintln(w)
	}
	line("supervisor", v.Supervisor)
	line("init", v.Init)
	if v.Fallback != nil {
		fmt.Fprintf(w, "the latest upgrade was undone: %s %s\n", v.Fallback.Version, v.Fallback.Reason)
	}
	if v.Candidate != nil {
		line("candidate", *v.Candidate)
	}
	return nil
}
