package main

import (
	"fmt"
	"io"
	"os"

	"github.com/stoker-init/stoker/internal/config"
)

// configCheck reports every problem of the configuration.
func configCheck(w io.Writer, file string, set []string) error {
	loaded, err := config.Load(config.Options{File: file, Set: set, Environ: os.Environ()})
	if loaded != nil {
		for _, warning := range loaded.Warnings {
			fmt.Fprintln(w, "warning:", warning)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	switch len(loaded.Files) {
	case 0:
		fmt.Fprintln(w, "no configuration file; the defaults are fine")
	default:
		for _, f := range loaded.Files {
			fmt.Fprintln(w, f, "is fine")
		}
	}
	return nil
}

// configShow prints the configuration after all layers are merged.
func configShow(w io.Writer, file string, set []string, origin bool) error {
	loaded, err := config.Load(config.Options{File: file, Set: set, Environ: os.Environ()})
	if err != nil {
		return fmt.Errorf("cannot accept the configuration:\n%w", err)
	}
	return loaded.Show(w, origin)
}
