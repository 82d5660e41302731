package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// environment is what a service's process is started with.
type environment struct {
	vars map[string]string
	from map[string]string // where a variable was set; absent: in stoker's own environment
	hide secretMask
}

// put sets variables that come from one place.
func (e *environment) put(vars map[string]string, from string) {
	maps.Copy(e.vars, vars)
	for name := range vars {
		e.from[name] = from
	}
}

// origin says for people where a variable was set.
func (e *environment) origin(name string) string {
	return cmp.Or(e.from[name], "the container's environment")
}

// source names the options that stand in a variable.
func (e *environment) source(name string) string {
	if from := e.from[name]; from != "" {
		return from + " (" + name + ")"
	}
	return "env " + name
}

// environ is ours, with what the service's user, hooks and configuration say; the
// later wins: hooks, env_files, env, secrets. With an error it is as much as could be
// read.
func (l *processLauncher) environ() (*environment, error) {
	e := &environment{vars: EnvironMap(os.Environ()), from: map[string]string{}}
	l.user.AdaptEnv(e.vars)
	e.put(l.hooksGave().Env, "a hook")
	var err error
	for _, path := range l.service.EnvFiles {
		vars, readErr := readEnvFile(path)
		err = errors.Join(err, readErr)
		e.put(vars, path)
	}
	err = errors.Join(err, l.configured(e))
	for _, name := range slices.Sorted(maps.Keys(l.service.Secrets)) {
		if slices.Contains(l.public, name) {
			err = errors.Join(err, fmt.Errorf("cannot use the secret %s: it holds options, and everybody can read a command line\n"+
				"hint: put it under another name, and have the application read that", name))
			continue
		}
		value, readErr := readSecret(name, l.service.Secrets[name])
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		e.put(map[string]string{name: value}, l.service.Secrets[name])
		e.hide.add(value)
	}
	return e, err
}

// configured adds env of the configuration, whose ${NAME} stands for what is there
// without it. A Tomcat's own places are known only when its options are read.
func (l *processLauncher) configured(e *environment) error {
	env, errs := reference.Env(l.service.Env, func(key, name string) (string, bool) {
		if l.service.Kind == config.KindTomcat && tomcat.Evaluates(key) && tomcat.OwnPlace(name) {
			return "${" + name + "}", true
		}
		value, set := e.vars[name]
		return value, set
	})
	var err error
	for _, key := range slices.Sorted(maps.Keys(errs)) {
		err = errors.Join(err, fmt.Errorf("cannot use %s (%s): %w", config.EnvPath(l.name, key), l.place(key), errs[key]))
	}
	for key, value := range env {
		e.put(map[string]string{key: value}, l.place(key))
	}
	return err
}

// place is where a variable of env is configured.
func (l *processLauncher) place(key string) string {
	path := config.EnvPath(l.name, key)
	if o, ok := l.origins[path]; ok {
		return o.String()
	}
	return path
}
