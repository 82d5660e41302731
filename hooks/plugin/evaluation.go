// Package plugin bundles hooks, JVM options and actions in folders with a manifest that can be switched on and off. It decides
// which plugins are active and what they contribute. It runs nothing: hooks are run by package hooks, JVMs are started by others.
package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
)

// masked stands for the value of a secret.
const masked = "***"

// evaluation is the state of one plugin and what it contributes.
type evaluation struct {
	folder   *Folder
	override Override
	operator Switch
	flavor   string
	failed   *failure // why it was disabled; nil: it was not
	scope    scope
	// undecided is why it is unknown whether an operator has switched it off; empty: it is known.
	undecided string

	problems []string // with values and references
	info     Info
	options  JVMOptions
	hooks    []hooks.ResolvedHook
	actions  map[string]Action // with values
}

// isActive reports whether the plugin contributes: also if only a hook has failed.
func (e *evaluation) isActive() bool {
	return e.info.State == Active || e.info.State == Failed && e.failed != nil && e.failed.OptionsApply
}

// evaluate fills in the results.
func (e *evaluation) evaluate(version string) {
	m := e.folder.Manifest
	e.info = Info{Name: e.folder.Name, Version: m.Version, Description: m.Description, State: Active, Required: e.folder.required(),
		Undecided: e.undecided != "", Dir: e.folder.Dir, Notes: e.folder.Notes, Params: []ParamInfo{}, Options: []OptionInfo{},
		Hooks: []HookInfo{}, Actions: m.Actions}
	e.parameters()
	e.fill()
	state, why := e.state(version)
	e.info.State, e.info.Why = state, redact.Text(why)
}

func (e *evaluation) problem(format string, args ...any) {
	e.problems = append(e.problems, fmt.Sprintf(format, args...))
}

// state decides the state: by switches, then conditions, then problems.
func (e *evaluation) state(version string) (State, string) {
	m := e.folder.Manifest
	unknown := "" // an operator may have switched it on
	if e.undecided != "" {
		unknown = "; it is not known whether an operator did: " + e.undecided
	}
	switch on := e.operator.Enabled; {
	case on != nil && !*on:
		e.info.Off = OffByOperator
		return Inactive, "switched off by the operator at " + e.operator.At.UTC().Format(time.RFC3339)
	case on != nil:
	case e.override.On != nil && !*e.override.On:
		e.info.Off = OffByConfiguration
		return Inactive, "switched off by the configuration" + unknown
	case e.override.On == nil && m.Enabled != nil && !*m.Enabled:
		e.info.Off = OffByManifest
		return Inactive, "off by its manifest, until it is switched on" + unknown
	}
	for _, when := range []jvm.When{m.When, e.override.When} {
		if ok, why := when.Matches(e.scope.env, e.scope.labels, e.flavor); !ok {
			return Inactive, "condition: " + why
		}
	}
	if e.undecided != "" {
		return Failed, "it is not known whether it was switched off: " + e.undecided
	}
	if problems := slices.Concat(e.folder.Problems, e.problems); len(problems) > 0 {
		return Failed, strings.Join(problems, "\n")
	}
	if ok, _ := satisfies(version, m.Requires.Stoker); !ok { // the condition was checked
		return Failed, fmt.Sprintf("it needs stoker %s, and this is %s", m.Requires.Stoker, version)
	}
	if e.failed != nil {
		return Failed, e.failed.Reason
	}
	return Active, ""
}

// parameters finds the values: the operator's, or the configuration's, or the default.
func (e *evaluation) parameters() {
	params := e.folder.Manifest.Params
	set := []struct {
		origin string
		values map[string]string
	}{{"configuration", e.override.Set}, {"operator", e.operator.Set}}
	names := slices.Sorted(maps.Keys(params))
	e.scope.params = map[string]string{}
	for _, name := range names {
		p := params[name]
		value, origin := "", ""
		for _, s := range set {
			if text, ok := s.values[name]; ok {
				value, origin = text, s.origin
			}
		}
		if origin == "" && p.Default != nil {
			origin = "default"
			var err error
			if value, err = e.scope.expand(*p.Default); err != nil {
				e.problem("params.%s.default: %v", name, err)
			}
		}
		switch err := p.Check(value); {
		case origin == "" && p.Required:
			e.problem("the parameter %s is required and not set", name)
		case origin != "" && err != nil:
			e.problem("the parameter %s of the %s: %v", name, origin, err)
		}
		e.scope.params[name] = value
		if p.Secret && value != "" {
			value = masked
		}
		e.info.Params = append(e.info.Params, ParamInfo{Name: name, Type: p.kind(), Value: value, Origin: cmp.Or(origin, "not set"),
			Required: p.Required, Secret: p.Secret, Description: p.Description})
	}
	for _, s := range set {
		for _, name := range slices.Sorted(maps.Keys(s.values)) {
			if _, known := params[name]; !known {
				e.problem("the %s sets %q, and there is no such parameter%s", s.origin, name, among(names))
			}
		}
	}
}

// fill resolves the references of options, hooks and actions. It continues after a problem, so that Info shows everything.
func (e *evaluation) fill() {
	e.options = JVMOptions{Name: e.folder.Name, Dir: e.folder.Dir, Required: e.folder.required(), Options: map[jvm.Layer][]jvm.Option{}}
	for _, f := range e.folder.Fragments {
		for _, o := range f.Options {
			shown := OptionInfo{Option: o.String(), Layer: f.Layer, Source: o.Source}
			if args, err := e.scope.expandAll(o.Args); err != nil {
				e.problem("%s: %v", o.Source, err)
			} else {
				filled := jvm.Option{Args: args, Source: fmt.Sprintf("plugin %s (%s)", e.folder.Name, o.Source)}
				shown.Option = filled.String()
				e.options.Options[f.Layer] = append(e.options.Options[f.Layer], filled)
			}
			e.info.Options = append(e.info.Options, shown)
		}
	}
	for _, event := range lifecycle.Events() {
		for k, h := range e.folder.Manifest.Hooks.Of(event) {
			if h.URL = e.withBaseURL(h.URL); h.File != "" || h.URL == "" && len(h.Command) == 0 {
				continue // it is among the files, or its URL is a parameter that is not set
			}
			b := hooks.ResolvedHook{Hook: h, Event: event, Source: fmt.Sprintf("plugin %s (%s)", e.folder.Name, ManifestName)}
			e.fillHook(fmt.Sprintf("hooks.%s[%d]", event, k), &b.Hook)
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
		if a.Command, err = e.scope.expandAll(a.Command); err != nil {
			e.problem("actions.%s: %v", name, err)
		}
		e.locate(a.Command)
		e.actions[name] = a
	}
}

var baseParam = lazyregexp.New(`^\$\{params\.([A-Za-z0-9_]+)(?::-[^}]*)?\}`)

// withBaseURL puts the value of a parameter of type url in the place of the reference with which a
// hook's URL begins: unescaped, unlike other values. It is empty if the parameter is.
func (e *evaluation) withBaseURL(text string) string {
	m := baseParam().FindStringSubmatch(text)
	if m == nil || e.folder.Manifest.Params[m[1]].kind() != TypeURL {
		return text
	}
	base := strings.TrimSuffix(e.scope.params[m[1]], "/")
	if base == "" {
		return ""
	}
	return base + text[len(m[0]):]
}

// addHook adds a hook of the plugin.
func (e *evaluation) addHook(b hooks.ResolvedHook) {
	b.Plugin, b.PluginDir, b.StateDir, b.Params = e.folder.Name, e.scope.pluginDir, e.scope.stateDir, e.scope.params
	b.Optional = !e.folder.required()
	e.hooks = append(e.hooks, b)
	if b.Unmet == "" { // else it is among the notes
		e.info.Hooks = append(e.info.Hooks, HookInfo{Event: b.Event, Name: b.Name, Source: b.Source})
	}
}

// fillHook resolves the references of a hook.
func (e *evaluation) fillHook(where string, h *hooks.Hook) {
	replaceTexts(h, func(key, text string, use usage) (out string) {
		var err error
		if use == inRequest {
			out, err = e.scope.request(text, h.Env)
		} else {
			out, err = e.scope.expand(text)
		}
		if err != nil {
			e.problem("%s.%s: %v", where, key, err)
		}
		return out
	})
	e.locate(h.Command)
}

// locate completes the program of a command, which may be stoker, or a path in the plugin's folder.
func (e *evaluation) locate(argv []string) {
	switch {
	case len(argv) == 0:
	case argv[0] == "stoker" && e.scope.stoker != "":
		argv[0] = e.scope.stoker
	case strings.Contains(argv[0], "/") && !strings.HasPrefix(argv[0], "/"):
		argv[0] = e.scope.pluginDir + "/" + argv[0]
	}
}
