package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
)

// renderFlags are the flags of jvm render as they were given; empty: not given.
type renderFlags struct {
	memory, cpus, java string
	layers             []string
	noSizing           bool
	format             string // argv, argfile or json
}

// jvmRender prints the options of a JVM that is described by flags; no stoker is asked.
func jvmRender(w, complaints io.Writer, f renderFlags) error {
	if f.format != "argv" && f.format != "argfile" && f.format != "json" {
		return &hintError{fmt.Errorf("cannot print as %q", f.format), "-o is argv, argfile or json", codeUsage}
	}
	cfg, limits, target, err := f.parse()
	if err != nil {
		if f.format == "json" { // stdout is one document whatever happens
			cause, _, _ := strings.Cut(err.Error(), "\nhint: ")
			_ = printJSON(w, jvm.Result{Errors: []jvm.Problem{{Code: jvm.BadValue, Message: cause}}})
		}
		return err
	}
	result := launch.RenderLayers(cfg, service.EnvironMap(os.Environ()), limits, target, f.noSizing)
	if err := printResult(w, complaints, result, f.format); err != nil {
		return fmt.Errorf("cannot print the options: %w", err)
	}
	if err := result.Err(); err != nil {
		return &hintError{fmt.Errorf("cannot use the JVM options: %w", err), "", codeConfig}
	}
	return nil
}

// parse reads what the flags describe.
func (f renderFlags) parse() (cfg jvm.Config, limits jvm.Limits, target launch.Target, err error) {
	if cfg, err = f.config(); err != nil {
		return cfg, limits, target, err
	}
	if limits, err = f.limits(); err != nil {
		return cfg, limits, target, err
	}
	target, err = launch.TargetOf(f.java)
	return cfg, limits, target, err
}

// printResult writes the result in one of its formats; what is no part of that
// goes to complaints.
func printResult(w, complaints io.Writer, r jvm.Result, format string) error {
	if format == "json" {
		return printJSON(w, r)
	}
	for _, p := range r.Warnings {
		fmt.Fprintf(complaints, "warning: %s: %s\n", p.Code, p.Message)
	}
	if len(r.Errors) > 0 {
		return nil // they become the error of the command
	}
	text := jvm.FormatArgfile(r.Options)
	if format == "argv" {
		text = strings.Join(append(r.Argv(), ""), "\n")
	}
	_, err := io.WriteString(forPrograms(w), text)
	return err
}

// config makes the layers' configuration of --layer.
func (f renderFlags) config() (cfg jvm.Config, err error) {
	layers := map[string]*jvm.LayerConfig{"default": &cfg.Default, "user": &cfg.User, "enforced": &cfg.Enforced}
	for _, given := range f.layers {
		name, file, ok := strings.Cut(given, "=")
		layer := layers[name]
		if !ok || layer == nil || file == "" {
			return cfg, &hintError{fmt.Errorf("cannot use --layer %q", given), "it is default=FILE, user=FILE or enforced=FILE", codeUsage}
		}
		layer.Files = append(layer.Files, jvm.File{File: file})
	}
	return cfg, nil
}

// limits are those of --memory and --cpus, and of this container where one is
// missing.
func (f renderFlags) limits() (l jvm.Limits, err error) {
	if f.memory == "" || f.cpus == "" {
		l, _ = launch.ReadLimits(nil) // its warnings are stoker limits' business
	}
	if f.memory != "" {
		if l.Memory, err = jvm.ParseMemory(f.memory); err != nil {
			return l, &hintError{err, "", codeUsage}
		}
		l.MemorySource, l.Unlimited = "--memory", false
	}
	if f.cpus != "" {
		n, err := strconv.ParseFloat(f.cpus, 64)
		if err != nil || !(n > 0) || n > 1<<16 {
			return l, &hintError{fmt.Errorf("cannot use --cpus %q", f.cpus), "it is a number above 0, such as 1.5", codeUsage}
		}
		l.CPUs, l.CPUSource, l.CPUQuota = int(math.Ceil(n)), "--cpus", nil
		if n != math.Trunc(n) {
			l.CPUQuota = &n
		}
	}
	return l, nil
}

// checkedFile is what jvm check says of one file.
type checkedFile struct {
	File     string        `json:"file"`
	Warnings []jvm.Problem `json:"warnings"`
	Errors   []jvm.Problem `json:"errors"`
}

// jvmCheckFiles looks for problems in option files of the user layer, each by
// itself and without a container: what fits is not asked.
func jvmCheckFiles(w io.Writer, files []string, version, format string) error {
	if len(files) == 0 {
		return &hintError{errors.New("cannot check: no file is named"), "stoker jvm check --java-version 17 FILE...", codeUsage}
	}
	target, err := launch.TargetOf(version)
	if err != nil {
		return err
	}
	checked := []checkedFile{}
	wrong := 0
	for _, file := range files {
		cfg := jvm.Config{User: jvm.LayerConfig{Files: []jvm.File{{File: file}}}}
		r := launch.RenderLayers(cfg, nil, jvm.Limits{}, target, true)
		wrong += len(r.Errors)
		checked = append(checked, checkedFile{file, append([]jvm.Problem{}, r.Warnings...), append([]jvm.Problem{}, r.Errors...)})
	}
	if format == "json" {
		err = printJSON(w, checked)
	} else {
		err = printChecked(w, checked, widthOf(w))
	}
	if err == nil && wrong > 0 {
		err = &hintError{fmt.Errorf("cannot use %d of the options", wrong), "", codeConfig}
	}
	return err
}

// printChecked is for people.
func printChecked(w io.Writer, checked []checkedFile, width int) error {
	var b strings.Builder
	for _, c := range checked {
		for _, p := range c.Warnings {
			fmt.Fprintf(&b, "warning  %s: %s\n", p.Code, p.Message)
		}
		for _, p := range c.Errors {
			fmt.Fprintf(&b, "error    %s: %s\n", p.Code, p.Message)
		}
		if len(c.Warnings)+len(c.Errors) == 0 {
			fmt.Fprintf(&b, "%s: nothing is wrong\n", c.File)
		}
	}
	_, err := io.WriteString(w, layout.Wrap(b.String(), width, "  "))
	return err
}
