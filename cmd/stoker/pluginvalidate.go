package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// pluginValidateCommand is `stoker plugin validate`.
func pluginValidateCommand() *cli.Command {
	return &cli.Command{Name: "validate", Usage: "find problems in the folder of a plugin; no stoker has to run", ArgsUsage: "DIR",
		UsageText: "stoker plugin validate ./my-plugin",
		Action:    func(c *cli.Context) error { return validatePlugin(c.App.Writer, c.Args().First()) }}
}

// validatePlugin checks the folder of a plugin, except the owners of its files: they
// depend on where it is installed.
func validatePlugin(w io.Writer, path string) error {
	dir, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("cannot validate %s: %w", path, err)
	}
	reader := daemon.PluginReader()
	reader.CheckOwners = false
	f := reader.Read(dir)
	f.Check()
	for _, note := range f.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	if len(f.Problems) > 0 {
		return &exit.Error{Err: fmt.Errorf("cannot use the plugin in %s:\n%s", path, strings.Join(f.Problems, "\n")), Code: exit.BadConfig}
	}
	_, err = fmt.Fprintf(w, "%s %s is valid\n", f.Manifest.Name, f.Manifest.Version)
	return err
}
