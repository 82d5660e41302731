package tomcat

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// Inputs are what Tomcat resolves its configuration with.
type Inputs struct {
	Argv []string          // of its JVM
	Env  map[string]string // of its JVM
	// Read reads a file, bounded, as Tomcat may.
	Read func(path string) ([]byte, error)
}

// References resolves ${name}.
type References struct {
	// sources are asked in order; the first that knows a name wins.
	sources []func(name string) (value string, ok bool)
	// Unknown is why a name may have a value that is not known here; empty: every source that Tomcat asks is known.
	Unknown string
}

// maxResolve is how often Tomcat resolves the result again.
const maxResolve = 20

// resolve replaces ${name} and ${name:-default} as Tomcat does, repeatedly. A reference without a value stays.
func (r References) resolve(text string) string {
	for range maxResolve {
		if !strings.Contains(text, "${") || r.Unknown != "" {
			break
		}
		next := r.once(text)
		if next == text {
			break
		}
		text = next
	}
	return text
}

// maxResolved bounds a resolved attribute, in bytes.
const maxResolved = 64 << 10

// once resolves the references of a text from left to right; a name ends at the first brace.
func (r References) once(text string) string {
	size := 0
	out := regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllStringFunc(text, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := r.lookUp(name)
		if name, fallback, has := strings.Cut(name, ":-"); !ok && has {
			if value, ok = r.lookUp(name); !ok {
				value, ok = fallback, true
			}
		}
		if size += len(value); size > maxResolved {
			return ""
		}
		if !ok {
			return ref
		}
		return value
	})
	if size > maxResolved {
		return text
	}
	return out
}

func (r References) lookUp(name string) (value string, ok bool) {
	for _, source := range r.sources {
		if value, ok = source(name); ok {
			return value, true
		}
	}
	return "", false
}

// propertySources names, by commas, the classes that are asked before the system properties.
const propertySources = "org.apache.tomcat.util.digester.PROPERTY_SOURCE"

// references are the system properties, where those of catalina.properties replace those of the command line, and the other sources that
// Tomcat is configured to ask.
func (in Install) references(s Inputs) References {
	var r References
	props := map[string]string{"catalina.home": in.Home, "catalina.base": in.Base}
	for _, a := range s.Argv {
		if a == mainClass {
			break
		}
		if kv, ok := strings.CutPrefix(a, "-D"); ok {
			name, value, _ := strings.Cut(kv, "=")
			props[name] = value
		}
	}
	file := filepath.Join(in.Base, "conf/catalina.properties")
	switch config := props["catalina.config"]; {
	case strings.HasPrefix(config, "file:"):
		file = filePath(config)
	case strings.Contains(config, "/"):
		r.Unknown = "catalina.properties is read from " + config
	case config != "":
		file = filepath.Join(in.Base, "conf", config)
	}
	// Without the file Tomcat uses a built-in one, which sets nothing of this.
	data, err := s.Read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && r.Unknown == "" {
		r.Unknown = "cannot read " + file + ": " + err.Error()
	}
	for name, value := range Properties(data) {
		props[name] = value
	}
	for class := range strings.SplitSeq(props[propertySources], ",") {
		switch class = strings.TrimSpace(class); class {
		case "":
		case "org.apache.tomcat.util.digester.EnvironmentPropertySource":
			r.sources = append(r.sources, func(name string) (string, bool) { value, ok := s.Env[name]; return value, ok })
		case "org.apache.tomcat.util.digester.ServiceBindingPropertySource":
			r.sources = append(r.sources, s.binding)
		default:
			r.Unknown = "its references are resolved by " + class
		}
	}
	r.sources = append(r.sources, func(name string) (string, bool) { value, ok := props[name]; return value, ok })
	return r
}

// binding returns the content of the file name/key below SERVICE_BINDING_ROOT for "name.key"; "chomp:" removes one line break at the end.
func (s Inputs) binding(name string) (string, bool) {
	root, ok := s.Env["SERVICE_BINDING_ROOT"]
	name, chomp := strings.CutPrefix(name, "chomp:")
	dir, key, dotted := strings.Cut(name, ".")
	if !ok || !dotted || strings.Contains(key, ".") {
		return "", false
	}
	data, err := s.Read(filepath.Join(root, dir, key))
	if err != nil {
		return "", false
	}
	value := string(data)
	for _, end := range []string{"\r\n", "\n", "\r"} {
		if line, ok := strings.CutSuffix(value, end); chomp && ok {
			return line, true
		}
	}
	return value, true
}
