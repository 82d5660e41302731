package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// jvmToolCommands look into the JVM of a service.
func jvmToolCommands() []*cli.Command {
	const short, long = 30 * time.Second, 10 * time.Minute
	unreachable := &cli.BoolFlag{Name: "all", Usage: "unreachable objects too, without a full collection before"}
	return []*cli.Command{
		jvmToolCommand(api.ToolThreads, "the threads", "show what every thread does, and which locks it holds", "tomcat", short),
		jvmToolCommand(api.ToolHisto, "the class histogram", "count the objects of each class, after a full collection",
			"tomcat", short, unreachable),
		jvmToolCommand(api.ToolHeapDump, "a heap dump", "write the heap into a file, by default in stoker's state folder",
			"tomcat /tmp/heap.hprof.gz --gz", long, unreachable,
			&cli.BoolFlag{Name: "live", Usage: "live objects only, which takes a full collection (the default)"},
			&cli.BoolFlag{Name: "gz", Usage: "compress it (Java 15 and later)"},
			&cli.BoolFlag{Name: "force", Usage: "write it even if there may not be enough room"}),
		jvmToolCommand(api.ToolFlags, "the JVM flags", "show the flags that do not have their default", "tomcat --all", short,
			&cli.BoolFlag{Name: "all", Usage: "those that have it too"}),
		jvmToolCommand(api.ToolNMT, "the native memory", "show what the JVM has taken from the system, by purpose", "tomcat", short),
	}
}

// jvmToolCommand makes the command of a tool; noun is what it gets.
func jvmToolCommand(tool, noun, usage, example string, timeout time.Duration, flags ...cli.Flag) *cli.Command {
	args := "[SERVICE]"
	if tool == api.ToolHeapDump {
		args += " [FILE]"
	}
	return &cli.Command{Name: tool, Usage: usage, ArgsUsage: args, UsageText: "stoker jvm " + tool + " " + example,
		Description: `The JVM is asked by HotSpot's attach protocol, as jcmd does; no JDK is needed in
the image. It is asked as its own user, and needs no option, unless it has
-XX:+DisableAttachMechanism. The default SERVICE is the main one. A class
histogram and a heap dump stop the JVM while they are made.
docs/reference/jvm.md has more.`,
		Flags:  append(flags, &cli.DurationFlag{Name: "timeout", Value: timeout, Usage: "give the JVM `DURATION` to answer"}),
		Action: withClient(func(c *cli.Context, client *api.Client) error { return runJVMTool(c, client, tool, noun) })}
}

// runJVMTool asks the JVM of a service, and prints its answer.
func runJVMTool(c *cli.Context, client *api.Client, tool, noun string) (err error) {
	want := api.JVMTool{Tool: tool, All: c.Bool("all"), GZ: c.Bool("gz"), Force: c.Bool("force"), Timeout: c.Duration("timeout")}
	switch {
	case c.Bool("live") && want.All:
		return exit.UsageError("--live is the default, --all takes unreachable ones too", "cannot dump both live objects only and all")
	case want.Timeout < 0:
		return exit.UsageError("--timeout is a duration such as 30s", "cannot wait for %v", want.Timeout)
	}
	service, file := c.Args().First(), c.Args().Get(1)
	if service == "" {
		if service, err = mainService(c.Context, client); err != nil {
			return err
		}
	}
	if c.NArg() > 1 {
		if file == "" || strings.HasSuffix(file, "/") {
			return exit.UsageError("name a file that does not exist yet, or none", "cannot write a heap dump to %q", file)
		}
		if want.File, err = filepath.Abs(file); err != nil {
			return fmt.Errorf("cannot make %s an absolute path: %w", file, err)
		}
	}
	text, err := client.JVMTool(c.Context, service, want)
	if err != nil {
		return fmt.Errorf("cannot get %s of %s: %w", noun, service, err)
	}
	defer text.Close()
	if _, err = io.Copy(c.App.Writer, text); err != nil {
		return fmt.Errorf("cannot get all of %s of %s: %w", noun, service, err)
	}
	return nil
}
