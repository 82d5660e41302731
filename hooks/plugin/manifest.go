package plugin

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// Config is the plugins section of the configuration.
type Config struct {
	// Dir holds the plugins, a folder each (default /etc/stoker/plugins).
	Dir string `yaml:"dir" default:"/etc/stoker/plugins" check:"absolute"`
	// Enabled overrides the manifests, by name.
	Enabled map[string]Override `yaml:"enabled"`
}

// Override overrides the manifest of a plugin.
type Override struct {
	// On false switches it off, true on (default: as its manifest says).
	On *bool `yaml:"on,short"`
	// When is a condition besides the manifest's.
	When jvm.When `yaml:"when"`
	// Set has values of parameters.
	Set map[string]string `yaml:"set"`
}

// ManifestName is the file that makes a folder a plugin.
const ManifestName = "plugin.yaml"

// Manifest describes a plugin.
type Manifest struct {
	// Name is that of its folder.
	Name        string `yaml:"name"`
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
	// Requires is what it needs.
	Requires Requires `yaml:"requires"`
	// Required means that services must not start without it; nil: if it has options of the layer enforced.
	Required *bool `yaml:"required"`
	// Enabled false leaves it off until it is switched on (default true).
	Enabled *bool `yaml:"enabled"`
	// When is the condition for being active.
	When jvm.When `yaml:"when"`
	// Params are its parameters by name.
	Params map[string]Param `yaml:"params"`
	JVM    ManifestJVM      `yaml:"jvm"`
	// Hooks are as those of the configuration; an entry with File has the settings of a file in hooks/EVENT.d.
	Hooks hooks.ByEvent `yaml:"hooks"`
	// Actions are programs for operators, by name.
	Actions map[string]Action `yaml:"actions"`
}

// Requires is what a plugin needs.
type Requires struct {
	// Stoker is a condition on stoker's version: ">=0.5", ">0.5", "=0.5.1"; several with commas.
	Stoker string `yaml:"stoker"`
}

// ManifestJVM is about the option files of a plugin.
type ManifestJVM struct {
	// Layer of the files in jvm.d whose first line has none (default default).
	Layer string `yaml:"layer" check:"oneof default user enforced"`
}

// Values of Action.Service.
const (
	ActionOfMain = "main" // the main service, which must have a process
	ActionOfNone = "none"
)

// Action is a program that an operator may run.
type Action struct {
	// Command is an argument list. It is never given to a shell.
	Command []string `yaml:"command"`
	// Timeout until its group gets TERM, and KILL (default 60s).
	Timeout time.Duration `yaml:"timeout" default:"60s" check:"positive"`
	// RunAs is the user, as that of a service (default stoker's own).
	RunAs string `yaml:"run_as"`
	// Service is ActionOfNone (default) or ActionOfMain.
	Service     string `yaml:"service" default:"none" check:"oneof main none"`
	Description string `yaml:"description"`
}

var (
	pluginName = lazyregexp.New(`^[a-z0-9][a-z0-9_.-]{0,63}$`)
	paramName  = lazyregexp.New(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)
	actionName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
)

// ValidName reports whether a plugin may have a name.
func ValidName(name string) bool { return pluginName().MatchString(name) }

// ValidParamName reports whether a parameter may have a name. It is a part of a variable's name.
func ValidParamName(name string) bool { return paramName().MatchString(name) }

// ValidActionName reports whether an action may have a name.
func ValidActionName(name string) bool { return actionName().MatchString(name) }

// CheckReferences returns the problems with the references of a manifest; keys are dotted paths.
func (m *Manifest) CheckReferences() (out []Problem) {
	check := func(path, text string, use usage) string {
		if err := checkText(text, m.Params, use); err != nil {
			out = append(out, Problem{Key: path, Message: err.Error()})
		}
		return text
	}
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		check("params."+name+".default", deref(m.Params[name].Default), inDefault)
	}
	for _, event := range lifecycle.Events() {
		for k, h := range m.Hooks.Of(event) {
			replaceTexts(&h, func(key, text string, use usage) string {
				return check(fmt.Sprintf("hooks.%s[%d].%s", event, k, key), text, use)
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Actions)) {
		for k, text := range m.Actions[name].Command {
			check(fmt.Sprintf("actions.%s.command[%d]", name, k), text, inArgument)
		}
	}
	return out
}
