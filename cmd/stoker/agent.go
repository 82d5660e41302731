package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/agent"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

func agentCommand() *cli.Command {
	dir := &cli.StringFlag{Name: "dir", Value: "/run/stoker-containers",
		Usage: "the containers' sockets are `DIR`/NAME/" + agent.SocketName + ", where NAME is the container"}
	return &cli.Command{Name: "agent", Usage: "on the host: place jobs on many containers, see and restart their services",
		Category: categoryJobs, UsageText: "stoker agent run",
		Description: `Runs on the host, not in a container. "stoker job" works with the agent as with
one container: set STOKER_SOCKET to the socket of the agent.`,
		Subcommands: []*cli.Command{
			{Name: "run", Usage: "answer for all containers at one socket, until TERM", UsageText: "stoker agent run --dir /run/stoker-containers",
				Description: `A job goes to a container with the same label ` + agent.AppLabel + ` as its own, or
without one if it has none itself. The agent keeps nothing, so it may be killed
at any time.`,
				Flags:  []cli.Flag{dir, &cli.StringFlag{Name: "listen", Value: "/run/stoker/agent.sock", Usage: "answer at `PATH`"}},
				Action: runAgent},
			{Name: "ps", Usage: "show the containers: services, labels, limits, jobs", UsageText: "stoker agent ps -o json",
				Flags: []cli.Flag{dir, tableOrJSON()}, Action: showContainers},
			{Name: "restart", Usage: "restart a service in one container after the other, each when the one before is ready", ArgsUsage: "SERVICE",
				UsageText: "stoker agent restart tomcat --label " + agent.AppLabel + "=100001",
				Flags: []cli.Flag{dir,
					&cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "only where the container has `NAME=VALUE`, repeatable"},
					&cli.DurationFlag{Name: "within", Value: 5 * time.Minute, Usage: "end if a container is not ready after `DURATION`"}},
				Action: restartEverywhere},
		}}
}

// openFleet returns the containers of --dir.
func openFleet(c *cli.Context) (*agent.Fleet, error) {
	fleet, err := agent.Open(c.String("dir"))
	if errors.Is(err, os.ErrNotExist) {
		err = &exit.Error{Err: err, Hint: "make it; each container has a folder in it, mounted there as /run/stoker"}
	}
	return fleet, err
}

func runAgent(c *cli.Context) error {
	fleet, err := openFleet(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return fleet.Serve(ctx, c.String("listen"), hclog.New(&hclog.LoggerOptions{Name: "stoker.agent", Output: os.Stderr, Level: hclog.Info}))
}

func showContainers(c *cli.Context) error {
	fleet, err := openFleet(c)
	if err != nil {
		return err
	}
	all, err := fleet.Containers(c.Context)
	if err != nil {
		return err
	}
	return show(c, agent.ContainerList{Containers: all}, func(width int) string { return containersText(all, width) })
}

func containersText(all []agent.Container, width int) string {
	if len(all) == 0 {
		return "There are no containers.\n"
	}
	t := layout.Table{{"CONTAINER", "READY", "SERVICES", "LABELS", "CPUS", "MEMORY", "SLOTS", "RUNNING", "WAITING"}}
	for _, x := range all {
		var services, labels []string
		for _, s := range x.Services {
			services = append(services, s.Name+" "+string(s.State))
		}
		for _, name := range slices.Sorted(maps.Keys(x.Labels)) {
			labels = append(labels, name+"="+x.Labels[name])
		}
		ready, cpus, memory, slots, running, waiting := "no", "", "", "", "", ""
		if x.Ready {
			ready = "yes"
		}
		if x.Limits != nil {
			cpus = strconv.Itoa(x.Limits.EffectiveCPUs)
			if x.Limits.MemoryLimit != nil {
				memory = sizeText(*x.Limits.MemoryLimit)
			}
		}
		if j := x.Executor; j != nil {
			slots, running, waiting = strconv.Itoa(j.Slots), strconv.Itoa(j.Running), strconv.Itoa(j.Waiting)
		}
		if x.Error != "" {
			services = append(services, "error: "+x.Error)
		}
		t.Add(oneLine(x.Name), ready, dash(oneLine(strings.Join(services, ", "))), dash(oneLine(strings.Join(labels, ", "))), dash(cpus),
			dash(memory), dash(slots), dash(running), dash(waiting))
	}
	return layout.Rows(t, width)
}

func restartEverywhere(c *cli.Context) error {
	labels := map[string]string{}
	for _, text := range c.StringSlice("label") {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return exit.UsageError("--label NAME=VALUE", "cannot read the label %q", text)
		}
		labels[name] = value
	}
	fleet, err := openFleet(c)
	if err != nil {
		return err
	}
	failed, err := fleet.Restart(c.Context, c.Args().First(), labels, c.Duration("within"), func(container string, err error) {
		text := "ready again"
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(c.App.Writer, "%s: %s\n", oneLine(container), oneLine(text))
	})
	switch {
	case errors.Is(err, agent.ErrNoService):
		return &exit.Error{Err: err, Hint: "stoker agent ps shows the containers, their services and labels", Code: exit.NotFound}
	case err == nil && failed > 0:
		return fmt.Errorf("cannot restart %s everywhere: %d containers are left", c.Args().First(), failed)
	}
	return err
}
