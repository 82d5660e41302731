package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/suggest"
)

// Switch is what an operator has set for a plugin.
type Switch struct {
	Enabled *bool             `json:"enabled,omitempty"` // nil: not set
	Set     map[string]string `json:"set,omitempty"`
	At      time.Time         `json:"at"`
	By      string            `json:"by,omitempty"`
}

// SwitchRequest is a change that an operator requests.
type SwitchRequest struct {
	// Enabled switches the plugin on or off; nil: no change.
	Enabled *bool `json:"enabled,omitempty"`
	// Params sets parameters; null removes the operator's value.
	Params map[string]*string `json:"params,omitempty"`
	// NoRestart leaves running services as they are.
	NoRestart bool `json:"no_restart,omitempty"`
}

// ParamError means that a parameter cannot be set.
type ParamError struct{ Param, Why, Hint string }

func (e *ParamError) Error() string {
	return fmt.Sprintf("cannot set the parameter %q: %s", e.Param, e.Why)
}

// Switch applies a request or fails without an effect. unsaved is why the change ends with the
// container; empty: it is permanent. The restart that it requires is pending until RestartDone.
func (p *Set) Switch(name string, want SwitchRequest, by string) (unsaved string, err error) {
	p.switching.Lock()
	defer p.switching.Unlock()
	p.Refresh()
	if err := p.apply(name, want, by); err != nil {
		return "", err
	}
	if err := p.saveSwitches(); err != nil {
		unsaved = err.Error()
	}
	return unsaved, nil
}

func (p *Set) apply(name string, want SwitchRequest, by string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.find(name)
	if err != nil {
		return err
	}
	next, err := e.switched(want)
	if err != nil {
		return err
	}
	next.At, next.By = time.Now().UTC().Truncate(time.Second), by
	p.saved.Switches[name] = next
	if want.Enabled != nil && *want.Enabled || want.Enabled == nil && len(want.Params) > 0 {
		p.enable(name)
	}
	for _, s := range p.saved.Services {
		s.DeferredPid = 0
	}
	p.saved.Pending = &PendingRestart{By: by, Plugin: name, Later: want.NoRestart}
	undecided := func(f *Folder) bool { return p.saved.Switches[f.Name].Enabled == nil }
	if !slices.ContainsFunc(p.folders, undecided) {
		p.saved.Undecided = ""
	}
	p.update()
	return nil
}

// switched is the switch after a request.
func (e *evaluation) switched(want SwitchRequest) (Switch, error) {
	next := Switch{Enabled: cmp.Or(want.Enabled, e.operator.Enabled), Set: map[string]string{}}
	maps.Copy(next.Set, e.operator.Set)
	params := e.folder.Manifest.Params
	for _, name := range slices.Sorted(maps.Keys(want.Params)) {
		param, known := params[name]
		value := want.Params[name]
		switch {
		case !known:
			return next, &ParamError{name, "there is no such parameter", suggest.Hint(name, slices.Sorted(maps.Keys(params)))}
		case value == nil:
			delete(next.Set, name)
			continue
		}
		if err := param.Check(*value); err != nil {
			return next, &ParamError{name, err.Error(), param.Description}
		}
		next.Set[name] = *value
	}
	return next, nil
}

// ResolvedAction is an action with its values.
type ResolvedAction struct {
	Action
	Env     []string // NAME=VALUE, of the plugin
	Secrets []string // values that must not be shown
}

// Action returns an action of a plugin that is active or was disabled by a failure.
func (p *Set) Action(plugin, name string) (ResolvedAction, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.find(plugin)
	if err != nil {
		return ResolvedAction{}, err
	}
	a, ok := e.actions[name]
	switch {
	case !ok:
		hint := suggest.Hint(name, slices.Sorted(maps.Keys(e.actions)))
		return ResolvedAction{}, &NotFoundError{fmt.Sprintf("the plugin %s has no action %q", plugin, name), hint}
	case e.info.State != Active && e.failed == nil:
		return ResolvedAction{}, fmt.Errorf("the plugin %s is %s: %s", plugin, e.info.State, e.info.Why)
	}
	out := ResolvedAction{Action: a, Env: []string{"STOKER_PLUGIN=" + plugin, "STOKER_ACTION=" + name,
		"STOKER_PLUGIN_DIR=" + e.scope.pluginDir}}
	if e.scope.stateErr == nil {
		out.Env = append(out.Env, "STOKER_STATE_DIR="+e.scope.stateDir)
	}
	for _, param := range slices.Sorted(maps.Keys(e.scope.params)) {
		value := e.scope.params[param]
		if value == "" {
			continue // absent
		}
		out.Env = append(out.Env, "STOKER_PARAM_"+strings.ToUpper(param)+"="+value)
		if e.folder.Manifest.Params[param].Secret {
			out.Secrets = append(out.Secrets, value)
		}
	}
	return out, nil
}
