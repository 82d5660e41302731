package hooks

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/jvm"
)

// Prefixes of the variables for labels and parameters.
const (
	labelPrefix = "STOKER_LABEL_"
	paramPrefix = "STOKER_PARAM_"
)

// hookVariables are set by stoker for a hook or absent, whatever is in stoker's own environment.
var hookVariables = []string{"STOKER_EVENT", "STOKER_SERVICE", "STOKER_PID", "STOKER_ATTEMPT", "STOKER_EXIT_CODE", "STOKER_SIGNAL",
	"STOKER_OOM", "STOKER_EXPECTED", "STOKER_REASON", "STOKER_PORT", "STOKER_PLUGIN_DIR", "STOKER_STATE_DIR", "STOKER_DEADLINE",
	"STOKER_OUT", "STOKER_HOOK"}

// Variable reports whether a variable is set for hooks.
func Variable(name string) bool {
	return slices.Contains(hookVariables, name) || strings.HasPrefix(name, labelPrefix) || strings.HasPrefix(name, paramPrefix)
}

// VariableName is the name of a label or parameter in a variable: in capitals, with _ for other
// characters.
func VariableName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}

// environ makes the environment of the hook as user, nil: stoker's own; values that are unknown are
// absent. A program does not get variables with options of the JVM, unless its own env names them.
func (x *execution) environ(user *asuser.User) (map[string]string, error) {
	opts, h := &x.q.r.opts, x.hook
	env := map[string]string{}
	maps.Copy(env, opts.Env)
	maps.DeleteFunc(env, func(name, _ string) bool { return Variable(name) })
	user.AdaptEnv(env)
	maps.Copy(env, x.q.r.Output(x.run.Service, user.ID()).Env)
	if opts.Labels != nil {
		setNamed(env, labelPrefix, opts.Labels())
	}
	setNamed(env, paramPrefix, h.Params)
	x.setOccurrence(env)
	own, err := ownEnv(h, env)
	if h.URL == "" {
		env = jvm.WithoutOptions(env)
	}
	maps.Copy(env, own)
	return env, err
}

// setNamed sets the variables of labels or parameters.
func setNamed(env map[string]string, prefix string, values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) { // two may have the same variable
		env[prefix+VariableName(name)] = values[name]
	}
}

// ownEnv is the env of a hook with its references resolved. Those of a plugin's hook are resolved
// by the plugin.
func ownEnv(h *ResolvedHook, env map[string]string) (map[string]string, error) {
	if h.Plugin != "" {
		return h.Env, nil
	}
	own, errs := reference.Env(h.Env, func(_, name string) (string, bool) { value, set := env[name]; return value, set })
	for _, key := range slices.Sorted(maps.Keys(errs)) {
		return own, fmt.Errorf("env.%s of the hook (%s): %w", key, h.Source, errs[key])
	}
	return own, nil
}

// setOccurrence sets the variables that describe the occurrence.
func (x *execution) setOccurrence(env map[string]string) {
	o, h := &x.run.Occurrence, x.hook
	number := func(n int) string { return strings.TrimPrefix(strconv.Itoa(n), "0") } // 0 is absent
	set := map[string]string{"STOKER_EVENT": string(o.Event), "STOKER_HOOK": h.Title(), "STOKER_SERVICE": o.Service,
		"STOKER_PID": number(o.Pid), "STOKER_ATTEMPT": number(o.Attempt), "STOKER_PORT": number(o.Port), "STOKER_SIGNAL": o.Signal,
		"STOKER_REASON": o.Reason, "STOKER_PLUGIN_DIR": h.PluginDir, "STOKER_STATE_DIR": h.StateDir, "STOKER_OUT": x.Out,
		"STOKER_DEADLINE": strconv.FormatInt(x.term.UnixMilli(), 10)}
	if socket := x.q.r.opts.Socket; socket != nil {
		set["STOKER_SOCKET"] = socket()
	}
	if o.ExitCode != nil {
		set["STOKER_EXIT_CODE"] = strconv.Itoa(*o.ExitCode)
	}
	switch {
	case o.OOM:
		set["STOKER_OOM"] = "1"
	case o.ExitCode != nil || o.Signal != "":
		set["STOKER_OOM"] = "0"
	}
	if o.Expected != nil {
		set["STOKER_EXPECTED"] = strconv.FormatBool(*o.Expected)
	}
	for name, value := range set {
		if value != "" {
			env[name] = strings.ReplaceAll(value, "\x00", "?")
		}
	}
}

// pairs are NAME=VALUE, sorted.
func pairs(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}
