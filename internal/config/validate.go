package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// validator checks values that have the right types.
type validator struct {
	*layeredyaml.Checker
	raw     Config          // without defaults: a 0 that is set differs from an absent one
	cfg     Config          // with defaults
	environ map[string]bool // names of the environment, as far as it is known
}

func validate(raw, cfg Config, c *layeredyaml.Checker, environ []string) {
	v := &validator{c, raw, cfg, map[string]bool{}}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		v.environ[name] = true
	}
	tags := func() { v.tags(raw, "") }
	// A probe without a URL comes before the form of what belongs to a URL.
	checks := []func(){v.probes, tags, v.services, v.listeners, v.main, v.jvm, v.admins, v.access, v.requests, v.stop, v.hooks, v.plugins,
		v.executor, v.natsJobs, v.console}
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

// access checks who may use the API over TCP.
func (v *validator) access() {
	for _, p := range v.cfg.API.Validate() {
		if at := "api." + p.Field; !v.AlreadyReported(at) {
			v.Bad(at, p.Hint, "%s", p.Why)
		}
	}
}

// executor checks what brings jobs.
func (v *validator) executor() {
	if v.raw.Executor.Mesos.OnAgentLost != "" {
		v.needsSlots("executor.mesos")
	}
	for _, name := range slices.Sorted(maps.Keys(v.raw.Executor.Schedules)) {
		path := layeredyaml.Join("executor.schedules", name)
		s := v.raw.Executor.Schedules[name]
		v.needsSlots(path)
		for _, f := range s.Validate(name, v.cfg.Executor.Config) {
			at := path
			if f.Field != "" {
				at += "." + f.Field
			}
			if !v.AlreadyReported(at) {
				v.Bad(at, "", "%s", f.Why)
			}
		}
		if s.Context != "" {
			v.service(path+".context", s.Context)
		}
	}
}

// console checks what clients of the console may set and run.
func (v *validator) console() {
	for _, f := range v.raw.Console.Validate() {
		if at := "console." + f.Field; !v.AlreadyReported(at) {
			v.Bad(at, "", "%s", f.Why)
		}
	}
}

// natsJobs checks the NATS consumer.
func (v *validator) natsJobs() {
	const path = "executor.nats"
	problems := v.raw.Executor.NATS.Validate()
	if v.raw.Executor.NATS.URL != "" || len(problems) > 0 {
		v.needsSlots(path)
	}
	for _, f := range problems {
		if at := path + "." + f.Field; !v.AlreadyReported(at) {
			v.Bad(at, "", "%s", f.Why)
		}
	}
}

// needsSlots refuses what brings jobs where there is no executor.
func (v *validator) needsSlots(path string) {
	if v.cfg.Executor.Slots == 0 {
		v.Bad(path, "set executor.slots", "there is no executor to run its jobs")
	}
}

// requests checks stop.requests of each service.
func (v *validator) requests() {
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Services)) {
		s := v.cfg.Services[name]
		path := layeredyaml.Join(ServicePath(name, "stop"), "requests")
		switch limit := s.Stop.Requests; {
		case limit == nil || *limit <= 0:
		case s.Kind != KindTomcat:
			v.Bad(path, "remove it, or wait in stop.command or a pre-stop hook", "only a service of kind tomcat can be asked to end its requests")
		case *limit > s.Stop.Timeout:
			v.Bad(path, "lower it, or raise stop.timeout of the service",
				"%s is more than stop.timeout, of which it is a part: %s", *limit, s.Stop.Timeout)
		}
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

// plugins checks the names of plugins and parameters. Which ones exist is not known here.
func (v *validator) plugins() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled)) {
		path := layeredyaml.Join("plugins.enabled", name)
		if !plugin.ValidName(name) {
			v.Bad(path, "", "%s is not a plugin name: use small letters, digits, _ . and -", layeredyaml.Quote("", name))
		}
		for _, param := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled[name].Set)) {
			if at := layeredyaml.Join(path, "set", param); !plugin.ValidParamName(param) {
				v.Bad(at, "", "%s cannot be the name of a parameter", layeredyaml.Quote("", param))
			}
		}
	}
}

func (v *validator) jvm() {
	v.flavors()
	for layer, env := range map[string][]string{"jvm.default": v.raw.JVM.Default.Env, "jvm.enforced": v.raw.JVM.Enforced.Env} {
		if len(env) > 0 {
			v.Bad(layeredyaml.Join(layer, "env"), "move it to jvm.user.env", "only the user layer reads variables")
		}
	}
}

// flavors checks the flavor and the profiles.
func (v *validator) flavors() {
	const flavor, list = "jvm.flavor", "jvm.flavors"
	is := v.raw.JVM.Flavor
	if path := layeredyaml.Join(flavor, "cpus"); is.CPUs < 0 || is.CPUs == 0 && v.IsSet(path) {
		v.Bad(path, "remove the key to use the cgroup's limit", "%v is not above 0", is.CPUs)
	}
	var names []string
	for i, p := range v.raw.JVM.Flavors {
		at := layeredyaml.Index(list, i)
		switch path := layeredyaml.Join(at, "name"); {
		case p.Name == "":
			v.Missing(path, "", "a flavor needs a name")
		case slices.Contains(names, p.Name):
			v.Bad(path, "give it another name", "there is another flavor %s", layeredyaml.Quote(path, p.Name))
		}
		names = append(names, p.Name)
		for _, f := range p.Check() {
			v.Bad(at+"."+f.Key, "", "%s", f.Message)
		}
	}
	if path := layeredyaml.Join(flavor, "name"); is.Name != "" && !slices.Contains(names, is.Name) {
		v.Missing(path, layeredyaml.DidYouMean(is.Name, names), "there is no %s among jvm.flavors", layeredyaml.Quote(path, is.Name))
	}
}
