package main

import (
	"os"
	"slices"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/urfave/cli/v2"
)

// The categories of the commands. The help lists the commands in the order of newApp.
const (
	categoryServices   = "Services"
	categoryJobs       = "Jobs"
	categoryHistory    = "What happened and why"
	categoryJava       = "Java"
	categoryExtensions = "Configuration and extensions"
	categoryStoker     = "stoker itself"
)

// newApp returns the whole command line; run is the Action of `stoker run`.
func newApp(run func(daemon.Options) error) *cmdline.Program {
	var p *cmdline.Program
	program := func() *cmdline.Program { return p } // for commands that are about all commands
	p = cmdline.New(&cli.App{
		Name:    "stoker",
		Version: version,
		Usage:   "the first process of a Java container",
		Description: `Commands ask the stoker that runs in the same container, by its unix socket:
STOKER_SOCKET, or else api.socket of the configuration, or
/run/stoker/stoker.sock and what docs/reference/api.md names. STOKER_CONFIG
names another configuration file. With --url, or STOKER_URL, most commands ask
another stoker; "stoker exec --help" has the flags and variables for that.`,
		UsageText: "stoker status\nstoker logs tomcat -n 50 -f\nstoker jvm explain",
		Writer:    display.New(os.Stdout),
		Commands: slices.Concat([]*cli.Command{runCommand(run), reachable(statusCommand()), reachable(healthCommand())}, changeCommands(),
			[]*cli.Command{
				reachable(signalCommand()),
				reachable(logsCommand()),
				reachable(execCommand()),
				reachable(consoleCommand()),
				reachable(sessionsCommand()),
				jobCommand(),
				agentCommand(),
				reachable(eventsCommand()),
				reachable(incidentsCommand()),
				limitsCommand(),
				reachable(jvmCommand(run)),
				jacocoCommand(),
				netinitCommand(),
				configCommand(),
				reachable(reloadCommand()),
				reachable(hookCommand()),
				reachable(pluginCommand()),
				reachable(upgradeCommand()),
				reachable(versionCommand()),
				completionCommand(),
				completeCommand(program),
				manCommand(program),
			}),
	})
	p.Placeholders, p.Commands, p.Flags = placeholders, foreignCommands, foreignFlags
	return p
}

// foreignCommands are the commands of docker, kubectl, systemctl, supervisorctl and
// the JDK by ours.
var foreignCommands = map[string]string{
	"status": "ps ls list services pid get describe inspect top stats", "logs": "log tail journal journalctl output", "signal": "kill",
	"start": "up", "stop": "down shutdown", "reload": "update reread daemon-reload", "config check": "validate configtest test",
	"jvm threads": "jstack", "jvm histo": "histogram jmap", "jvm heapdump": "dump heap-dump", "jvm flags": "jinfo",
	"sessions list": "who w", "sessions replay": "play asciinema scriptreplay",
}

// foreignFlags are the flags of other tools by ours.
var foreignFlags = map[string]string{
	"-o json": "json j format", "-n": "tail num lines last limit", "--config": "file f configuration", "-f": "watch w", "--set": "env e",
}
