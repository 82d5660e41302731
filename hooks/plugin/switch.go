package plugin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/suggest"
)

// PluginSwitch is what an operator wants of a plugin.
type SwitchRequest struct {
	// Enabled switches it on or off; nil: that stays.
	Enabled *bool `json:"enabled,omitempty"`
	// Params are set; one that is null goes back to what it is without the operator.
	Params map[string]*string `json:"params,omitempty"`
	// NoRestart leaves running services as they are.
	NoRestart bool `json:"no_restart,omitempty"`
}

// ParamError refuses a switch for a parameter.
type ParamError struct{ Param, Why, Hint string }

func (e *ParamError) Error() string {
	return fmt.Sprintf("cannot set the parameter %q: %s", e.Param, e.Why)
}

// Switch does what an operator wants, or nothing. unsaved is why it counts until the
// container ends only; empty: it counts for good. What has to follow is owed until
// Settled.
func (p *Set) Switch(name string, want SwitchRequest, by string) (unsaved string, err error) {
	p.switching.Lock()
	defer p.switching.Unlock()
	p.Refresh()
	p.mu.Lock()
	e := p.find(name)
	if e == nil {
		defer p.mu.Unlock()
		return "", p.notFound(name)
	}
	next, err := e.switched(want)
	if err != nil {
		p.mu.Unlock()
		return "", err
	}
	next.At, next.By = time.Now().UTC().Truncate(time.Second), by
	if err := p.checkSize(name, next); err != nil {
		p.mu.Unlock()
		return "", err
	}
	p.saved.Switches[name] = next
	if want.Enabled != nil && *want.Enabled || want.Enabled == nil && len(want.Params) > 0 { // it is to be tried again
		delete(p.saved.Failed, name)
		for _, list := range []map[string][]string{p.saved.Trials, p.saved.Exonerated} {
			for service, names := range list {
				list[service] = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
			}
		}
	}
	clear(p.saved.Deferred)
	p.saved.Pending = &PendingRestart{By: by, Plugin: name, Later: want.NoRestart}
	p.clearUndecided()
	p.update()
	p.mu.Unlock()

	err = p.saveSwitches()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved.Unsaved = ""; err != nil {
		p.saved.Unsaved = err.Error()
	}
	p.save()
	return p.saved.Unsaved, nil
}

// decided ends that it is not known what was switched before, once every plugin was
// switched again. p.mu is held.
func (p *Set) clearUndecided() {
	for _, f := range p.folders {
		if p.saved.Switches[f.Name].Enabled == nil {
			return
		}
	}
	p.saved.Undecided = ""
}

// maxSwitches bounds what all operators' words are kept in, in bytes: half of the bag's
// item, so that the failures and states beside them are kept in any case.
const maxSwitches = 32 << 10

// fits refuses what could not be kept for a later supervisor, and would take the rest
// along. Less than before is never refused. p.mu is held.
func (p *Set) checkSize(name string, next Switch) error {
	all := maps.Clone(p.saved.Switches)
	before, err := json.Marshal(all)
	if err != nil {
		return err
	}
	all[name] = next
	after, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if len(after) <= maxSwitches || len(after) <= len(before) {
		return nil
	}
	if len(next.Set) == 0 {
		return nil // a word, and no value
	}
	largest := slices.MaxFunc(slices.Sorted(maps.Keys(next.Set)), func(a, b string) int { return cmp.Compare(len(next.Set[a]), len(next.Set[b])) })
	return &ParamError{largest, fmt.Sprintf("all that was switched would have %d bytes, more than %d", len(after), maxSwitches),
		"put long values into a file, and its path into the parameter"}
}

// switched is what the operator has said with that.
func (e *evaluation) switched(want SwitchRequest) (Switch, error) {
	next := Switch{Enabled: cmp.Or(want.Enabled, e.operator.Enabled), Set: maps.Clone(e.operator.Set)}
	if next.Set == nil {
		next.Set = map[string]string{}
	}
	params := e.folder.Manifest.Params
	for _, name := range slices.Sorted(maps.Keys(want.Params)) {
		param, known := params[name]
		value := want.Params[name]
		switch {
		case !known:
			hint := suggest.Hint(name, slices.Sorted(maps.Keys(params)))
			if len(params) == 0 {
				hint = "the plugin has no parameters"
			}
			return next, &ParamError{name, "there is no such parameter", hint}
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

// ReadyAction is an action with its values.
type ResolvedAction struct {
	Action
	Env []string // NAME=VALUE, of the plugin
	// Secrets are values that are not to be shown.
	Secrets []string
}

// Action gives an action of a plugin that is active, or has only failed.
func (p *Set) Action(plugin, name string) (ResolvedAction, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.find(plugin)
	if e == nil {
		return ResolvedAction{}, p.notFound(plugin)
	}
	a, ok := e.actions[name]
	switch {
	case !ok:
		hint := suggest.Hint(name, slices.Sorted(maps.Keys(e.actions)))
		if len(e.actions) == 0 {
			hint = "it has none"
		}
		return ResolvedAction{}, &NotFoundError{fmt.Sprintf("the plugin %s has no action %q", plugin, name), hint}
	case e.info.State != Active && e.failed == nil:
		return ResolvedAction{}, fmt.Errorf("the plugin %s is %s: %s", plugin, e.info.State, e.info.Why)
	}
	out := ResolvedAction{Action: a, Env: []string{"STOKER_PLUGIN=" + plugin, "STOKER_ACTION=" + name, "STOKER_PLUGIN_DIR=" + e.scope.pluginDir}}
	if e.scope.stateErr == nil {
		out.Env = append(out.Env, "STOKER_STATE_DIR="+e.scope.stateDir)
	}
	for _, param := range slices.Sorted(maps.Keys(e.scope.params)) {
		value := e.scope.params[param]
		if value == "" {
			continue // what has no value is absent
		}
		out.Env = append(out.Env, "STOKER_PARAM_"+strings.ToUpper(param)+"="+value)
		if e.folder.Manifest.Params[param].Secret {
			out.Secrets = append(out.Secrets, value)
		}
	}
	return out, nil
}
