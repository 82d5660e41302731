package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/urfave/cli/v2"
)

// runApp parses a command line and runs the command.
func runApp(ctx context.Context, args []string) error {
	app := newApp(func(daemon.Options) error {
		return fmt.Errorf("cannot run from here") // main has handled run already
	})
	inv, err := parseArguments(app, args)
	switch {
	case err != nil:
		return err
	case inv.help:
		return printHelp(app.Writer, app, inv)
	}
	return app.RunContext(ctx, inv.args)
}

// parseRun parses the arguments of run. help says that they only asked for it,
// and it was given.
func parseRun(args []string) (opts daemon.Options, help bool, err error) {
	app := newApp(func(o daemon.Options) error {
		opts = o
		return nil
	})
	inv, err := parseArguments(app, append([]string{"stoker", "run"}, args...))
	switch {
	case err != nil:
		return opts, false, err
	case inv.help:
		return opts, true, printHelp(app.Writer, app, inv)
	}
	return opts, false, app.Run(inv.args)
}

// newApp is the whole command line.
func newApp(run func(daemon.Options) error) *cli.App {
	output := outputFlag()
	file := &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE` (default /etc/stoker/stoker.yaml, if it is there)"}
	set := &cli.StringSliceFlag{Name: "set", Usage: "override one value: `PATH=VALUE`"}
	javaVersion := &cli.StringFlag{Name: "java-version",
		Usage: "for a JVM of `VERSION`, such as 17 or 1.8.0_412; the java found here is asked otherwise"}
	app := &cli.App{
		Name:        "stoker",
		Usage:       "the first process of a Java container",
		Description: appHelp,
		UsageText:   examples()[""],
		HideHelp:    true, // printHelp is ours
		HideVersion: true,
		// A comma is a part of many a path and value.
		DisableSliceFlagSeparator: true,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {},
		Writer:                    newDisplay(os.Stdout),
		Flags:                     []cli.Flag{&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"}},
	}
	app.Action = func(c *cli.Context) error {
		if c.Bool("version") {
			_, err := fmt.Fprintln(app.Writer, "stoker", version)
			return err
		}
		return printHelp(app.Writer, app, &invocation{})
	}
	app.Commands = []*cli.Command{
		{Name: "run", Usage: "be the container's init: run the configured services, or CMD", ArgsUsage: "[--] [CMD [ARGS...]]",
			Description: runHelp, Flags: []cli.Flag{file, set,
				&cli.BoolFlag{Name: "with-services", Usage: "with CMD: start the configured services too"},
				&cli.BoolFlag{Name: "force", Usage: "start the services also where a stoker runs some already"}},
			Action: func(c *cli.Context) error {
				return run(daemon.Options{File: c.String("config"), Set: c.StringSlice("set"),
					WithServices: c.Bool("with-services"), Force: c.Bool("force"), Command: c.Args().Slice()})
			}},
		{Name: "status", Usage: "show the services: state, process, what is wrong", ArgsUsage: "[SERVICE]", Flags: []cli.Flag{output,
			&cli.BoolFlag{Name: "check", Usage: "end with 1 if it is not ready, and say why"}},
			Action: func(c *cli.Context) error {
				return upTo(c, 1, func(a []string) error {
					return status(c.Context, app.Writer, optional(a), c.String("output"), c.Bool("check"))
				})
			}},
		{Name: "health", Usage: "say whether the container, or a service, is ready: for HEALTHCHECK and probes",
			ArgsUsage: "[SERVICE]", Description: healthHelp,
			Action: func(c *cli.Context) error {
				return atMost(c, 1, func(a []string) error { return health(c.Context, app.Writer, optional(a)) })
			}},
		serviceVerb("start", "start a service, also one that failed or was stopped, and what it requires", waiting()...),
		serviceVerb("stop", "stop a service and those that require it; returns when every process is gone"),
		serviceVerb("restart", "stop and start a service, and with it those that require it", waiting()...),
		signalCommand(),
		{Name: "reload", Usage: "read the configuration again and apply what has changed", Description: reloadHelp, Flags: waiting(output,
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be done"}),
			Action: func(c *cli.Context) error {
				return upTo(c, 0, func([]string) error {
					return reload(c.Context, app.Writer, c.Bool("dry-run"), c.String("output"), waitFlagsOf(c))
				})
			}},
		{Name: "logs", Usage: "show the output of a service, by default the main one", ArgsUsage: "[SERVICE]", Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as it comes"},
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 100, Usage: "begin with the last `N` lines; with --since alone all of that time"},
			&cli.StringFlag{Name: "since", Usage: "begin with what came at `TIME`, or that long ago: 2026-01-31T12:00:00Z, 10m"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "put the time before each line"}},
			Action: func(c *cli.Context) error {
				return upTo(c, 1, func(a []string) error {
					o := logFlags{follow: c.Bool("follow"), lines: c.Int("lines"), times: c.Bool("timestamps"), since: c.String("since")}
					if o.lines < 0 {
						return &hintError{fmt.Errorf("cannot show %d lines", o.lines), "-n is a number from 0", codeUsage}
					}
					if o.since != "" && !c.IsSet("lines") {
						o.lines = -1
					}
					return showLogs(c.Context, optional(a), o)
				})
			}},
		{Name: "events", Usage: "show what has happened: the stages of services, hooks, plugins, reloads", Flags: []cli.Flag{output,
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as they come"},
			&cli.IntFlag{Name: "last", Aliases: []string{"n"}, Value: 100, Usage: "begin with the last `N`"},
			&cli.StringSliceFlag{Name: "service", Usage: "only those of `SERVICE`, also several times"},
			&cli.StringSliceFlag{Name: "kind", Usage: "only those of `KIND`, such as ready, exited or hook, also several times"}},
			Action: func(c *cli.Context) error {
				return upTo(c, 0, func([]string) error {
					return showEvents(c.Context, app.Writer, eventFlags{follow: c.Bool("follow"), last: c.Int("last"),
						services: c.StringSlice("service"), kinds: c.StringSlice("kind"), format: c.String("output")})
				})
			}},
		{Name: "incidents", Usage: "show why services failed or died: the last ten failures, or one by its NUMBER",
			ArgsUsage: "[NUMBER]", Flags: []cli.Flag{output},
			Action: func(c *cli.Context) error {
				return upTo(c, 1, func(a []string) error {
					if len(a) > 0 {
						return incidentShow(c.Context, app.Writer, a[0], c.String("output"))
					}
					return incidents(c.Context, app.Writer, c.String("output"))
				})
			},
			Subcommands: []*cli.Command{
				{Name: "show", Usage: "show everything that is known of one; the list has its NUMBER", ArgsUsage: "NUMBER", Flags: []cli.Flag{output},
					Action: func(c *cli.Context) error {
						return upTo(c, 1, func(a []string) error {
							return incidentShow(c.Context, app.Writer, optional(a), c.String("output"))
						})
					}}}},
		{Name: "hook", Usage: "show the hooks, run them by hand", Subcommands: []*cli.Command{
			{Name: "list", Usage: "each hook with its event, its source and how it ended last", Flags: []cli.Flag{output}, Action: func(c *cli.Context) error {
				return upTo(c, 0, func([]string) error { return hookList(c.Context, app.Writer, c.String("output")) })
			}},
			{Name: "run", Usage: "run the hooks of an event, or one of them, and tell how they ended", ArgsUsage: "EVENT [HOOK]",
				Flags: []cli.Flag{output, &cli.StringFlag{Name: "service", Aliases: []string{"s"}, Usage: "as if it happened to `SERVICE` (default: the only one)"}},
				Action: func(c *cli.Context) error {
					return upTo(c, 2, func(a []string) error {
						event, name, err := needEvent(a)
						if err != nil {
							return err
						}
						return hookRun(c.Context, app.Writer, event, name, c.String("service"), c.String("output"))
					})
				}}}},
		{Name: "limits", Usage: "show what CPU and memory the container really has, and which file says so", Flags: []cli.Flag{output,
			&cli.StringFlag{Name: "root", Value: "/", Usage: "read proc and sys below `DIR`"}},
			Action: func(c *cli.Context) error {
				return upTo(c, 0, func([]string) error { return limits(app.Writer, c.String("root"), c.String("output")) })
			}},
		{Name: "jvm", Usage: "explain the JVM's options, try them out, check them; look into a JVM that runs", Subcommands: append(jvmToolCommands(), []*cli.Command{
			{Name: "render", Usage: "make the options of a JVM from layers, without a container", Description: renderHelp, Flags: []cli.Flag{
				&cli.StringFlag{Name: "memory", Usage: "what the container has, a `SIZE` such as 4GiB (default: what this one has)"},
				&cli.StringFlag{Name: "cpus", Usage: "what the container has, a `NUMBER` such as 1.5 (default: what this one has)"},
				javaVersion,
				&cli.StringSliceFlag{Name: "layer",
					Usage: "read `LAYER=FILE`, also several times: an option file of the layer default, user or enforced"},
				&cli.BoolFlag{Name: "no-sizing", Usage: "add nothing but unlock flags that are needed"},
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "argv",
					Usage: "print as `FORMAT`: argv (an argument a line), argfile or json"}},
				Action: func(c *cli.Context) error {
					return atMost(c, 0, func([]string) error {
						return jvmRender(app.Writer, newDisplay(os.Stderr), renderFlags{memory: c.String("memory"),
							cpus: c.String("cpus"), java: c.String("java-version"),
							layers: c.StringSlice("layer"), noSizing: c.Bool("no-sizing"), format: c.String("output")})
					})
				}},
			{Name: "check", Usage: "look for problems in option files of the user layer, each by itself", ArgsUsage: "FILE...", Flags: []cli.Flag{javaVersion, output},
				Action: func(c *cli.Context) error {
					return upTo(c, c.NArg(), func(a []string) error {
						return jvmCheckFiles(app.Writer, a, c.String("java-version"), c.String("output"))
					})
				}},
			{Name: "explain", Usage: "each option with its layer, source and reason; the memory budget; the limits", ArgsUsage: "[SERVICE]",
				Flags: []cli.Flag{output}, Action: func(c *cli.Context) error {
					return upTo(c, 1, func(a []string) error { return jvmExplain(c.Context, app.Writer, optional(a), c.String("output")) })
				}}}...)},
		{Name: "jacoco", Usage: "ask a JaCoCo agent for its data, as the plugin jacoco does", Hidden: true, Subcommands: []*cli.Command{
			{Name: "dump", Usage: "write what was covered to a file", Flags: append(jacocoFlagsOf(),
				&cli.BoolFlag{Name: "reset", Usage: "and begin anew; what cannot be written then is lost"},
				&cli.StringFlag{Name: "file", Aliases: []string{"o"}, Usage: "write `FILE`, as a whole or not at all; - is stdout"}),
				Action: func(c *cli.Context) error {
					return atMost(c, 0, func([]string) error {
						return jacocoDump(c.Context, app.Writer, newDisplay(os.Stderr), jacocoFlags{address: c.String("address"),
							timeout: c.Duration("timeout"), reset: c.Bool("reset"), file: c.String("file")})
					})
				}},
			{Name: "reset", Usage: "forget what was covered", Flags: jacocoFlagsOf(), Action: func(c *cli.Context) error {
				return atMost(c, 0, func([]string) error {
					return jacocoReset(c.Context, app.Writer, jacocoFlags{address: c.String("address"), timeout: c.Duration("timeout")})
				})
			}}}},
		{Name: "config", Usage: "check or show the configuration", Description: configHelp, Subcommands: []*cli.Command{
			{Name: "check", Usage: "check every file; all problems at once, with file and line", Description: configHelp, Flags: []cli.Flag{file, set},
				Action: func(c *cli.Context) error {
					return upTo(c, 0, func([]string) error { return configCheck(app.Writer, c.String("config"), c.StringSlice("set")) })
				}},
			{Name: "show", Usage: "print what files, variables and flags make together", Description: configHelp, Flags: []cli.Flag{file, set,
				&cli.BoolFlag{Name: "origin", Usage: "with the file and line, the variable or the flag of each value"}},
				Action: func(c *cli.Context) error {
					return upTo(c, 0, func([]string) error {
						return configShow(app.Writer, c.String("config"), c.StringSlice("set"), c.Bool("origin"))
					})
				}}}},
		pluginCommand(output),
		{Name: "upgrade", Usage: "swap the supervisor's binary under the running services", ArgsUsage: "[PATH]", Description: upgradeHelp,
			Flags: []cli.Flag{output, &cli.BoolFlag{Name: "check", Usage: "only look whether the binary would do"}},
			Action: func(c *cli.Context) error {
				return upTo(c, 1, func(a []string) error {
					return upgrade(c.Context, app.Writer, optional(a), c.Bool("check"), c.String("output"))
				})
			}},
		{Name: "version", Usage: "print the version, and what runs here", Flags: []cli.Flag{output}, Action: func(c *cli.Context) error {
			return upTo(c, 0, func([]string) error { return showVersion(c.Context, app.Writer, c.String("output")) })
		}},
	}
	app.Commands = append(append(app.Commands, completionCommands(app)...), manCommand(app))
	finish(app)
	return app
}

// finish gives every command what all have.
func finish(app *cli.App) {
	help := &cli.BoolFlag{Name: helpWord, Aliases: []string{"h"}, Usage: "explain the command"}
	app.Flags = append(app.Flags, help)
	var each func(commands []*cli.Command, above string)
	each = func(commands []*cli.Command, above string) {
		for _, c := range commands {
			name := strings.TrimSpace(above + " " + c.Name)
			c.OnUsageError, c.HideHelp, c.UsageText = usageError, true, examples()[name]
			c.Flags = append(slices.Clone(c.Flags), help)
			each(c.Subcommands, name)
		}
	}
	each(app.Commands, "")
	for _, c := range app.Commands {
		c.Category = themes()[themeOf(c.Name)].name
	}
	slices.SortStableFunc(app.Commands, func(a, b *cli.Command) int { return themeOf(a.Name) - themeOf(b.Name) })
}

// outputFlag is that of every command which prints a table.
func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "print as `FORMAT`: table or json"}
}

// serviceVerb is start, stop or restart.
func serviceVerb(verb, usage string, flags ...cli.Flag) *cli.Command {
	return &cli.Command{Name: verb, Usage: usage, ArgsUsage: "SERVICE...", Description: allHelp, Flags: flags, Action: func(c *cli.Context) error {
		if c.NArg() == 0 {
			return &hintError{fmt.Errorf("cannot %s: no service is named", verb), "stoker status lists them", codeUsage}
		}
		return serviceCommand(c.Context, c.App.Writer, verb, c.Args().Slice(), waitFlagsOf(c))
	}}
}

// waiting are the flags of commands that can wait for the starts that they lead to.
func waiting(flags ...cli.Flag) []cli.Flag {
	return append(flags, &cli.BoolFlag{Name: "wait", Usage: "wait until each service that is started by it is RUNNING or has failed"},
		&cli.DurationFlag{Name: "timeout", Usage: "with --wait: end with 75 after `DURATION`; the start goes on"})
}

func waitFlagsOf(c *cli.Context) waitFlags { return waitFlags{c.Bool("wait"), c.Duration("timeout")} }

// jvmToolCommands look into the JVM of a service.
func jvmToolCommands() []*cli.Command {
	force := &cli.BoolFlag{Name: "force", Usage: "write it also where there may not be enough room"}
	gz := &cli.BoolFlag{Name: "gz", Usage: "compress it (Java 15 and later)"}
	live := &cli.BoolFlag{Name: "live", Usage: "live objects only, which takes a full collection (the default)"}
	unreachable := &cli.BoolFlag{Name: "all", Usage: "unreachable objects too, without a full collection before"}
	command := func(tool, usage, args string, wait time.Duration, flags ...cli.Flag) *cli.Command {
		return &cli.Command{Name: tool, Usage: usage, ArgsUsage: args, Description: toolHelp,
			Flags: append(flags, &cli.DurationFlag{Name: "timeout", Value: wait, Usage: "give the JVM `DURATION` to answer"}),
			Action: func(c *cli.Context) error {
				return atMost(c, len(strings.Fields(args)), func(a []string) error {
					return jvmTool(c.Context, c.App.Writer, a, toolFlags{api.JVMTool{Tool: tool, All: c.Bool("all"), GZ: c.Bool("gz"),
						Force: c.Bool("force"), Timeout: c.Duration("timeout")}, c.Bool("live")})
				})
			}}
	}
	const look, dump = 30 * time.Second, 10 * time.Minute
	return []*cli.Command{
		command(api.ToolThreads, "show what every thread does, and which locks it holds", "[SERVICE]", look),
		command(api.ToolHisto, "count the objects of each class, after a full collection", "[SERVICE]", look, unreachable),
		command(api.ToolHeapDump, "write the heap into a file, by default in stoker's state folder", "[SERVICE] [FILE]", dump, live, unreachable, gz, force),
		command(api.ToolFlags, "show the flags that do not have their default", "[SERVICE]", look, &cli.BoolFlag{Name: "all", Usage: "those that have it too"}),
		command(api.ToolNMT, "show what the JVM has taken from the system, by purpose", "[SERVICE]", look),
	}
}

// jacocoFlagsOf are the flags of every command to an agent.
func jacocoFlagsOf() []cli.Flag {
	return []cli.Flag{&cli.StringFlag{Name: "address", Value: "127.0.0.1:6300", Usage: "of the agent, `HOST:PORT`"},
		&cli.DurationFlag{Name: "timeout", Value: 10 * time.Second, Usage: "give up after `TIME`"}}
}

// pluginCommand is everything about plugins.
func pluginCommand(output cli.Flag) *cli.Command {
	switchFlag := waiting(output, &cli.StringSliceFlag{Name: "set", Usage: "give a parameter a value: `NAME=VALUE`; NAME alone takes it back"},
		&cli.BoolFlag{Name: "no-restart", Usage: "do not restart services whose JVM options change by it"})
	switching := func(name, usage string, on bool) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "PLUGIN", Flags: switchFlag, Action: func(c *cli.Context) error {
			return upTo(c, 1, func(a []string) error {
				return pluginSwitch(c.Context, c.App.Writer, on, a,
					switchFlags{c.StringSlice("set"), c.Bool("no-restart"), c.String("output"), waitFlagsOf(c)})
			})
		}}
	}
	return &cli.Command{Name: "plugin", Usage: "show, switch and make plugins", Subcommands: []*cli.Command{
		{Name: "list", Usage: "show the plugins and whether they count", Flags: []cli.Flag{output}, Action: func(c *cli.Context) error {
			return upTo(c, 0, func([]string) error { return pluginList(c.Context, c.App.Writer, c.String("output")) })
		}},
		{Name: "show", Usage: "show one with its parameters, JVM options, hooks and actions", ArgsUsage: "PLUGIN", Flags: []cli.Flag{output},
			Action: func(c *cli.Context) error {
				return upTo(c, 1, func(a []string) error { return pluginShow(c.Context, c.App.Writer, a, c.String("output")) })
			}},
		switching("enable", "switch one on; services whose JVM options change are restarted once", true),
		switching("disable", "switch one off; services whose JVM options change are restarted once", false),
		{Name: "run", Usage: "run an action of one; its output and exit code are the command's", ArgsUsage: "PLUGIN ACTION [ARGS...]",
			Flags: []cli.Flag{output},
			Action: func(c *cli.Context) error {
				return upTo(c, c.NArg(), func(a []string) error { return pluginRun(c.Context, c.App.Writer, a, c.String("output")) })
			}},
		{Name: "validate", Usage: "look for problems in a plugin's folder; no stoker has to run", ArgsUsage: "DIR", Action: func(c *cli.Context) error {
			return atMost(c, 1, func(a []string) error { return pluginValidate(c.App.Writer, a) })
		}},
		{Name: "init", Usage: "write a plugin to begin with", ArgsUsage: "NAME", Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: ".", Usage: "make its folder in `DIR`"}}, Action: func(c *cli.Context) error {
			return atMost(c, 1, func(a []string) error { return pluginInit(c.App.Writer, a, c.String("dir")) })
		}}}}
}

// usageError puts the library's words for a wrong value into ours.
func usageError(c *cli.Context, err error, _ bool) error {
	text := strings.NewReplacer("invalid value", "cannot use", " for flag -", " for --").Replace(err.Error())
	for _, f := range c.Command.Flags {
		kind := ""
		switch f.(type) {
		case *cli.IntFlag:
			kind = "a number"
		case *cli.DurationFlag:
			kind = "a duration such as 30s"
		}
		if before, cause, found := strings.Cut(text, " for --"+f.Names()[0]+": "); found && kind != "" {
			text = fmt.Sprintf("%s for --%s: want %s (%s)", before, f.Names()[0], kind, cause)
		}
	}
	return &hintError{errors.New(strings.Replace(text, " (parse error)", "", 1)),
		c.Command.HelpName + " --help explains the flags", codeUsage}
}

// upTo refuses more than n arguments, and formats other than table and json.
func upTo(c *cli.Context, n int, f func([]string) error) error {
	return atMost(c, n, func(args []string) error {
		if f := c.String("output"); f != "" && f != "table" && f != "json" {
			return &hintError{fmt.Errorf("cannot print as %q", f), "-o is table or json", codeUsage}
		}
		return f(args)
	})
}

// atMost refuses more than n arguments.
func atMost(c *cli.Context, n int, f func([]string) error) error {
	if c.NArg() > n {
		return &hintError{fmt.Errorf("cannot use argument %q: %s takes at most %d", c.Args().Get(n), c.Command.HelpName, n),
			c.Command.HelpName + " --help explains the arguments", codeUsage}
	}
	return f(c.Args().Slice())
}

// optional is the first argument, if there is one.
func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// appHelp explains where a command finds what it asks.
const appHelp = `Commands ask the stoker that runs in the same container, by its unix socket:
STOKER_SOCKET, or else api.socket of the configuration, or
/run/stoker/stoker.sock and what docs/reference/api.md names. STOKER_CONFIG names another
configuration file.`

// healthHelp explains health.
const healthHelp = `Ends with 0 if every service is as it is wanted, as GET /v1/ready says; with
SERVICE if that one is RUNNING and well. Else with 1 and one line why; with 69 if
no stoker answers. docs/howto/containers.md has HEALTHCHECK and probes for Kubernetes.`

// runHelp explains run.
const runHelp = `Without CMD the services of the configuration are started; without a
configuration, the Tomcat that is found in the image. With CMD stoker is an init
for that command alone: it passes signals on, waits for orphans, and ends with
the command's exit code (128+n for signal n, 127 not found, 126 not executable).
"run CMD" and "run -- CMD" mean the same, and so do "run" and "run --".`

// renderHelp explains jvm render.
const renderHelp = `A FILE has one argument a line, byte for byte; blanks around it, empty lines and
lines that begin with # are left out. JAVA_TOOL_OPTIONS, JDK_JAVA_OPTIONS,
JAVA_OPTS, CATALINA_OPTS and _JAVA_OPTIONS count as in run: they are part of the
user layer. The result is on stdout, all else on stderr. Options that would be
refused end it with 78; with -o json stdout has the reasons then.`

// toolHelp explains the commands that look into a JVM.
const toolHelp = `The JVM is asked by HotSpot's attach protocol, as jcmd does; no JDK is needed in
the image. It is asked as its own user, and needs no option, if it has not
-XX:+DisableAttachMechanism. The default SERVICE is the main one. A class
histogram and a heap dump stop the JVM while they are made. docs/reference/jvm.md has more.`

// allHelp explains the names of services.
const allHelp = `SERVICE is a name of the configuration, "stoker status" lists them; all means all.
If one of the names is unknown nothing is done.`

// configHelp says whose configuration it is.
const configHelp = `The files, variables and flags are those of this command. The stoker that runs is
not asked: where it was given --config or --set, give them here too.`

// reloadHelp explains reload.
const reloadHelp = `What did not change is not touched. Changed files are seen without this command,
unless reload.watch is false. A configuration with a problem changes nothing.`

// upgradeHelp explains upgrade.
const upgradeHelp = `PATH is a new stoker, by default the file that the running one was started from,
which somebody has replaced. The services are not touched. The init stays what
it is; it returns to the binary before if the new one does not work.`
