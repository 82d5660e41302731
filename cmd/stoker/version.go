package main

import (
	"context"
	"fmt"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/urfave/cli/v2"
)

// versionTime bounds how long the version of the running stoker is waited for.
const versionTime = 2 * time.Second

func versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "print the version, and what runs here", Category: categoryStoker,
		UsageText: "stoker version -o json", Flags: []cli.Flag{tableOrJSON()}, Action: showVersion}
}

func showVersion(c *cli.Context) error {
	ctx, cancel := context.WithTimeout(c.Context, versionTime)
	defer cancel()
	var running *api.Versions
	if client, err := connect(c); err == nil {
		if v, err := client.Versions(ctx); err == nil {
			running = &v
		}
	}
	here := struct {
		Version  string        `json:"version"`
		Protocol int           `json:"protocol"`
		Running  *api.Versions `json:"running,omitempty"`
	}{version, initproto.Version, running}
	return show(c, here, func(int) string {
		text := "stoker " + version + "\n"
		if running != nil {
			text += versionsText(*running)
		}
		return text
	})
}

func versionsText(v api.Versions) string {
	line := func(name string, p api.Program) string {
		text := fmt.Sprintf("%-12s%s, protocol %d", name+":", p.Version, p.Protocol)
		if p.Pid != 0 {
			text += fmt.Sprintf(", pid %d", p.Pid)
		}
		return text + optional(", from ", p.Path, "") + "\n"
	}
	text := line("supervisor", v.Supervisor) + line("init", v.Init)
	if v.Fallback != nil {
		text += fmt.Sprintf("the latest upgrade was undone: %s %s\n", v.Fallback.Version, v.Fallback.Reason)
	}
	if v.Candidate != nil {
		text += line("candidate", *v.Candidate)
	}
	return text
}
