package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/urfave/cli/v2"
)

// jvmRenderCommand is `stoker jvm render`.
func jvmRenderCommand() *cli.Command {
	return &cli.Command{Name: "render", Usage: "make the options of a JVM from layers, without a container",
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
		Action: renderJVM}
}

// renderJVM prints the options of a JVM that flags describe.
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

// renderFlags renders what the flags describe.
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

// layersOf returns the configuration of --layer.
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
