package layeredyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/suggest"
)

// Environment applies the variables with the schema's prefix. A variable's name is the
// value's path in capitals, with "_" for ".", "-" and "_" alike:
//
//	STOKER_STOP_TIMEOUT=28s           stop.timeout
//	STOKER_SERVICES_MY_APP_USER=app   services.my-app.user, if my-app is configured
//	STOKER_SERVICES_MY_APP_ENV_TZ=UTC services.my-app.env.TZ
//
// A new key of a map of texts is added as NewMapKey spells it; a key of the schema comes
// before it: SERVICES_WEB_ENV_FILES is env_files. A list is written as in YAML. An empty
// variable is not set. A variable that names nothing is a warning and not an error, since
// orchestrators make variables of their own for a service with the name of the prefix.
func (l *Layers) Environment(environ []string) {
	values := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, l.schema.EnvPrefix) {
			values[name] = value
		}
	}
	var names, links []string
	for name, value := range values {
		switch {
		case value == "" || l.schema.ReservedEnv != nil && l.schema.ReservedEnv(name, value):
		case serviceLink(strings.TrimPrefix(name, l.schema.EnvPrefix)):
			links = append(links, name)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(links)
	// All names are matched before any value is applied, so that the order of variables
	// cannot matter.
	targets := map[string][]target{}
	for _, name := range names {
		targets[name] = existing(l.candidates(strings.TrimPrefix(name, l.schema.EnvPrefix)))
	}
	for _, name := range names {
		l.variable(name, values[name], targets[name])
	}
	if len(links) > 0 {
		l.report.warn(Problem{File: "env " + links[0],
			Message: fmt.Sprintf("is ignored, and %d more like it: these are the links to a service named %s", len(links)-1,
				strings.ToLower(strings.TrimSuffix(l.schema.EnvPrefix, "_"))),
			Hint: "enableServiceLinks: false in the pod keeps them away"})
	}
}

// variable applies one variable to the one value that it names.
func (l *Layers) variable(name, value string, to []target) {
	source := "env " + Shorten(printable.Line(name))
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

// serviceLink reports whether Kubernetes or Docker makes a variable of that ending for a
// service with the name of the prefix: STOKER_SERVICE_HOST, STOKER_PORT_8080_TCP_ADDR, ...
func serviceLink(rest string) bool {
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || rest == "SERVICE_HOST" ||
		rest == "SERVICE_PORT" || strings.HasPrefix(rest, "SERVICE_PORT_")
}

// eachValue visits the values of the schema whose variables' names want accepts, without
// prefix. have is what is set so far.
func eachValue(from target, have *tree, name string, want func(name string) bool, visit func(name string, t target, have *tree)) {
	below := func(key string, typ reflect.Type) {
		if next := strings.TrimPrefix(name+"_"+VariableName(key), "_"); want(next) {
			eachValue(from.below(key, typ), have.child(key), next, want, visit)
		}
	}
	switch t := plain(from.typ); {
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			below(f.name, f.typ)
		}
	case isTable(t):
		for _, key := range have.keys() {
			below(key, t.Elem())
		}
	default:
		visit(name, from, have)
	}
}

// candidates returns every value of the schema that a variable's name can mean.
func (l *Layers) candidates(rest string) []target {
	var out []target
	begins := func(name string) bool {
		return len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) && (len(rest) == len(name) || rest[len(name)] == '_')
	}
	eachValue(target{typ: l.schema.Type}, l.root, "", begins, func(name string, t target, have *tree) {
		switch isMap := t.typ.Kind() == reflect.Map; {
		case !isMap && len(name) == len(rest):
			out = append(out, t)
		case isMap && len(name)+1 < len(rest):
			out = append(out, l.mapKeys(t, t.typ.Elem(), have, rest[len(name)+1:])...)
		}
	})
	return out
}

// mapKeys matches the keys of a map of texts: those that exist, else a new one.
func (l *Layers) mapKeys(from target, elem reflect.Type, have *tree, rest string) []target {
	var out []target
	for _, key := range have.keys() {
		if VariableName(key) == strings.ToUpper(rest) {
			out = append(out, from.below(key, elem))
		}
	}
	if out != nil {
		return out
	}
	if l.schema.NewMapKey != nil {
		rest = l.schema.NewMapKey(from.keys, rest)
	}
	added := from.below(rest, elem)
	added.added = true
	return []target{added}
}

// existing leaves out the keys that would be added where another target exists.
func existing(all []target) []target {
	there := slices.DeleteFunc(slices.Clone(all), func(t target) bool { return t.added })
	if len(there) > 0 {
		return there
	}
	return all
}

// VariableName is a key as it stands in a variable's name.
func VariableName(key string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(key))
}

// Variable is the name of the variable that sets the value at path.
func (s Schema) Variable(path string) string {
	return s.EnvPrefix + VariableName(strings.ReplaceAll(path, `"`, ""))
}

// envHint names the variable that was probably meant, or the entries that exist of a
// table of which a missing one is named.
func (l *Layers) envHint(name, value string) string {
	rest := strings.TrimPrefix(name, l.schema.EnvPrefix)
	for _, f := range fieldsOf(l.schema.Type) {
		after, ok := strings.CutPrefix(rest, VariableName(f.name)+"_")
		if !ok || !isTable(f.typ) {
			continue
		}
		keys := l.root.child(f.name).keys()
		if !slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(after, VariableName(key)+"_") }) {
			return fmt.Sprintf("no such %s is configured; configured: %s", strings.TrimSuffix(f.name, "s"), orNone(keys))
		}
		if hint := l.adviseVariable(f, keys, after, value); hint != "" {
			return hint
		}
	}
	var all []string
	eachValue(target{typ: l.schema.Type}, l.root, "", func(string) bool { return true }, func(name string, t target, _ *tree) {
		if t.typ.Kind() != reflect.Map {
			all = append(all, name)
		}
	})
	if word, ok := suggest.Nearest(rest, all); ok {
		return "did you mean " + l.schema.EnvPrefix + word + "?"
	}
	return ""
}

// adviseVariable is the advice for a key of one entry of a table: rest is the entry's key
// and the unknown one.
func (l *Layers) adviseVariable(table field, keys []string, rest, value string) string {
	for _, name := range keys {
		key, found := strings.CutPrefix(rest, VariableName(name)+"_")
		if !found || key == "" {
			continue
		}
		at := target{keys: []string{table.name, name, strings.ToLower(key)}, typ: table.typ.Elem()}
		f, known := fieldNamed(at.typ, strings.ToLower(key))
		if known {
			at.typ = f.typ
		}
		return l.adviseSetting(at, known, value)
	}
	return ""
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
