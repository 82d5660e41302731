package main

import (
	"fmt"
	"io"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/urfave/cli/v2"
)

// jvmCommand is `stoker jvm`.
func jvmCommand() *cli.Command {
	return &cli.Command{Name: "jvm", Usage: "explain the options of a JVM, try them, check them; look into a running JVM",
		Category: categoryJava, UsageText: "stoker jvm explain tomcat\nstoker jvm threads",
		Subcommands: append(jvmToolCommands(), jvmRenderCommand(), jvmCheckCommand(), jvmExplainCommand())}
}

// javaVersionFlag is for the commands that need no running JVM.
func javaVersionFlag() cli.Flag {
	return &cli.StringFlag{Name: "java-version",
		Usage: "for a JVM of `VERSION`, such as 17 or 1.8.0_412; without it the installed java is asked"}
}

func jvmExplainCommand() *cli.Command {
	return &cli.Command{Name: "explain", Usage: "each option with its layer, source and reason; the memory budget; the limits",
		ArgsUsage: "[SERVICE]", UsageText: "stoker jvm explain tomcat", Flags: []cli.Flag{tableOrJSON()}, Action: withClient(explainJVM)}
}

// explainJVM prints what was rendered for the latest start of a service.
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
