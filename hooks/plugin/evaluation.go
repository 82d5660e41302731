// Package plugin bundles hooks, JVM options and actions in folders with a manifest that can be
// switched on and off. It decides which plugins are active and what they contribute. It runs
// nothing: hooks are run by package hooks, JVMs are started by others.
package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
)

// PluginState is what a plugin is.
type State string

// States of a plugin.
const (
	Inactive State = "inactive" // it does not count: it is off, or its condition does not hold
	Active   State = "active"
	Failed   State = "failed" // it was to count, and cannot
)

// PluginStates lists them all.
func States() []State {
	return []State{Inactive, Active, Failed}
}

// Plugin is a plugin as it counts now, for people and programs. Secrets are masked.
type Info struct {
	Name        string `json:"name"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	State       State  `json:"state"`
	// Why it is not active; empty: it is.
	Why string `json:"why,omitempty"`
	// Off says whose word it is that it is off; empty: it is not.
	Off string `json:"off,omitempty"`
	// Undecided says that it is not known what an operator has switched before.
	Undecided bool              `json:"undecided,omitempty"`
	Required  bool              `json:"required"`
	Dir       string            `json:"dir"`
	Params    []ParamInfo       `json:"params"`
	Options   []OptionInfo      `json:"jvm_options"`
	Hooks     []HookInfo        `json:"hooks"`
	Actions   map[string]Action `json:"actions"`
	Notes     []string          `json:"notes,omitempty"`
}

// Whose word it may be that a plugin is off.
const (
	OffByManifest      = "manifest"
	OffByConfiguration = "configuration"
	OffByOperator      = "operator"
)

// PluginParam is a parameter with its value.
type ParamInfo struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Origin      string `json:"origin"` // "default", "configuration", "operator", "not set"
	Required    bool   `json:"required,omitempty"`
	Secret      bool   `json:"secret,omitempty"`
	Description string `json:"description,omitempty"`
}

// PluginOption is a JVM option of a plugin, with its values where it has them.
type OptionInfo struct {
	Option string    `json:"option"`
	Layer  jvm.Layer `json:"layer"`
	Source string    `json:"source"` // file:line, from the plugin's folder
}

// PluginHook is a hook of a plugin.
type HookInfo struct {
	Event  lifecycle.Event `json:"event"`
	Name   string          `json:"name"`
	Source string          `json:"source"`
}

// Carried is what an active plugin adds to JVMs.
type JVMOptions struct {
	Name     string
	Dir      string
	Required bool
	// Options by layer; their sources are "plugin NAME (FILE:LINE)".
	Options map[jvm.Layer][]jvm.Option
}

// hiddenValue stands for a secret.
const masked = "***"

// Switch is what an operator has said of a plugin.
type Switch struct {
	Enabled *bool             `json:"enabled,omitempty"` // nil: nothing
	Set     map[string]string `json:"set,omitempty"`
	At      time.Time         `json:"at"`
	By      string            `json:"by,omitempty"`
}

// evaluation is what one plugin comes to.
type evaluation struct {
	folder   *Folder
	override Override
	operator Switch
	env      hooks.Facts
	flavor   string
	failed   *failure // what befell it; nil: nothing
	scope    scope
	// undecided is why it is not known whether an operator has switched it off; empty: it
	// is known.
	undecided string

	info    Info
	options JVMOptions
	hooks   []hooks.ResolvedHook
	actions map[string]Action // with values
}

// counts says whether the plugin does; also one of which only a hook has failed.
func (e *evaluation) isActive() bool {
	return e.info.State == Active || e.info.State == Failed && e.failed != nil && e.failed.OptionsApply
}

// evaluate finds out what a plugin comes to.
func (e *evaluation) evaluate(version string) {
	m := e.folder.Manifest
	e.info = Info{Name: e.folder.Name, Version: m.Version, Description: m.Description, State: Active, Required: e.folder.required(),
		Undecided: e.undecided != "", Dir: e.folder.Dir, Notes: e.folder.Notes, Params: []ParamInfo{}, Options: []OptionInfo{},
		Hooks: []HookInfo{}, Actions: m.Actions}
	problems := e.parameters()
	state, why := e.state(version, problems)
	if err := e.fill(); err != nil && state == Active {
		state, why = Failed, err.Error()
	}
	if f := e.failed; f != nil && state == Active {
		state, why = Failed, f.Reason
	}
	e.info.State, e.info.Why = state, redact.Text(why)
}

// judge decides the state: what somebody wants, then the conditions, then what is
// wrong with it.
func (e *evaluation) state(version string, problems []string) (State, string) {
	m := e.folder.Manifest
	switch on := e.operator.Enabled; {
	case on != nil && !*on:
		e.info.Off = OffByOperator
		return Inactive, "switched off by the operator at " + e.operator.At.UTC().Format(time.RFC3339)
	case on != nil:
	case e.override.On != nil && !*e.override.On:
		e.info.Off = OffByConfiguration
		return Inactive, "switched off by the configuration" + e.undecidedNote()
	case e.override.On == nil && m.Enabled != nil && !*m.Enabled:
		e.info.Off = OffByManifest
		return Inactive, "off by its manifest, until it is switched on" + e.undecidedNote()
	}
	for _, when := range []jvm.When{m.When, e.override.When} {
		if ok, why := when.Matches(e.env.Env, e.env.Labels, e.flavor); !ok {
			return Inactive, "condition: " + why
		}
	}
	if e.info.Undecided {
		return Failed, "it is not known whether it was switched off: " + e.undecided
	}
	if problems = slices.Concat(e.folder.Problems, problems); len(problems) > 0 {
		return Failed, strings.Join(problems, "\n")
	}
	if ok, _ := satisfies(version, m.Requires.Stoker); !ok { // its form was checked
		return Failed, fmt.Sprintf("it needs stoker %s, and this is %s", m.Requires.Stoker, version)
	}
	return Active, ""
}

// unknown adds to why it is off that an operator may have switched it on.
func (e *evaluation) undecidedNote() string {
	if e.undecided == "" {
		return ""
	}
	return "; it is not known whether an operator did: " + e.undecided
}

// parameters finds the values: the operator's, those of the configuration, the
// defaults.
func (e *evaluation) parameters() (problems []string) {
	params := e.folder.Manifest.Params
	e.scope.params = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		p := params[name]
		value, origin := e.setValue(name)
		if origin == "" && p.Default != nil {
			origin = "default"
			var err error
			if value, err = e.scope.expand(*p.Default); err != nil {
				problems = append(problems, fmt.Sprintf("params.%s.default: %v", name, err))
			}
		}
		switch err := p.Check(value); {
		case origin == "" && p.Required:
			problems = append(problems, fmt.Sprintf("the parameter %s is required and not set", name))
		case origin != "" && err != nil:
			problems = append(problems, fmt.Sprintf("the parameter %s of the %s: %v", name, origin, err))
		}
		e.scope.params[name] = value
		if p.Secret && value != "" {
			value = masked
		}
		e.info.Params = append(e.info.Params, ParamInfo{Name: name, Type: p.kind(), Value: value, Origin: cmp.Or(origin, "not set"),
			Required: p.Required, Secret: p.Secret, Description: p.Description})
	}
	for _, set := range []struct {
		values map[string]string
		of     string
	}{{e.operator.Set, "operator"}, {e.override.Set, "configuration"}} {
		for _, name := range slices.Sorted(maps.Keys(set.values)) {
			if _, known := params[name]; !known {
				problems = append(problems, fmt.Sprintf("the %s sets %q, and there is no such parameter%s", set.of, name, among(slices.Sorted(maps.Keys(params)))))
			}
		}
	}
	return problems
}

// given is a value that somebody has set, and who.
func (e *evaluation) setValue(name string) (value, origin string) {
	if value, ok := e.operator.Set[name]; ok {
		return value, "operator"
	}
	if value, ok := e.override.Set[name]; ok {
		return value, "configuration"
	}
	return "", ""
}

// fill puts the values into options, hooks and actions. Where one is missing what is
// shown has the references.
func (e *evaluation) fill() error {
	var first error
	note := func(where string, err error) bool {
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", where, err)
		}
		return err == nil
	}
	e.options = JVMOptions{Name: e.folder.Name, Dir: e.folder.Dir, Required: e.folder.required(), Options: map[jvm.Layer][]jvm.Option{}}
	for _, f := range e.folder.Fragments {
		for _, o := range f.Options {
			shown := OptionInfo{Option: o.String(), Layer: f.Layer, Source: o.Source}
			if args, err := e.scope.expandAll(o.Args); note(o.Source, err) {
				filled := jvm.Option{Args: args, Source: fmt.Sprintf("plugin %s (%s)", e.folder.Name, o.Source)}
				shown.Option = filled.String()
				e.options.Options[f.Layer] = append(e.options.Options[f.Layer], filled)
			}
			e.info.Options = append(e.info.Options, shown)
		}
	}
	for _, event := range lifecycle.Events() {
		for k, h := range e.folder.Manifest.Hooks.Of(event) {
			if h.File != "" {
				continue // it is among the files
			}
			if h.URL = e.withBaseURL(h.URL); h.URL == "" && len(h.Command) == 0 {
				continue // nobody is to be asked
			}
			b := hooks.ResolvedHook{Hook: h, Event: event, Source: fmt.Sprintf("plugin %s (%s)", e.folder.Name, ManifestName)}
			note(fmt.Sprintf("hooks.%s[%d]", event, k), e.fillHook(&b.Hook))
			e.addHook(b)
		}
		for _, b := range e.folder.Files {
			if b.Event == event {
				e.addHook(b)
			}
		}
	}
	e.actions = map[string]Action{}
	for _, name := range slices.Sorted(maps.Keys(e.folder.Manifest.Actions)) {
		a := e.folder.Manifest.Actions[name]
		var err error
		a.Command, err = e.fillCommand(a.Command)
		note("actions."+name, err)
		e.actions[name] = a
	}
	return first
}

// based is a hook's url with the parameter of type url that it begins with, if it
// does: as it stands, where every other value is escaped. Empty: the parameter is.
func (e *evaluation) withBaseURL(text string) string {
	pieces, err := parseText(text, true)
	if err != nil || len(pieces) == 0 || pieces[0].ref == nil || pieces[0].ref.kind != refParam ||
		e.folder.Manifest.Params[pieces[0].ref.name].kind() != TypeURL {
		return text
	}
	base := strings.TrimSuffix(e.scope.params[pieces[0].ref.name], "/")
	if base == "" {
		return ""
	}
	_, rest, _ := strings.Cut(text, "}")
	return base + rest
}

// bind makes a hook the plugin's.
func (e *evaluation) addHook(b hooks.ResolvedHook) {
	b.Plugin, b.PluginDir, b.StateDir, b.Params = e.folder.Name, e.scope.pluginDir, e.scope.stateDir, e.scope.params
	b.Optional = !e.folder.required()
	e.hooks = append(e.hooks, b)
	if b.Unmet != "" {
		return // it is among the notes
	}
	e.info.Hooks = append(e.info.Hooks, HookInfo{Event: b.Event, Name: b.Name, Source: b.Source})
}

// hook fills the values of a hook in.
func (e *evaluation) fillHook(h *hooks.Hook) (err error) {
	if len(h.Command) > 0 {
		if h.Command, err = e.fillCommand(h.Command); err != nil {
			return err
		}
	}
	env := map[string]string{}
	for name, text := range h.Env {
		if env[name], err = e.scope.expand(text); err != nil {
			return fmt.Errorf("env.%s: %w", name, err)
		}
	}
	if h.CAFile, err = e.scope.expand(h.CAFile); err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	if h.URL, err = e.scope.request(h.URL, env); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if h.Body, err = e.scope.request(h.Body, env); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	headers := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if headers[name], err = e.scope.request(h.Headers[name], env); err != nil {
			return fmt.Errorf("headers.%s: %w", name, err)
		}
	}
	h.Env, h.Headers = env, headers
	return nil
}

// command fills an argument list in. Its program may be ours, or be named from the
// plugin's folder.
func (e *evaluation) fillCommand(argv []string) ([]string, error) {
	out, err := e.scope.expandAll(argv)
	switch {
	case err != nil || len(out) == 0:
	case out[0] == "stoker" && e.scope.stoker != "":
		out[0] = e.scope.stoker
	case strings.Contains(out[0], "/") && !strings.HasPrefix(out[0], "/"):
		out[0] = e.scope.pluginDir + "/" + out[0]
	}
	return out, err
}
