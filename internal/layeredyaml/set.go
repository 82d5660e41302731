package layeredyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
)

// target is a value of the schema that a variable or a setting names.
type target struct {
	keys  []string
	typ   reflect.Type
	added bool // the last key is a map's, and no layer has it yet
}

// below is what a key of t names.
func (t target) below(key string, typ reflect.Type) target {
	return target{keys: append(slices.Clone(t.keys), key), typ: typ}
}

func (t target) path() string {
	path := ""
	for _, key := range t.keys {
		path = Join(path, key)
	}
	return path
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
			l.report.add(Problem{File: source, Message: "has no value", Hint: "write PATH=VALUE, as in " + l.schema.ExampleSetting})
			continue
		}
		to, f, ok := resolve(target{typ: l.schema.Type}, l.root, name)
		if !ok {
			if hint := l.adviseSetting(to, f.message == isSection, value); hint != "" {
				f.hint = hint
			}
			l.report.add(Problem{File: source, Path: to.path(), Message: f.message, Hint: f.hint})
			continue
		}
		if strings.HasSuffix(prefix, " ") {
			source = prefix + to.path()
		}
		l.assign(source, to, value)
	}
}

// assign sets one value, given as text. Only lists are written as in YAML: ["a", "b"].
func (l *Layers) assign(source string, to target, text string) {
	path := to.path()
	d := decoder{report: l.report, schema: l.schema, name: source}
	var leaf *tree
	switch t := plain(to.typ); {
	case !utf8.ValidString(text):
		l.report.add(Problem{File: source, Path: path, Message: Quote(path, text) + " is not UTF-8"})
	case t.Kind() == reflect.Slice:
		n, _, ok := parse([]byte(text), "")
		if !ok || n == nil {
			l.report.add(Problem{File: source, Path: path, Message: Quote(path, redact.Arg(text)) + " is not a list", Hint: `write ["a", "b"]`})
			break
		}
		leaf = d.node(n, t, path)
	default:
		v, f, ok := parseScalar(t, path, text)
		if !ok {
			l.report.add(Problem{File: source, Path: path, Message: f.message, Hint: f.hint})
			break
		}
		leaf = &tree{origin: Origin{File: source}, value: v}
	}
	if leaf == nil {
		return
	}
	for _, key := range slices.Backward(to.keys) {
		around := newSection(Origin{File: source})
		around.children[key] = leaf
		leaf = around
	}
	l.root = l.root.merge(leaf)
}

// isSection is the message for a setting that has keys below it.
const isSection = "names a section, not a value"

// resolve finds what a dotted path names, starting at from, of which have is what is set so
// far. A key of a map may have dots: the longest existing key wins, and a new one is written
// in quotes ("my.app").
func resolve(from target, have *tree, rest string) (target, valueError, bool) {
	t := plain(from.typ)
	switch {
	case rest == "" && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		return from, valueError{message: isSection}, false
	case rest == "":
		return from, valueError{}, true
	case t.Kind() == reflect.Struct:
		key, rest, _ := strings.Cut(rest, ".")
		f, ok := fieldNamed(t, key)
		if !ok {
			from.keys = append(from.keys, Shorten(key))
			return from, valueError{"unknown key", DidYouMean(key, keysOf(t))}, false
		}
		return resolve(from.below(key, f.typ), have.child(key), rest)
	case t.Kind() == reflect.Map:
		key, rest, ok := mapKey(t, have, rest)
		if !ok {
			return from, valueError{message: "has an empty or badly quoted key"}, false
		}
		return resolve(from.below(key, t.Elem()), have.child(key), rest)
	}
	return from, valueError{message: fmt.Sprintf("is a value: it has no key %s", Quote("", rest))}, false
}

// mapKey splits the key of a map off a dotted path.
func mapKey(t reflect.Type, have *tree, rest string) (key, after string, ok bool) {
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		key, err = strconv.Unquote(quoted)
		after, dotted := strings.CutPrefix(rest[len(quoted):], ".")
		return key, after, err == nil && key != "" && (dotted || after == "")
	}
	if t.Elem().Kind() != reflect.Struct {
		return rest, "", true
	}
	for _, known := range have.keys() {
		if tail, ok := strings.CutPrefix(rest, known); ok && len(known) > len(key) && (tail == "" || tail[0] == '.') {
			key, after = known, strings.TrimPrefix(tail, ".")
		}
	}
	if key == "" {
		key, after, _ = strings.Cut(rest, ".")
	}
	return key, after, key != ""
}
