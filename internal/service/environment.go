package service

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// Environment is the environment of a service's process.
type Environment struct {
	Vars map[string]string
	From map[string]string // source of a variable; absent: stoker's own environment
	Mask Mask
}

// set sets variables from one source.
func (e *Environment) set(vars map[string]string, from string) {
	maps.Copy(e.Vars, vars)
	for name := range vars {
		e.From[name] = from
	}
}

// Origin describes where a variable was set.
func (e *Environment) Origin(name string) string {
	return cmp.Or(e.From[name], "the container's environment")
}

// Source names a variable as a source of options.
func (e *Environment) Source(name string) string {
	if from := e.From[name]; from != "" {
		return from + " (" + name + ")"
	}
	return "env " + name
}

// Environ returns stoker's environment with the settings of the service's user, hooks and configuration. Later ones win: hooks,
// env_files, env, secrets. With an error it holds what could be read.
func (l *Launcher) Environ() (*Environment, error) {
	e := &Environment{Vars: EnvironMap(os.Environ()), From: map[string]string{}}
	l.User.AdaptEnv(e.Vars)
	e.set(l.FromHooks().Env, "a hook")
	var err error
	for _, path := range l.Config.EnvFiles {
		vars, readErr := readEnvFile(path)
		err = errors.Join(err, readErr)
		e.set(vars, path)
	}
	err = errors.Join(err, l.configured(e))
	for _, name := range slices.Sorted(maps.Keys(l.Config.Secrets)) {
		if slices.Contains(l.Public, name) {
			err = errors.Join(err, fmt.Errorf("cannot use the secret %s: it holds options, and everybody can read a command line\n"+
				"hint: put it under another name, and have the application read that", name))
			continue
		}
		value, readErr := readSecret(name, l.Config.Secrets[name])
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		e.set(map[string]string{name: value}, l.Config.Secrets[name])
		e.Mask.Add(value)
	}
	return e, err
}

// configured adds env of the configuration; its ${NAME} refers to the environment without env. Tomcat's own paths are set later, when
// its options are read.
func (l *Launcher) configured(e *Environment) error {
	env, errs := reference.Env(l.Config.Env, func(key, name string) (string, bool) {
		if l.Config.Kind == config.KindTomcat && tomcat.Evaluates(key) && tomcat.SetByStoker(name) {
			return "${" + name + "}", true
		}
		value, set := e.Vars[name]
		return value, set
	})
	var err error
	for _, key := range slices.Sorted(maps.Keys(errs)) {
		err = errors.Join(err, fmt.Errorf("cannot use %s (%s): %w", config.EnvPath(l.Name, key), l.envOrigin(key), errs[key]))
	}
	for key, value := range env {
		e.set(map[string]string{key: value}, l.envOrigin(key))
	}
	return err
}

// envOrigin returns where a variable of env is configured.
func (l *Launcher) envOrigin(key string) string {
	path := config.EnvPath(l.Name, key)
	if o, ok := l.Origins[path]; ok {
		return o.String()
	}
	return path
}

// EnvironMap splits NAME=VALUE pairs; the last one of a name wins.
func EnvironMap(environ []string) map[string]string {
	out := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// EnvironList is the inverse of EnvironMap, sorted.
func EnvironList(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// ProcessID returns the id of a process that is no service. The start time distinguishes it from those of an earlier supervisor.
func ProcessID(kind string) string { return fmt.Sprintf("%s@%d", kind, initproto.BootNow()) }
