package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// process checks the environment and the limits of a service's process.
func (v *validator) process(path string, s Service) {
	v.env(layeredyaml.Join(path, "env"), s.Env, s.Secrets, func(name string) bool {
		return s.Kind == KindTomcat && tomcat.Evaluates(name)
	})
	v.secrets(path, s)
	// Written so that NaN fails too.
	if at := layeredyaml.Join(path, "cgroup", "cpus"); !(s.Cgroup.CPUs > 0) && (s.Cgroup.CPUs != 0 || v.IsSet(at)) {
		v.Bad(at, "remove the key for no limit of its own", "%v is not above 0", s.Cgroup.CPUs)
	}
}

// secrets checks the paths of secret files. A value that is no path is not repeated: it may
// be the secret itself.
func (v *validator) secrets(path string, s Service) {
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		at, env := layeredyaml.Join(path, "secrets", name), layeredyaml.Join(path, "env", name)
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
