package layeredyaml

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
)

// target is what a variable or a setting names: a value of the schema, as set so far.
type target struct {
	keys  []string
	value reflect.Value
}

func (l *Layers) root() target { return target{value: l.value} }

func (t target) typ() reflect.Type { return plain(t.value.Type()) }

// below is the value of a key of t, a section that has the key, or a map.
func (t target) below(key string) target {
	keys := append(slices.Clone(t.keys), key)
	if t.value.Kind() == reflect.Struct {
		f, _ := fieldNamed(t.typ(), key)
		return target{keys, fieldAt(t.value, f.index)}
	}
	value := t.value.MapIndex(reflect.ValueOf(key))
	if !value.IsValid() {
		value = reflect.Zero(t.typ().Elem())
	}
	return target{keys, value}
}

// mapKeys are the keys that a map has, sorted.
func (t target) mapKeys() []string {
	var out []string
	for _, key := range sortedKeys(t.value) {
		out = append(out, key.String())
	}
	return out
}

// Set applies "path=value" settings. Their origin is prefix, followed by the path if prefix
// ends with a space.
func (l *Layers) Set(prefix string, settings []string) {
	for _, s := range settings {
		name, value, ok := strings.Cut(s, "=")
		source := prefix
		if strings.HasSuffix(prefix, " ") {
			source += Shorten(printable.Line(name))
		}
		if !ok {
			l.checker.add(Problem{File: source, Message: "has no value", Hint: "write PATH=VALUE, as in " + l.schema.ExampleSetting})
			continue
		}
		to, known, wrong := l.resolve(name)
		path := Join("", to.keys...)
		switch {
		case wrong != "":
			l.checker.add(Problem{File: source, Path: path, Message: wrong})
		case known && (to.typ().Kind() == reflect.Struct || to.typ().Kind() == reflect.Map):
			l.checker.add(Problem{File: source, Path: path, Message: "names a section, not a value",
				Hint: l.schema.adviseSection(to.typ(), path, textValue(value))})
		default:
			if known && strings.HasSuffix(prefix, " ") {
				source = prefix + path
			}
			l.assign(source, to, value)
		}
	}
}

// assign sets one value, given as text, as a document with only this value does. Only lists
// are written as in YAML: ["a", "b"].
func (l *Layers) assign(source string, to target, text string) {
	p := Problem{File: source, Path: Join("", to.keys...)}
	n := &node{Kind: scalarNode, Tag: "!!str", Value: text}
	if !utf8.ValidString(text) {
		p.Message = Quote(p.Path, text) + " is not UTF-8"
		l.checker.add(p)
		return
	}
	if to.typ().Kind() == reflect.Slice {
		if n, _, _ = parse([]byte(text), ""); n == nil {
			p.Message, p.Hint = Quote(p.Path, redact.Arg(text))+" is not a list", `write ["a", "b"]`
			l.checker.add(p)
			return
		}
	}
	for _, key := range slices.Backward(to.keys) {
		n = &node{Kind: sectionNode, Content: []*node{{Kind: scalarNode, Tag: "!!str", Value: key}, n}}
	}
	l.decode(n, source, false)
}

// resolve finds what a dotted path names, up to the first key that is unknown: then known is
// false. wrong is what is wrong with the path; empty: nothing.
func (l *Layers) resolve(path string) (to target, known bool, wrong string) {
	to = l.root()
	for rest := path; rest != ""; {
		var key string
		switch t := to.typ(); t.Kind() {
		case reflect.Struct:
			key, rest, _ = strings.Cut(rest, ".")
			if !HasKey(t, key) {
				return target{append(to.keys, key), reflect.ValueOf("")}, false, ""
			}
		case reflect.Map:
			var ok bool
			if key, rest, ok = to.cutKey(rest); !ok {
				return to, true, "has an empty or badly quoted key"
			}
		default:
			return to, true, "is a value: it has no key " + Quote("", rest)
		}
		to = to.below(key)
	}
	return to, true, ""
}

// cutKey splits the key of a map off a dotted path. A key may have dots: the longest existing
// one wins, and a new one is written in quotes ("my.app").
func (t target) cutKey(path string) (key, rest string, ok bool) {
	if quoted, err := strconv.QuotedPrefix(path); err == nil {
		key, err = strconv.Unquote(quoted)
		rest, dotted := strings.CutPrefix(path[len(quoted):], ".")
		return key, rest, err == nil && key != "" && (dotted || rest == "")
	}
	if !isTable(t.typ()) {
		return path, "", true
	}
	key, rest, _ = strings.Cut(path, ".")
	for _, known := range t.mapKeys() {
		if tail, ok := strings.CutPrefix(path+".", known+"."); ok && len(known) > len(key) {
			key, rest = known, strings.TrimSuffix(tail, ".")
		}
	}
	return key, rest, key != ""
}

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
	values, targets := map[string]string{}, map[string][]target{}
	for _, kv := range environ {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, l.schema.EnvPrefix) {
			values[name] = value
		}
	}
	var names, links []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rest := strings.TrimPrefix(name, l.schema.EnvPrefix)
		switch {
		case values[name] == "" || l.schema.ReservedEnv != nil && l.schema.ReservedEnv(name, values[name]):
		case serviceLink().MatchString(rest):
			links = append(links, name)
		default:
			// All names are matched before any value is applied, so that the order of
			// variables cannot matter.
			names, targets[name] = append(names, name), l.candidates(rest)
		}
	}
	for _, name := range names {
		l.variable(name, values[name], targets[name])
	}
	if len(links) > 0 {
		l.checker.warn(Problem{File: "env " + links[0],
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
		l.checker.warn(Problem{File: source, Message: "is ignored: it names no setting", Hint: l.envHint(name, value)})
	case 1:
		l.assign(source, to[0], value)
	default:
		paths := make([]string, len(to))
		for i, t := range to {
			paths[i] = Join("", t.keys...)
		}
		l.checker.add(Problem{File: source, Message: "names more than one setting: " + strings.Join(paths, ", "),
			Hint: "use --set or a file"})
	}
}

// serviceLink matches the ends of the variables that Kubernetes or Docker makes for a service
// with the name of the prefix: STOKER_SERVICE_HOST, STOKER_PORT_8080_TCP_ADDR, ...
var serviceLink = lazyregexp.New(`^(PORT(_.*)?|SERVICE_HOST|SERVICE_PORT(_.*)?)$`)

// eachValue visits the values below t whose variables' names, without prefix, want accepts.
// Maps of texts are values.
func eachValue(t target, name string, want func(name string) bool, visit func(name string, t target)) {
	var keys []string
	switch {
	case t.value.Kind() == reflect.Struct:
		keys = keysOf(t.typ())
	case isTable(t.typ()):
		keys = t.mapKeys()
	default:
		visit(name, t)
	}
	for _, key := range keys {
		if next := strings.TrimPrefix(name+"_"+VariableName(key), "_"); want(next) {
			eachValue(t.below(key), next, want, visit)
		}
	}
}

// candidates returns what a variable's name can mean: values of the schema and existing keys
// of maps of texts, or else new keys.
func (l *Layers) candidates(rest string) []target {
	var existing, added []target
	begins := func(name string) bool {
		return len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) && (len(rest) == len(name) || rest[len(name)] == '_')
	}
	eachValue(l.root(), "", begins, func(name string, t target) {
		isMap := t.typ().Kind() == reflect.Map
		if !isMap && len(name) == len(rest) {
			existing = append(existing, t)
		}
		if !isMap || len(name)+1 >= len(rest) {
			return
		}
		key, found := rest[len(name)+1:], false
		for _, known := range t.mapKeys() {
			if VariableName(known) == strings.ToUpper(key) {
				existing, found = append(existing, t.below(known)), true
			}
		}
		if !found && l.schema.NewMapKey != nil {
			key = l.schema.NewMapKey(t.keys, key)
		}
		if !found {
			added = append(added, t.below(key))
		}
	})
	if existing != nil {
		return existing
	}
	return added
}

// VariableName is a key as it stands in a variable's name.
func VariableName(key string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(key))
}

// Variable is the name of the variable that sets the value at path.
func (s Schema) Variable(path string) string {
	return s.EnvPrefix + VariableName(strings.ReplaceAll(path, `"`, ""))
}

// envHint names the variable that was probably meant, or the entries that exist of a table of
// which a missing one is named.
func (l *Layers) envHint(name, value string) string {
	rest := strings.TrimPrefix(name, l.schema.EnvPrefix)
	for _, f := range fieldsOf(l.schema.Type) {
		after, ok := strings.CutPrefix(rest, VariableName(f.name)+"_")
		if !ok || !isTable(f.typ) {
			continue
		}
		table, found := l.root().below(f.name), false
		for _, key := range table.mapKeys() {
			unknown, ok := strings.CutPrefix(after, VariableName(key)+"_")
			found = found || ok
			if hint := l.keyHint(table.below(key), strings.ToLower(unknown), value); ok && hint != "" {
				return hint
			}
		}
		if !found {
			known := strings.Join(table.mapKeys(), ", ")
			return fmt.Sprintf("no such %s is configured; configured: %s", strings.TrimSuffix(f.name, "s"), cmp.Or(known, "none"))
		}
	}
	var all []string
	eachValue(l.root(), "", func(string) bool { return true }, func(name string, t target) {
		if t.typ().Kind() != reflect.Map {
			all = append(all, name)
		}
	})
	if word, ok := suggest.Nearest(rest, all); ok {
		return "did you mean " + l.schema.EnvPrefix + word + "?"
	}
	return ""
}

// keyHint is the advice for a key of a section that does not exist, or is a section itself.
func (l *Layers) keyHint(section target, key, value string) string {
	if HasKey(section.typ(), key) {
		t := section.below(key)
		return l.schema.adviseSection(t.typ(), Join("", t.keys...), textValue(value))
	}
	if a, ok := l.schema.adviseKey(section.typ(), Join("", section.keys...), key, textValue(value)); ok {
		return a.hint()
	}
	return ""
}
