package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/urfave/cli/v2"
)

// configFlags say which configuration a command reads.
func configFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE` (default: /etc/stoker/stoker.yaml, if it exists)"},
		&cli.StringSliceFlag{Name: "set", Usage: "override one value: `PATH=VALUE`"},
	}
}

func configCommand() *cli.Command {
	const help = `The files, variables and flags are those of this command. The running stoker is
not asked: where it was given --config or --set, give them here too.`
	return &cli.Command{Name: "config", Usage: "check or show the configuration", Description: help,
		Category: categoryExtensions, UsageText: "stoker config check",
		Subcommands: []*cli.Command{
			{Name: "check", Usage: "check every file; all problems at once, with file and line", Description: help,
				UsageText: "stoker config check -c stoker.yaml", Flags: configFlags(), Action: checkConfig},
			{Name: "show", Usage: "print what files, variables and flags make together", Description: help,
				UsageText: "stoker config show --origin", Action: showConfig,
				Flags: append(configFlags(), &cli.BoolFlag{Name: "origin", Usage: "with the file and line, the variable or the flag of each value"})},
		}}
}

// loadConfig reads the configuration that the flags name. Its warnings are there even if
// it has problems.
func loadConfig(c *cli.Context) (*config.Loaded, error) {
	loaded, err := config.Load(config.Options{File: c.String("config"), Set: c.StringSlice("set"), Environ: os.Environ()})
	if err != nil {
		err = fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	return loaded, err
}

func checkConfig(c *cli.Context) error {
	w := c.App.Writer
	warn := func(about any) { fmt.Fprintln(w, "warning:", about) }
	loaded, err := loadConfig(c)
	if loaded != nil {
		for _, warning := range loaded.Warnings {
			warn(warning)
		}
	}
	if err != nil {
		return err
	}
	switch err := access.CheckFiles(loaded.Config.API.Config); {
	case errors.Is(err, fs.ErrNotExist): // the files may be in the container only
		warn(err)
	case err != nil:
		return err
	}
	_, notes, err := daemon.ReadHooks(loaded.Config, loaded.Origins)
	if err != nil { // the files may be in the image only
		warn(err)
	}
	for _, note := range notes {
		warn(note)
	}
	for _, f := range loaded.Files {
		fmt.Fprintln(w, f, "is valid")
	}
	if len(loaded.Files) == 0 {
		fmt.Fprintln(w, "no configuration file; the defaults are valid")
	}
	return nil
}

func showConfig(c *cli.Context) error {
	loaded, err := loadConfig(c)
	if err != nil {
		return err
	}
	return loaded.Show(display.ForPrograms(c.App.Writer), c.Bool("origin"))
}
