package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/daemon"
)

//go:embed all:plugintemplate
var templateFiles embed.FS

// pluginValidate checks a plugin's folder, without a stoker that runs.
func pluginValidate(w io.Writer, args []string) error {
	if len(args) != 1 {
		return &hintError{errors.New("cannot validate: name the folder of one plugin"), "", codeUsage}
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return fmt.Errorf("cannot validate %s: %w", args[0], err)
	}
	reader := daemon.PluginReader()
	reader.CheckOwners = false // whose files they are is a matter of where they are put
	f := reader.Read(dir)
	f.Check()
	for _, note := range f.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	if len(f.Problems) > 0 {
		return &hintError{fmt.Errorf("cannot use the plugin in %s:\n%s", args[0], strings.Join(f.Problems, "\n")), "", codeConfig}
	}
	_, err = fmt.Fprintf(w, "%s %s: nothing is wrong\n", f.Manifest.Name, f.Manifest.Version)
	return err
}

// pluginInit writes a plugin to begin with. Nothing that is there is touched.
func pluginInit(w io.Writer, args []string, around string) error {
	if len(args) != 1 {
		return &hintError{errors.New("cannot begin a plugin: give it one name"), "stoker plugin init NAME [--dir DIR]", codeUsage}
	}
	name := args[0]
	if !plugin.ValidName(name) {
		return &hintError{fmt.Errorf("cannot begin the plugin %q: that is no name", name), "a name has small letters, digits, _ . and -", codeUsage}
	}
	dir := filepath.Join(around, name)
	if err := os.MkdirAll(around, 0o755); err != nil {
		return fmt.Errorf("cannot begin the plugin: %w", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("cannot begin the plugin: %w", err)
	}
	const top = "plugintemplate"
	err := fs.WalkDir(templateFiles, top, func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, strings.TrimPrefix(path, top))
		if err != nil || path == top {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		data, err := templateFiles.ReadFile(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		return os.WriteFile(to, []byte(strings.ReplaceAll(string(data), "PLUGIN-NAME", name)), mode)
	})
	if err != nil {
		return fmt.Errorf("cannot begin the plugin: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s is a plugin now; stoker plugin validate %s looks whether it is one still\n", dir, dir)
	return err
}
