package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/daemon"
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
	_, notes, err := daemon.ReadHooks(loaded.Config, loaded.Origins)
	if err != nil { // they may be somewhere else
		fmt.Fprintln(w, "warning:", err)
	}
	for _, note := range notes {
		fmt.Fprintln(w, "warning:", note)
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
	width := widthOf(w)
	if !origin || width == 0 {
		return loaded.Show(forPrograms(w), origin)
	}
	var b strings.Builder
	if err := loaded.Show(&b, origin); err != nil {
		return err
	}
	_, err = io.WriteString(w, originsAbove(b.String(), width))
	return err
}

// originsAbove puts the comment of a line that is longer than the terminal above it.
func originsAbove(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		k := strings.LastIndex(line, " # ")
		if k >= 0 && utf8.RuneCountInString(line) > width+1 { // with its end
			indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
			b.WriteString(indent + line[k+1:])
			line = line[:k] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}
