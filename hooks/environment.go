package hooks

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/lifecycle"
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

// environment is what the environment of a hook is made of.
type environment struct {
	own         map[string]string // stoker's environment
	labels      map[string]string
	contributed map[string]string // by earlier hooks
	socket      string            // of the API; empty: unknown
	user        *asuser.User      // nil: stoker's own
	out         string            // path of STOKER_OUT; empty: there is none
	deadline    time.Time
}

// environ makes the environment of a hook; values that are unknown are absent. A program does not
// get variables with options of the JVM, unless its own env names them.
func (s *environment) environ(b *ResolvedHook, o lifecycle.Occurrence) (map[string]string, error) {
	env := map[string]string{}
	maps.Copy(env, s.own)
	maps.DeleteFunc(env, func(name, _ string) bool { return Variable(name) })
	s.user.AdaptEnv(env)
	maps.Copy(env, s.contributed)
	for _, name := range slices.Sorted(maps.Keys(s.labels)) {
		env[labelPrefix+VariableName(name)] = s.labels[name]
	}
	for _, name := range slices.Sorted(maps.Keys(b.Params)) {
		env[paramPrefix+VariableName(name)] = b.Params[name]
	}
	s.setOccurrence(env, b, o)
	own, err := ownEnv(b, env)
	if b.URL == "" {
		env = jvm.WithoutOptions(env)
	}
	maps.Copy(env, own)
	return env, err
}

// ownEnv is the env of a hook with its references resolved. Those of a plugin's hook are resolved
// by the plugin.
func ownEnv(b *ResolvedHook, env map[string]string) (map[string]string, error) {
	if b.Plugin != "" {
		return b.Env, nil
	}
	own, errs := reference.Env(b.Env, func(_, name string) (string, bool) { value, set := env[name]; return value, set })
	for _, key := range slices.Sorted(maps.Keys(errs)) {
		return own, fmt.Errorf("env.%s of the hook (%s): %w", key, b.Source, errs[key])
	}
	return own, nil
}

// setOccurrence sets the variables that describe the occurrence.
func (s *environment) setOccurrence(env map[string]string, b *ResolvedHook, o lifecycle.Occurrence) {
	set := func(name, value string) {
		if value != "" {
			env[name] = strings.ReplaceAll(value, "\x00", "?")
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			env[name] = strconv.Itoa(n)
		}
	}
	set("STOKER_EVENT", string(o.Event))
	set("STOKER_HOOK", b.Title())
	set("STOKER_SERVICE", o.Service)
	number("STOKER_PID", o.Pid)
	number("STOKER_ATTEMPT", o.Attempt)
	number("STOKER_PORT", o.Port)
	if o.ExitCode != nil {
		env["STOKER_EXIT_CODE"] = strconv.Itoa(*o.ExitCode)
	}
	set("STOKER_SIGNAL", o.Signal)
	switch {
	case o.OOM:
		env["STOKER_OOM"] = "1"
	case o.ExitCode != nil || o.Signal != "":
		env["STOKER_OOM"] = "0"
	}
	if o.Expected != nil {
		env["STOKER_EXPECTED"] = strconv.FormatBool(*o.Expected)
	}
	set("STOKER_REASON", o.Reason)
	set("STOKER_PLUGIN_DIR", b.PluginDir)
	set("STOKER_STATE_DIR", b.StateDir)
	set("STOKER_OUT", s.out)
	set("STOKER_SOCKET", s.socket)
	if !s.deadline.IsZero() {
		env["STOKER_DEADLINE"] = strconv.FormatInt(s.deadline.UnixMilli(), 10)
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
