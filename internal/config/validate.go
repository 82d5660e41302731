package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/supervisor"
)

// maxSocketPath is what sockaddr_un holds, in bytes, less the NUL at its end.
const maxSocketPath = 107

// Validate returns everything that is wrong with cfg, and what is only worth a warning.
// cfg may lack its defaults. Load checks the same, and adds files and lines.
func Validate(cfg Config) (problems, warnings layeredyaml.Problems) {
	c := layeredyaml.NewChecker()
	validate(cfg, WithDefaults(cfg), c, nil)
	return c.Problems(), c.Warnings()
}

// validator checks values that have the right types.
type validator struct {
	layeredyaml.Checker
	raw     Config          // as it was set: tells a 0 that was asked for from an absent one
	cfg     Config          // with defaults
	environ map[string]bool // names of our own environment, as far as it is known
}

func validate(raw, cfg Config, c layeredyaml.Checker, environ []string) {
	v := &validator{c, raw, cfg, map[string]bool{}}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		v.environ[name] = true
	}
	checks := []func(){v.services, v.main, v.jvm, v.api, v.stop, v.log, v.hooks, v.plugins}
	for _, check := range checks {
		check()
	}
}

func (v *validator) absolute(path, file string) {
	switch {
	case file == "":
	case strings.HasPrefix(file, "/"):
		v.literal(path, file)
	case variableIn(file) != "":
		v.Bad(path, notExpanded(path), "%s is not an absolute path, and nothing is expanded here", layeredyaml.Quote(path, file))
	default:
		v.Bad(path, "begin it with /", "%s is not an absolute path", layeredyaml.Quote(path, file))
	}
}

// socket checks the path of a unix socket.
func (v *validator) socket(path, file string) {
	v.absolute(path, file)
	if len(file) > maxSocketPath {
		v.Bad(path, "", "the path has %d bytes, and the system allows %d", len(file), maxSocketPath)
	}
}

func (v *validator) main() {
	names := slices.Sorted(maps.Keys(v.cfg.Services))
	switch _, exists := v.cfg.Services[v.raw.Main]; {
	case v.raw.Main != "" && !exists:
		if !v.AlreadyReported(layeredyaml.Join("services", v.raw.Main)) {
			v.Missing("main", layeredyaml.DidYouMean(v.raw.Main, names), "there is no service %s", layeredyaml.Quote("main", v.raw.Main))
		}
	case v.cfg.Main == "" && len(names) > 1:
		v.Warn("main", "write main: NAME", "no main service among %d: the container ends with 0 after a stop that was asked for", len(names))
	}
}

func (v *validator) api() {
	v.socket("api.socket", v.raw.API.Socket)
	names := slices.Sorted(maps.Keys(v.cfg.Services))
	for k, name := range v.raw.API.Admins {
		if _, exists := v.cfg.Services[name]; !exists && !v.AlreadyReported(layeredyaml.Join("services", name)) {
			v.Missing(layeredyaml.Index("api.admins", k), layeredyaml.DidYouMean(name, names), "there is no service %s", layeredyaml.Quote("", name))
		}
	}
}

func (v *validator) stop() {
	v.OneOf("on_fatal", v.raw.OnFatal, supervisor.OnFatalStay, supervisor.OnFatalExit)
	v.Positive("stop.timeout", v.raw.Stop.Timeout)
	budget := v.cfg.Stop.Timeout
	if budget <= 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Services)) {
		own := v.cfg.Services[name].Stop
		path := layeredyaml.Join(layeredyaml.Join("services", name), "stop")
		switch {
		case own.Drain > 0 && own.Drain+own.Timeout > budget:
			v.Warn(layeredyaml.Join(path, "drain"), "raise stop.timeout of the whole, and the container's grace above that",
				"%s of drain and %s of timeout are more than the whole shutdown has, stop.timeout %s", own.Drain, own.Timeout, budget)
		case own.Timeout > budget:
			v.Warn(layeredyaml.Join(path, "timeout"), "raise stop.timeout of the whole, and the container's grace above that",
				"%s is more than the whole shutdown has, stop.timeout %s", own.Timeout, budget)
		}
	}
}

func (v *validator) log() {
	v.OneOf("log.level", v.raw.Log.Level, "debug", "info", "warn", "error")
}

// envName refuses what no environment can hold.
func (v *validator) envName(path, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		v.Bad(path, "", "%s is not the name of a variable", layeredyaml.Quote("", name))
	}
}
