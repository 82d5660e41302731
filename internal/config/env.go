package config

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/suggest"
)

// envPrefix begins every variable that is looked at.
const envPrefix = "STOKER_"

// environment applies the STOKER_* variables. A variable's name is the value's
// path in capitals, with "_" for ".", "-" and "_" alike:
//
//	STOKER_STOP_TIMEOUT=28s           stop.timeout
//	STOKER_JVM_FLAVOR_MEMORY=4GiB     jvm.flavor.memory
//	STOKER_SERVICES_MY_APP_USER=app   services.my-app.user, if my-app is configured
//	STOKER_SERVICES_MY_APP_ENV_TZ=UTC services.my-app.env.TZ
//	STOKER_LABELS_APPID=1             labels.appid
//
// A key of a map that no file has is made: of env and secrets as it is written,
// of headers with "-" for "_", of the others in lower case. A key of the schema
// comes before one that would be made: SERVICES_WEB_ENV_FILES is env_files. A
// list is written as in YAML. An empty variable counts
// as not set. A variable that names nothing is a warning and not an error,
// since orchestrators make STOKER_* variables of their own for a service that
// is called stoker.
func (l *loader) environment(environ []string) {
	values := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			values[name] = value
		}
	}
	names := make([]string, 0, len(values))
	var links []string
	for name, value := range values {
		switch {
		case value == "" || reservedEnv(name, value):
		case serviceLink(name):
			links = append(links, name)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(links)
	// All names are matched before any value is applied, so that the order of
	// variables cannot matter.
	targets := map[string][]target{}
	for _, name := range names {
		targets[name] = known(candidates(target{typ: reflect.TypeFor[Config]()}, l.root, strings.TrimPrefix(name, envPrefix)))
	}
	for _, name := range names {
		l.variable(name, values[name], targets[name])
	}
	if len(links) > 0 {
		l.report.warn(Problem{File: "env " + links[0],
			Message: fmt.Sprintf("is ignored, and %d more like it: these are the links to a service named stoker", len(links)-1),
			Hint:    "enableServiceLinks: false in the pod keeps them away"})
	}
}

// variable applies one variable to the one value that it names.
func (l *loader) variable(name, value string, to []target) {
	source := "env " + bounded(printable.Line(name))
	switch len(to) {
	case 0:
		l.report.warn(Problem{File: source, Message: "is ignored: it names no setting", Hint: l.envHint(name, value)})
	case 1:
		l.assign(source, to[0], value)
	default:
		paths := make([]string, len(to))
		for i, t := range to {
			paths[i] = t.path()
		}
		l.report.add(Problem{File: source, Message: "names more than one setting: " + strings.Join(paths, ", "),
			Hint: "use --set or a file"})
	}
}

// reservedEnv reports whether a variable is read elsewhere: STOKER_CONFIG names
// the file, STOKER_SOCKET tells the command line where the API is, STOKER_CI
// makes tests strict, and what hooks get is theirs.
func reservedEnv(name, value string) bool {
	return name == EnvFile || name == "STOKER_SOCKET" || name == "STOKER_CI" || name == "STOKER_PROCESS" || name == "STOKER_PID" ||
		hooks.Variable(name) && !strings.Contains(value, "://") // a link to a service named stoker may be STOKER_PORT
}

// serviceLink reports whether Kubernetes or Docker made the variable for a
// service named stoker: STOKER_SERVICE_HOST, STOKER_PORT_8080_TCP_ADDR, ...
func serviceLink(name string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || rest == "SERVICE_HOST" ||
		rest == "SERVICE_PORT" || strings.HasPrefix(rest, "SERVICE_PORT_")
}

// candidates returns every value of the schema that a variable's name can mean.
func candidates(from target, have *tree, rest string) []target {
	t := plain(from.typ)
	var out []target
	step := func(key string, typ reflect.Type) {
		name := envName(key)
		if len(rest) < len(name) || !strings.EqualFold(rest[:len(name)], name) {
			return
		}
		tail := rest[len(name):]
		if tail != "" && tail[0] != '_' {
			return
		}
		next := target{keys: append(slices.Clone(from.keys), key), typ: typ}
		out = append(out, candidates(next, have.kid(key), strings.TrimPrefix(tail, "_"))...)
	}
	switch {
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			step(f.name, f.typ)
		}
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		for _, key := range have.keys() {
			step(key, t.Elem())
		}
	case t.Kind() == reflect.Map && rest != "":
		return stringKeys(from, t.Elem(), have, rest)
	case t.Kind() != reflect.Map && rest == "":
		return []target{from}
	}
	return out
}

// stringKeys matches a key of a map of texts: those that exist, else a new one.
func stringKeys(from target, elem reflect.Type, have *tree, rest string) []target {
	var out []target
	for _, key := range have.keys() {
		if envName(key) == strings.ToUpper(rest) {
			out = append(out, target{keys: append(slices.Clone(from.keys), key), typ: elem})
		}
	}
	if out != nil {
		return out
	}
	switch from.keys[len(from.keys)-1] {
	case "env", "secrets":
	case "headers":
		rest = http.CanonicalHeaderKey(strings.ReplaceAll(rest, "_", "-"))
	default:
		rest = strings.ToLower(rest)
	}
	return []target{{keys: append(slices.Clone(from.keys), rest), typ: elem, made: true}}
}

// known leaves out the keys that would be made where another target exists.
func known(all []target) []target {
	there := slices.DeleteFunc(slices.Clone(all), func(t target) bool { return t.made })
	if len(there) > 0 {
		return there
	}
	return all
}

// envName is a key as it stands in a variable's name.
func envName(key string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(key))
}

// envHint says which variable may have been meant, or that the service that is
// named does not exist.
func (l *loader) envHint(name, value string) string {
	rest := strings.TrimPrefix(name, envPrefix)
	services := l.root.kid("services").keys()
	if after, ok := strings.CutPrefix(rest, "SERVICES_"); ok {
		known := false
		for _, s := range services {
			known = known || strings.HasPrefix(after, envName(s)+"_")
		}
		if !known {
			return "no such service is configured; configured: " + orNone(services)
		}
	}
	if at, section, ok := l.ofService(rest); ok {
		if hint := settingHint(at, section, value, asVariable); hint != "" {
			return hint
		}
	}
	var all []string
	variables(reflect.TypeFor[Config](), l.root, "", &all)
	if word, ok := suggest.Nearest(rest, all); ok {
		return "did you mean " + envPrefix + word + "?"
	}
	return ""
}

// variables lists the names, without prefix, of the variables that mean something.
func variables(t reflect.Type, have *tree, name string, out *[]string) {
	below := func(key string, typ reflect.Type) {
		variables(typ, have.kid(key), strings.TrimPrefix(name+"_"+envName(key), "_"), out)
	}
	switch t = plain(t); {
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			below(f.name, f.typ)
		}
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		for _, key := range have.keys() {
			below(key, t.Elem())
		}
	case t.Kind() != reflect.Map:
		*out = append(*out, name)
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
