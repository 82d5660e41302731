package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// validator checks values that have the right types.
type validator struct {
	layeredyaml.Checker
	raw     Config          // without defaults: a 0 that is set differs from an absent one
	cfg     Config          // with defaults
	environ map[string]bool // names of the environment, as far as it is known
}

func validate(raw, cfg Config, c layeredyaml.Checker, environ []string) {
	v := &validator{c, raw, cfg, map[string]bool{}}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		v.environ[name] = true
	}
	tags := func() { v.tags(raw, "") }
	// A probe without a URL comes before the form of what belongs to a URL.
	checks := []func(){v.probes, tags, v.services, v.main, v.jvm, v.admins, v.stop, v.hooks, v.plugins}
	for _, check := range checks {
		check()
	}
}

func (v *validator) main() {
	if v.raw.Main != "" {
		v.service("main", v.raw.Main)
	} else if n := len(v.cfg.Services); v.cfg.Main == "" && n > 1 {
		v.Warn("main", "write main: NAME", "no main service among %d: the container always ends with 0 after a requested stop", n)
	}
}

func (v *validator) admins() {
	for k, name := range v.raw.API.Admins {
		v.service(layeredyaml.Index("api.admins", k), name)
	}
}

// stop compares the stop of each service with that of the whole.
func (v *validator) stop() {
	budget := v.cfg.Stop.Timeout
	if budget <= 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Services)) {
		own := v.cfg.Services[name].Stop
		path := ServicePath(name, "stop")
		switch {
		case own.Drain > 0 && own.Drain+own.Timeout > budget:
			v.Warn(layeredyaml.Join(path, "drain"), "raise the top-level stop.timeout, and the container's grace period above it",
				"%s of drain and %s of timeout are more than the whole shutdown may take, stop.timeout %s", own.Drain, own.Timeout, budget)
		case own.Timeout > budget:
			v.Warn(layeredyaml.Join(path, "timeout"), "raise the top-level stop.timeout, and the container's grace period above it",
				"%s is more than the whole shutdown may take, stop.timeout %s", own.Timeout, budget)
		}
	}
}
