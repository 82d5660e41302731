package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
)

// healthTime bounds one health check. The container runtime that runs it has a limit
// of its own.
const healthTime = 5 * time.Second

// health says whether the container, or one service, is ready. It runs every few
// seconds for as long as a container lives: the configuration is read only where the
// socket is not in its place.
func health(ctx context.Context, w io.Writer, name string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	c, err := connectQuickly()
	if err != nil {
		return err
	}
	if err := checkReady(ctx, c, name); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "ready")
	return err
}

// connectQuickly is connect without reading the configuration, if that is enough.
func connectQuickly() (*api.Client, error) {
	if c, err := api.Find("", os.Getenv); err == nil {
		return c, nil
	}
	return connect()
}

// checkReady is an error that says why the container, or one service, is not ready.
func checkReady(ctx context.Context, c *api.Client, name string) error {
	is, err := persist(ctx, func() (api.Readiness, error) { return c.Ready(ctx, name) })
	switch {
	case err != nil && name != "":
		return fmt.Errorf("cannot ask for the health of %q: %w", name, err)
	case err != nil:
		return fmt.Errorf("cannot ask for the health: %w", err)
	case is.Ready:
		return nil
	}
	why := is.Waiting
	if st, err := c.Status(ctx); err == nil { // not everybody may ask for the reasons
		for k, line := range why {
			for _, s := range st.Services {
				if strings.HasPrefix(line, s.Name+" is ") && s.Reason != "" {
					reason, _, _ := strings.Cut(s.Reason, "\n")
					why[k] = line + ": " + reason
				}
			}
		}
	}
	return errors.New("not ready: " + strings.Join(why, "; "))
}
