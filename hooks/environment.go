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

// hookVariables are set for a hook where they have a value, whatever is in stoker's own environment.
var hookVariables = map[string]func(x *execution) string{
	"STOKER_EVENT":      func(x *execution) string { return string(x.run.Event) },
	"STOKER_HOOK":       func(x *execution) string { return x.hook.Title() },
	"STOKER_SERVICE":    func(x *execution) string { return x.run.Service },
	"STOKER_PID":        func(x *execution) string { return positive(x.run.Pid) },
	"STOKER_ATTEMPT":    func(x *execution) string { return positive(x.run.Attempt) },
	"STOKER_PORT":       func(x *execution) string { return positive(x.run.Port) },
	"STOKER_EXIT_CODE":  func(x *execution) string { return known(x.run.ExitCode) },
	"STOKER_SIGNAL":     func(x *execution) string { return x.run.Signal },
	"STOKER_EXPECTED":   func(x *execution) string { return known(x.run.Expected) },
	"STOKER_REASON":     func(x *execution) string { return x.run.Reason },
	"STOKER_PLUGIN_DIR": func(x *execution) string { return x.hook.PluginDir },
	"STOKER_STATE_DIR":  func(x *execution) string { return x.hook.StateDir },
	"STOKER_OUT":        func(x *execution) string { return x.Out },
	"STOKER_DEADLINE":   func(x *execution) string { return strconv.FormatInt(x.term.UnixMilli(), 10) },
	"STOKER_OOM": func(x *execution) string {
		switch {
		case x.run.OOM:
			return "1"
		case x.run.ExitCode != nil || x.run.Signal != "":
			return "0"
		}
		return ""
	},
}

// positive is a number; empty: it is 0, which is unknown.
func positive(n int) string { return strings.TrimPrefix(strconv.Itoa(n), "0") }

// known is a value; empty: it is unknown.
func known[T any](value *T) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(*value)
}

// Variable reports whether a variable is set for hooks.
func Variable(name string) bool {
	return hookVariables[name] != nil || strings.HasPrefix(name, labelPrefix) || strings.HasPrefix(name, paramPrefix)
}

// variableName is the name of a label or parameter in a variable: in capitals, with _ for other characters.
func variableName(name string) string {
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
		SetLabels(env, opts.Labels())
	}
	setNamed(env, paramPrefix, h.Params)
	for name, value := range hookVariables {
		if value := value(x); value != "" {
			env[name] = strings.ReplaceAll(value, "\x00", "?")
		}
	}
	if opts.Socket != nil && opts.Socket() != "" {
		env["STOKER_SOCKET"] = opts.Socket()
	}
	own, err := ownEnv(h, env)
	if h.URL == "" {
		env = jvm.WithoutOptions(env)
	}
	maps.Copy(env, own)
	return env, err
}

// SetLabels sets the variables of labels.
func SetLabels(env, labels map[string]string) { setNamed(env, labelPrefix, labels) }

// setNamed sets the variables of labels or parameters.
func setNamed(env map[string]string, prefix string, values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) { // two may have the same variable
		env[prefix+variableName(name)] = values[name]
	}
}

// ownEnv is the env of a hook with its references resolved. Those of a plugin's hook are resolved by the plugin.
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

// pairs are NAME=VALUE, sorted.
func pairs(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}
