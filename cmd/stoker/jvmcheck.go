package main

import (
	"fmt"
	"strings"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/urfave/cli/v2"
)

// jvmCheckCommand is `stoker jvm check`.
func jvmCheckCommand() *cli.Command {
	return &cli.Command{Name: "check", Usage: "find problems in option files of the user layer, each by itself", ArgsUsage: "FILE...",
		UsageText: "stoker jvm check --java-version 21 jvm.options",
		Flags:     []cli.Flag{javaVersionFlag(), tableOrJSON()}, Action: checkJVMFiles}
}

// checkedFile holds the problems of a file.
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
