package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/urfave/cli/v2"
)

func jvmCommand(run func(daemon.Options) error) *cli.Command {
	return &cli.Command{Name: "jvm", Usage: "explain the options of a JVM, try them, check them; look into a running JVM",
		Category: categoryJava, UsageText: "stoker jvm explain tomcat\nstoker jvm threads",
		Subcommands: append(jvmToolCommands(), []*cli.Command{
			{Name: "render", Usage: "make the options of a JVM from layers, without a container",
				UsageText: "stoker jvm render --memory 2GiB --java-version 17",
				Description: `A FILE has one argument a line, byte for byte; blanks around it, empty lines and
lines that begin with # are left out. JAVA_TOOL_OPTIONS, JDK_JAVA_OPTIONS,
JAVA_OPTS, CATALINA_OPTS and _JAVA_OPTIONS are part of the user layer, as in
run. The result is on stdout, all else on stderr: argv is an argument a line.
Options that would be rejected end it with 78; with -o json stdout has the
reasons then.`,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "memory", Usage: "the memory of the container, a `SIZE` such as 4GiB (default: that of this one)"},
					&cli.StringFlag{Name: "cpus", Usage: "the CPUs of the container, a `NUMBER` such as 1.5 (default: those of this one)"},
					javaVersionFlag(),
					&cli.StringSliceFlag{Name: "layer", Usage: "read `LAYER=FILE`, repeatable: an option file of the layer default, user or enforced"},
					&cli.BoolFlag{Name: "no-sizing", Usage: "add nothing but unlock flags that are needed"},
					cmdline.OutputFlag("argv", "argfile", "json"),
				},
				Action: renderJVM},
			{Name: "check", Usage: "find problems in option files of the user layer, each by itself", ArgsUsage: "FILE...",
				UsageText: "stoker jvm check --java-version 21 jvm.options",
				Flags:     []cli.Flag{javaVersionFlag(), tableOrJSON()}, Action: checkJVMFiles},
			{Name: "explain", Usage: "each option with its layer, source and reason; the memory budget; the limits",
				ArgsUsage: "[SERVICE]", UsageText: "stoker jvm explain tomcat", Flags: []cli.Flag{tableOrJSON()}, Action: withClient(explainJVM)},
			archiveCommand(run)}...)}
}

func javaVersionFlag() cli.Flag {
	return &cli.StringFlag{Name: "java-version",
		Usage: "for a JVM of `VERSION`, such as 17 or 1.8.0_412; without it the installed java is asked"}
}

func explainJVM(c *cli.Context, client *api.Client) error {
	format := map[string]string{"table": "text", "json": "json"}[c.String("output")]
	text, err := client.JVM(c.Context, c.Args().First(), format, display.Width(c.App.Writer))
	if err != nil {
		return fmt.Errorf("cannot explain the JVM's options: %w", err)
	}
	if format == "json" {
		text = string(printable.JSON([]byte(text)))
	}
	_, err = io.WriteString(c.App.Writer, text)
	return err
}

type checkedFile struct {
	File     string        `json:"file"`
	Warnings []jvm.Problem `json:"warnings"`
	Errors   []jvm.Problem `json:"errors"`
}

// checkJVMFiles finds problems in option files without the limits of a container.
func checkJVMFiles(c *cli.Context) error {
	target, err := launch.TargetOf(c.String("java-version"))
	if err != nil {
		return err
	}
	checked := []checkedFile{}
	rejected := 0
	for _, file := range c.Args().Slice() {
		cfg := jvm.Config{User: jvm.LayerConfig{Files: []jvm.File{{File: file}}}}
		r := launch.RenderLayers(cfg, nil, jvm.Limits{}, target, true)
		rejected += len(r.Errors)
		checked = append(checked, checkedFile{file, append([]jvm.Problem{}, r.Warnings...), append([]jvm.Problem{}, r.Errors...)})
	}
	err = show(c, checked, func(width int) string { return layout.Wrap(checkedText(checked), width, "  ") })
	if err == nil && rejected > 0 {
		err = &exit.Error{Err: fmt.Errorf("cannot use %d of the options", rejected), Code: exit.BadConfig}
	}
	return err
}

func checkedText(checked []checkedFile) string {
	var b strings.Builder
	for _, f := range checked {
		for _, p := range f.Warnings {
			fmt.Fprintf(&b, "warning  %s: %s\n", p.Code, p.Message)
		}
		for _, p := range f.Errors {
			fmt.Fprintf(&b, "error    %s: %s\n", p.Code, p.Message)
		}
		if len(f.Warnings)+len(f.Errors) == 0 {
			fmt.Fprintf(&b, "%s: no problems\n", f.File)
		}
	}
	return b.String()
}

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

func runJVMTool(c *cli.Context, client *api.Client, tool, noun string) (err error) {
	want := api.JVMTool{Tool: tool, All: c.Bool("all"), GZ: c.Bool("gz"), Force: c.Bool("force"), Timeout: c.Duration("timeout")}
	switch {
	case c.Bool("live") && want.All:
		return exit.UsageError("--live is the default, --all takes unreachable ones too", "cannot dump both live objects only and all")
	case want.Timeout < 0:
		return exit.UsageError("--timeout is a duration such as 30s", "cannot wait for %v", want.Timeout)
	}
	service, err := serviceOrMain(c.Context, client, c.Args().First())
	if err != nil {
		return err
	}
	file := c.Args().Get(1)
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

func renderJVM(c *cli.Context) error {
	result, err := renderFlags(c)
	if err != nil {
		if asJSON(c) { // stdout is one document in any case
			cause, _, _ := strings.Cut(err.Error(), "\nhint: ")
			_ = printJSON(c.App.Writer, jvm.Result{Errors: []jvm.Problem{{Code: jvm.BadValue, Message: cause}}})
		}
		return err
	}
	if err := printResult(c, result); err != nil {
		return fmt.Errorf("cannot print the options: %w", err)
	}
	if err := result.Err(); err != nil {
		return &exit.Error{Err: fmt.Errorf("cannot use the JVM options: %w", err), Code: exit.BadConfig}
	}
	return nil
}

func renderFlags(c *cli.Context) (r jvm.Result, err error) {
	cfg, err := layersOf(c.StringSlice("layer"))
	if err != nil {
		return r, err
	}
	limits, err := describedLimits(c.String("memory"), c.String("cpus"))
	if err != nil {
		return r, err
	}
	target, err := launch.TargetOf(c.String("java-version"))
	if err != nil {
		return r, err
	}
	return launch.RenderLayers(cfg, service.EnvironMap(os.Environ()), limits, target, c.Bool("no-sizing")), nil
}

// printResult writes the result to stdout and the warnings to stderr. Rejected options
// are the error of the command.
func printResult(c *cli.Context, r jvm.Result) error {
	if asJSON(c) {
		return printJSON(c.App.Writer, r)
	}
	stderr := display.New(os.Stderr)
	for _, p := range r.Warnings {
		fmt.Fprintf(stderr, "warning: %s: %s\n", p.Code, p.Message)
	}
	if len(r.Errors) > 0 {
		return nil
	}
	text := jvm.FormatArgfile(r.Options)
	if c.String("output") == "argv" {
		text = strings.Join(append(r.Argv(), ""), "\n")
	}
	_, err := io.WriteString(display.ForPrograms(c.App.Writer), text)
	return err
}

func layersOf(given []string) (cfg jvm.Config, err error) {
	layers := map[string]*jvm.LayerConfig{"default": &cfg.Default, "user": &cfg.User, "enforced": &cfg.Enforced}
	for _, pair := range given {
		name, file, _ := strings.Cut(pair, "=")
		layer := layers[name]
		if layer == nil || file == "" {
			return cfg, exit.UsageError("it is default=FILE, user=FILE or enforced=FILE", "cannot use --layer %q", pair)
		}
		layer.Files = append(layer.Files, jvm.File{File: file})
	}
	return cfg, nil
}

// describedLimits returns the limits of --memory and --cpus, and those of this container
// in the place of an empty one.
func describedLimits(memory, cpus string) (l jvm.Limits, err error) {
	if memory == "" || cpus == "" {
		l, _ = launch.ReadLimits(nil) // stoker limits prints the warnings
	}
	if memory != "" {
		if l.Memory, err = jvm.ParseMemory(memory); err != nil {
			return l, exit.UsageError("", "%w", err)
		}
		l.MemorySource, l.Unlimited = "--memory", false
	}
	if cpus != "" {
		n, err := strconv.ParseFloat(cpus, 64)
		if err != nil || !(n > 0) || n > 1<<16 {
			return l, exit.UsageError("it is a number above 0, such as 1.5", "cannot use --cpus %q", cpus)
		}
		l.CPUs, l.CPUSource, l.CPUQuota = int(math.Ceil(n)), "--cpus", nil
		if n != math.Trunc(n) {
			l.CPUQuota = &n
		}
	}
	return l, nil
}
