package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

//go:embed all:plugintemplate
var pluginTemplate embed.FS

// pluginInitCommand is `stoker plugin init`.
func pluginInitCommand() *cli.Command {
	return &cli.Command{Name: "init", Usage: "write a plugin to begin with", ArgsUsage: "NAME",
		UsageText: "stoker plugin init my-plugin --dir plugins", Action: initPlugin,
		Flags: []cli.Flag{&cli.StringFlag{Name: "dir", Value: ".", Usage: "make its folder in `DIR`"}}}
}

// initPlugin writes a plugin to begin with into a new folder.
func initPlugin(c *cli.Context) error {
	name, parent := c.Args().First(), c.String("dir")
	if !plugin.ValidName(name) {
		return exit.UsageError("a name has small letters, digits, _ . and -", "cannot make the plugin %q: that is no name", name)
	}
	dir := filepath.Join(parent, name)
	err := os.MkdirAll(parent, 0o755)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if err == nil {
		err = copyTemplate(dir, name)
	}
	if err != nil {
		return fmt.Errorf("cannot make the plugin: %w", err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s is a plugin now; stoker plugin validate %s checks it after a change\n", dir, dir)
	return err
}

// copyTemplate writes the files of the template with the name of the plugin.
func copyTemplate(dir, name string) error {
	const top = "plugintemplate"
	return fs.WalkDir(pluginTemplate, top, func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, strings.TrimPrefix(path, top))
		if err != nil || path == top {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		data, err := pluginTemplate.ReadFile(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		return os.WriteFile(to, []byte(strings.ReplaceAll(string(data), "PLUGIN-NAME", name)), mode)
	})
}
