package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/urfave/cli/v2"
)

// connect returns a client of the stoker that the flags or the environment of a command name, or that runs here. c may be nil.
func connect(c *cli.Context) (*api.Client, error) {
	if to := remoteOf(c); to.URL != "" {
		return api.NewRemoteClient(to)
	}
	configured := ""
	if loaded, err := config.Load(config.Options{Environ: os.Environ()}); err == nil {
		configured = loaded.Config.API.Socket
	}
	client, err := api.Find(configured, os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("cannot reach stoker: %w", err)
	}
	return client, nil
}

// withClient makes the Action of a command that asks the running stoker.
func withClient(run func(*cli.Context, *api.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		client, err := connect(c)
		if err != nil {
			return err
		}
		return run(c, client)
	}
}

// answer makes the Action of a command that prints one answer of the running stoker.
func answer[T any](what string, request func(*api.Client, context.Context) (T, error), text func(v T, width int) string) cli.ActionFunc {
	return withClient(func(c *cli.Context, client *api.Client) error {
		v, err := request(client, c.Context)
		if err != nil {
			return fmt.Errorf("cannot %s: %w", what, err)
		}
		return show(c, v, func(width int) string { return text(v, width) })
	})
}

func services(ctx context.Context, c *api.Client) ([]supervisor.Snapshot, error) {
	st, err := retry(ctx, func() (api.Status, error) { return c.Status(ctx) })
	if err != nil {
		return nil, fmt.Errorf("cannot list the services: %w", err)
	}
	return st.Services, nil
}

// serviceOrMain returns name, or if it is empty the main service, or the only one.
func serviceOrMain(ctx context.Context, c *api.Client, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	all, err := services(ctx, c)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		if s.Main || len(all) == 1 {
			return s.Name, nil
		}
	}
	return "", exit.UsageError("name one; stoker status lists them", "cannot choose a service: there is no main service")
}

// selectServices returns the services that are named, each once; "all" names all. An
// unknown name is an error that says what was to be done with it.
func selectServices(all []supervisor.Snapshot, verb string, names []string) (out []string, err error) {
	known := serviceList(all)
	for _, name := range names {
		selected := []string{name}
		if name == config.AllServices {
			selected = known
		} else if !slices.Contains(known, name) {
			return nil, &exit.Error{Err: fmt.Errorf("cannot %s %q: there is no such service", verb, name),
				Hint: suggest.Hint(name, known), Code: exit.NotFound}
		}
		for _, s := range selected {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// How long a command, and one that follows a stream, waits for a restarted supervisor, and the
// time between two attempts to reach it.
const (
	retryTime  = 3 * time.Second
	followTime = 10 * time.Second
	retryPause = 50 * time.Millisecond
)

func serviceList(all []supervisor.Snapshot) []string {
	return each(all, func(s supervisor.Snapshot) string { return s.Name })
}

// retry repeats a request while no supervisor answers: the init restarts one that died.
func retry[T any](ctx context.Context, request func() (T, error)) (T, error) {
	for until := time.Now().Add(retryTime); ; {
		v, err := request()
		if !errors.Is(err, api.ErrNoSocket) || time.Now().After(until) || ctx.Err() != nil {
			return v, err
		}
		<-time.After(retryPause)
	}
}

var errPrint = errors.New("cannot print it")

// readStream reads a stream of the API to its end. With follow it survives a restart of
// the supervisor: read is called again, and goes on where it was.
func readStream(ctx context.Context, at *api.Following, what string, read func() error) error {
	var lost time.Time // when the supervisor was last there
	for {
		err := read()
		var refused *api.StatusError
		if !at.Follow || errors.As(err, &refused) || errors.Is(err, os.ErrClosed) || errors.Is(err, errPrint) {
			if err != nil {
				err = fmt.Errorf("cannot show %s: %w", what, err)
			}
			return err
		}
		if !errors.Is(err, api.ErrNoSocket) || lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > followTime {
			return fmt.Errorf("cannot follow %s any more: %w", what, api.ErrNoSocket)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
