package plugin

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// ManifestName is the file that makes a folder a plugin.
const ManifestName = "plugin.yaml"

// Manifest is what a plugin says of itself.
type Manifest struct {
	// Name is that of its folder, too.
	Name        string `yaml:"name"`
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
	// Requires says with what it works.
	Requires Requires `yaml:"requires"`
	// Required says that services must not start without it; nil: if it has options of
	// the layer enforced.
	Required *bool `yaml:"required"`
	// Enabled false leaves it off until somebody switches it on (default true).
	Enabled *bool `yaml:"enabled"`
	// When says in which containers it counts.
	When jvm.When `yaml:"when"`
	// Params are what may be set, by name.
	Params map[string]Param `yaml:"params"`
	JVM    ManifestJVM      `yaml:"jvm"`
	// Hooks are lists as those of the configuration; those with File give settings
	// to files of the folder's hooks/EVENT.d.
	Hooks hooks.ByEvent `yaml:"hooks"`
	// Actions are what an operator may have done, by name.
	Actions map[string]Action `yaml:"actions"`
}

// Requires is what a plugin needs.
type Requires struct {
	// Stoker is a condition on stoker's version: ">=0.5", ">0.5", "=0.5.1"; several
	// with commas.
	Stoker string `yaml:"stoker"`
}

// ManifestJVM is about the option files of a plugin.
type ManifestJVM struct {
	// Layer is that of files in jvm.d whose first line names none (default default).
	Layer string `yaml:"layer" check:"oneof default user enforced"`
}

// What Action.Service may be.
const (
	ActionOfMain = "main" // it is about the main service, which must have a process
	ActionOfNone = "none"
)

// Action is something that an operator may have done.
type Action struct {
	// Command is an argument list. It is never given to a shell.
	Command []string `yaml:"command"`
	// Timeout is until TERM to its group, and KILL (default 60s).
	Timeout time.Duration `yaml:"timeout" default:"60s" check:"positive"`
	// RunAs is the user, as that of a service (default stoker's own).
	RunAs string `yaml:"run_as"`
	// Service is ActionOfNone (default) or ActionOfMain.
	Service     string `yaml:"service" default:"none" check:"oneof main none"`
	Description string `yaml:"description"`
}

// PluginName says whether a word may be the name of a plugin.
func ValidName(name string) bool {
	return regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`).MatchString(name)
}

// ParamName says whether a word may be the name of a parameter, which is also the
// end of a variable's.
func ValidParamName(name string) bool {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`).MatchString(name)
}

// ActionName says whether a word may be the name of an action.
func ValidActionName(name string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`).MatchString(name)
}

// RefFaults says what is wrong with the references of a manifest; the keys are
// dotted paths.
func (m *Manifest) CheckReferences() []Problem {
	var out []Problem
	check := func(path, text string, use usage) {
		if err := checkText(text, m.Params, use); err != nil {
			out = append(out, Problem{Key: path, Message: err.Error()})
		}
	}
	list := func(path string, texts []string) {
		for k, text := range texts {
			check(fmt.Sprintf("%s[%d]", path, k), text, inArgument)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		check("params."+name+".default", deref(m.Params[name].Default), inDefault)
	}
	for _, event := range lifecycle.Events() {
		for k, h := range m.Hooks.Of(event) {
			path := fmt.Sprintf("hooks.%s[%d]", event, k)
			list(path+".command", h.Command)
			check(path+".url", h.URL, inRequest)
			check(path+".body", h.Body, inRequest)
			check(path+".ca_file", h.CAFile, inVariable)
			for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
				check(path+".headers."+name, h.Headers[name], inRequest)
			}
			for _, name := range slices.Sorted(maps.Keys(h.Env)) {
				check(path+".env."+name, h.Env[name], inVariable)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Actions)) {
		list("actions."+name+".command", m.Actions[name].Command)
	}
	return out
}
