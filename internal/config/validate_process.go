package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// process checks what a service's process is started with.
func (v *validator) process(path string, s Service) {
	v.env(layeredyaml.Join(path, "env"), s.Env, s.Secrets, func(name string) bool {
		return s.Kind == KindTomcat && tomcat.Evaluates(name)
	})
	for i, file := range s.EnvFiles {
		at := layeredyaml.Index(layeredyaml.Join(path, "env_files"), i)
		if name := strings.TrimPrefix(file, "-"); !strings.HasPrefix(name, "/") {
			hint := orNotExpanded(at, file, `write "/path", or "-/path" for one that may be missing`)
			v.Bad(at, hint, "%s is not an absolute path", layeredyaml.Quote("", file))
			continue
		}
		v.literal(at, file)
	}
	v.secrets(path, s)
	for _, name := range slices.Sorted(maps.Keys(s.Rlimits)) {
		at := layeredyaml.Join(path, "rlimits", name)
		switch l, err := execshim.ParseRlimit(name, s.Rlimits[name]); {
		case err != nil:
			v.Bad(at, "", "%v", err)
		case l.Name != name: // else one limit could be there twice
			v.Bad(at, "write "+l.Name, "%s is not how a limit is written here", layeredyaml.Quote("", name))
		}
	}
	for i, name := range s.DropCapabilities {
		if _, err := execshim.ParseCapability(name); err != nil {
			v.Bad(layeredyaml.Index(layeredyaml.Join(path, "drop_capabilities"), i),
				layeredyaml.DidYouMean(strings.ToUpper(name), execshim.CapabilityNames()), "%v", err)
		}
	}
	// Written so that NaN fails too.
	if at := layeredyaml.Join(path, "cgroup", "cpus"); !(s.Cgroup.CPUs > 0) && (s.Cgroup.CPUs != 0 || v.IsSet(at)) {
		v.Bad(at, "remove the key for no limit of its own", "%v is not above 0", s.Cgroup.CPUs)
	}
}

// secrets are files. What is no path may be the secret itself, written there by
// mistake: it is not repeated.
func (v *validator) secrets(path string, s Service) {
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		at, env := layeredyaml.Join(layeredyaml.Join(path, "secrets"), name), layeredyaml.Join(layeredyaml.Join(path, "env"), name)
		v.envName(at, name)
		if !strings.HasPrefix(s.Secrets[name], "/") {
			v.Bad(at, "write the path of a file that holds it", "the value is not an absolute path")
		} else {
			v.literal(at, s.Secrets[name])
		}
		if _, both := s.Env[name]; both {
			v.Bad(at, "remove one of the two", "is set in env too%s", v.Where(env))
		}
	}
}
