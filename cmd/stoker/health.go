package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/urfave/cli/v2"
)

// healthTime bounds one health check. The container runtime has a limit of its own.
const healthTime = 5 * time.Second

func healthCommand() *cli.Command {
	return &cli.Command{Name: "health", Usage: "check whether the container, or a service, is ready: for HEALTHCHECK and probes",
		ArgsUsage: "[SERVICE]", Category: categoryServices, UsageText: "stoker health\nstoker health tomcat",
		Description: `Ends with 0 if every service is in its wanted state, as GET /v1/ready says; with
SERVICE if that one is RUNNING and healthy. Else with 1 and one line why; with
69 if no stoker answers. docs/howto/containers.md has HEALTHCHECK and probes for
Kubernetes.`,
		Action: checkHealth}
}

// checkHealth fails unless the container, or one service, is ready. It runs every few
// seconds, so it reads the configuration only if no default socket answers.
func checkHealth(c *cli.Context) error {
	ctx, cancel := context.WithTimeout(c.Context, healthTime)
	defer cancel()
	client, err := api.Find("", os.Getenv)
	if err != nil || remoteOf(c).URL != "" {
		client, err = connect(c)
	}
	if err != nil {
		return err
	}
	if err := checkReady(ctx, client, c.Args().First()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, "ready")
	return err
}

// checkReady returns an error with the reason if the container, or one service, is not
// ready.
func checkReady(ctx context.Context, client *api.Client, service string) error {
	state, err := retry(ctx, func() (api.Readiness, error) { return client.Ready(ctx, service) })
	switch {
	case err != nil && service != "":
		return fmt.Errorf("cannot check the health of %q: %w", service, err)
	case err != nil:
		return fmt.Errorf("cannot check the health: %w", err)
	case state.Ready:
		return nil
	}
	reasons := state.Waiting
	if st, err := client.Status(ctx); err == nil { // only viewers may see the reasons
		for k, line := range reasons {
			for _, s := range st.Services {
				if strings.HasPrefix(line, s.Name+" is ") && s.Reason != "" {
					reason, _, _ := strings.Cut(s.Reason, "\n")
					reasons[k] = line + ": " + reason
				}
			}
		}
	}
	return errors.New("not ready: " + strings.Join(reasons, "; "))
}
