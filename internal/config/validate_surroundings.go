package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// surroundings checks what a process is started with.
func (v *validator) surroundings(path string, s Service) {
	v.absolute(layeredyaml.Join(path, "dir"), s.Dir)
	v.literal(layeredyaml.Join(path, "user"), s.User)
	if s.User != "" && !validUser(s.User) {
		v.Bad(layeredyaml.Join(path, "user"), "write name, uid, name:group or uid:gid", "%s is not a user", layeredyaml.Quote("", s.User))
	}
	if s.Umask != "" {
		if _, err := ParseUmask(s.Umask); err != nil {
			v.Bad(layeredyaml.Join(path, "umask"), `write "0027"`, "%s", err)
		}
	}
	v.env(layeredyaml.Join(path, "env"), s.Env, s.Secrets, func(name string) bool {
		return s.Kind == KindTomcat && tomcat.Evaluates(name)
	})
	for i, group := range s.Groups {
		if at := layeredyaml.Index(layeredyaml.Join(path, "groups"), i); !validID(group) {
			v.Bad(at, "write a name or a number", "%s is not a group", layeredyaml.Quote("", group))
		}
	}
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

// validUser checks the form only: who exists is known when the service starts.
func validUser(user string) bool {
	name, group, both := strings.Cut(user, ":")
	return validID(name) && (!both || validID(group))
}

func validID(id string) bool {
	if id == "" || strings.HasPrefix(id, "-") || strings.ContainsAny(id, ": \t\n\r/\x00") {
		return false
	}
	if strings.Trim(id, "0123456789") != "" {
		return true
	}
	// The highest number means "no user" to the kernel.
	n, err := strconv.ParseUint(id, 10, 32)
	return err == nil && n != 1<<32-1
}
