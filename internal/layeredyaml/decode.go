package layeredyaml

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
)

// Bounds on what one file may expand to through aliases and merge keys.
const (
	maxNodes      = 100_000
	maxMergeDepth = 16
)

// decoder checks one YAML document against the schema. It lays what is right over the value
// that earlier layers have set, and reports what is wrong.
type decoder struct {
	checker *Checker
	schema  Schema
	name    string // the file, or another source
	lines   bool   // whether the source has lines
	nodes   int
	full    bool // maxNodes was passed and reported
}

// entry is one key of a mapping with its value.
type entry struct {
	key       string
	at, value *node
}

func (d *decoder) origin(n *node) Origin {
	if !d.lines {
		return Origin{File: d.name}
	}
	return Origin{d.name, n.Line, n.Column}
}

func (d *decoder) problem(n *node, path string, e valueError) {
	o := d.origin(n)
	d.checker.add(Problem{o.File, o.Line, o.Column, path, e.message, e.hint, ""})
}

// node decodes n into v, and returns false if all of it is wrong. at is the key of n, where
// a section or list originates: its value may begin lines below.
func (d *decoder) node(n, at *node, v reflect.Value, path string) bool {
	if !d.count(n, path) {
		return false
	}
	n = resolved(n)
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		ok := d.section(n, v, path)
		if absent := d.schema.NullIsAbsent && isNull(n); ok && path != "" && !absent {
			d.setOrigin(path, at)
		}
		return ok
	case reflect.Slice:
		return d.list(n, at, v, path)
	}
	return d.leaf(n, v, path, path)
}

// resolved is what an alias stands for: a node, never another alias.
func resolved(n *node) *node {
	if n.Kind == aliasNode {
		return n.Alias
	}
	return n
}

// count is false once the document has expanded to more than maxNodes.
func (d *decoder) count(n *node, path string) bool {
	d.nodes++
	if d.nodes > maxNodes && !d.full {
		d.full = true
		d.problem(n, path, valueError{fmt.Sprintf("the file expands to more than %d values", maxNodes), "use fewer aliases"})
	}
	return !d.full
}

// section decodes a struct or a map.
func (d *decoder) section(n *node, v reflect.Value, path string) bool {
	if f := sectionTypeOf(v.Type()).short; f != nil && n.Kind == scalarNode {
		return d.leaf(n, fieldAt(v, f.index), path, Join(path, f.name))
	}
	entries, ok := d.mapping(n, v.Type(), path)
	if !ok {
		return false
	}
	for _, e := range entries {
		if v.Kind() == reflect.Map {
			d.mapEntry(e, v, Join(path, e.key))
		} else if f, ok := fieldNamed(v.Type(), e.key); ok {
			d.node(e.value, e.at, fieldAt(v, f.index), Join(path, e.key))
		} else if !d.takeKey(e, v, path) {
			d.unknown(e, v.Type(), path)
		}
	}
	return true
}

// keyTaker is a section that takes keys which its type does not have. What is below such a key is
// not checked.
type keyTaker interface {
	TakeKey(key string, v Value) bool
}

// takeKey offers a key that is not in the schema to its section.
func (d *decoder) takeKey(e entry, v reflect.Value, path string) bool {
	section, ok := v.Addr().Interface().(keyTaker)
	if !ok || !section.TakeKey(e.key, valueOf(e.value)) {
		return false
	}
	d.checker.origins[Join(path, e.key)] = d.origin(e.at)
	return true
}

// mapEntry decodes an entry of a map, over what the map has of it.
func (d *decoder) mapEntry(e entry, v reflect.Value, path string) {
	key, elem := reflect.ValueOf(e.key), reflect.New(v.Type().Elem()).Elem()
	if old := v.MapIndex(key); old.IsValid() {
		elem.Set(old)
	}
	if !d.node(e.value, e.at, elem, path) {
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	v.SetMapIndex(key, elem)
	d.setOrigin(path, e.at) // the key is there, even without a value
}

// setOrigin keeps an origin of an earlier layer.
func (d *decoder) setOrigin(path string, at *node) {
	if _, has := d.checker.origins[path]; !has {
		d.checker.origins[path] = d.origin(at)
	}
}

// unknown reports a key that is not in the schema. Later checks do not report the key that
// was probably meant as missing.
func (d *decoder) unknown(e entry, t reflect.Type, path string) {
	if len(d.checker.problems) >= maxProblems { // it is not shown, and a suggestion takes long
		d.problem(e.at, Join(path, Shorten(e.key)), valueError{message: "unknown key"})
		return
	}
	keys := keysOf(t)
	f := valueError{"unknown key", DidYouMean(e.key, keys)}
	if a, ok := d.schema.adviseKey(t, path, e.key, valueOf(e.value)); ok {
		f.hint = a.hint()
		if key, _, _ := strings.Cut(a.Write, ":"); !a.Top {
			d.checker.meant[Join(path, key)] = true
		}
	}
	d.problem(e.at, Join(path, Shorten(e.key)), f)
	if meant, ok := suggest.Nearest(e.key, keys); ok {
		d.checker.meant[Join(path, meant)] = true
	}
}

// mapping returns the entries of a section; none if all its lines are commented out, which
// is null in YAML.
func (d *decoder) mapping(n *node, t reflect.Type, path string) ([]entry, bool) {
	if isNull(n) {
		return nil, true
	}
	if n.Kind != sectionNode {
		d.problem(n, path, valueError{"is " + kindOf(n) + ", not a section of keys", d.schema.adviseSection(t, path, valueOf(n))})
		return nil, false
	}
	return d.entries(n, path, 0), d.hasTag(n, path, "!!map")
}

// entries returns the keys of a mapping, its own before those merged in by
// "<<", which they override. depth bounds merges of merges.
func (d *decoder) entries(n *node, path string, depth int) []entry {
	var own, merged []entry
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, value := n.Content[i], n.Content[i+1]
		if !d.count(at, path) {
			return nil
		}
		if at.Kind == scalarNode && at.ShortTag() == "!!merge" {
			merged = append(merged, d.merged(value, path, depth+1)...)
			continue
		}
		key, ok := d.key(at, path)
		if !ok {
			continue
		}
		if line, dup := first[key]; dup {
			// It is reported where the mapping is defined, not where it is merged.
			if depth == 0 {
				d.problem(at, Join(path, Shorten(key)), valueError{fmt.Sprintf("is set twice, first on line %d", line), "remove one of the two"})
			}
			continue
		}
		first[key] = at.Line
		own = append(own, entry{key, at, value})
	}
	for _, e := range merged {
		if _, has := first[e.key]; !has {
			first[e.key] = e.at.Line
			own = append(own, e)
		}
	}
	return own
}

// merged returns the entries that "<<: value" brings.
func (d *decoder) merged(n *node, path string, depth int) []entry {
	if !d.count(n, path) {
		return nil
	}
	if depth > maxMergeDepth {
		d.problem(n, path, valueError{message: fmt.Sprintf("merge keys are nested more than %d deep", maxMergeDepth)})
		return nil
	}
	switch n = resolved(n); n.Kind {
	case sectionNode:
		return d.entries(n, path, depth)
	case listNode:
		var out []entry
		for _, item := range n.Content {
			out = append(out, d.merged(item, path, depth+1)...)
		}
		return out
	}
	d.problem(n, path, valueError{"<< merges " + kindOf(n) + ", not a section", "write <<: *anchor"})
	return nil
}

func (d *decoder) key(n *node, path string) (string, bool) {
	e := valueError{}
	switch n = resolved(n); {
	case n.Kind != scalarNode:
		e.message = "a key is " + kindOf(n) + ", not text"
	case isNull(n) || n.Value == "":
		e.message = "a key is empty"
	case strings.ContainsRune(n.Value, 0) || !utf8.ValidString(n.Value):
		e.message = "the key " + Quote("", n.Value) + " is not text"
	default:
		return n.Value, true
	}
	d.problem(n, path, e)
	return "", false
}

// list decodes a list, which replaces that of earlier layers.
func (d *decoder) list(n, at *node, v reflect.Value, path string) bool {
	if isNull(n) {
		return false
	}
	items, item := n.Content, v.Type().Elem()
	switch {
	case n.Kind == scalarNode && takesItem(v.Type()):
		items = []*node{n}
	case n.Kind != listNode:
		e := valueError{message: "is " + kindOf(n) + ", not a list"}
		if n.Kind == scalarNode && item.Kind() == reflect.String && !secretPath(path) {
			e.hint = "write [" + AsList(n.Value) + "]"
		}
		d.problem(n, path, e)
		return false
	case !d.hasTag(n, path, "!!seq"):
		return false
	}
	if _, had := d.checker.origins[path]; had {
		maps.DeleteFunc(d.checker.origins, func(other string, _ Origin) bool { return strings.HasPrefix(other, path+"[") })
	}
	d.checker.origins[path] = d.origin(at)
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	wrong := false
	for i, n := range items {
		wrong = !d.node(n, n, v.Index(i), Index(path, i))
	}
	return n.Kind == listNode || !wrong
}

// AsList renders a command line as a list: its words, or a call of a shell where it has
// characters that only a shell interprets.
func AsList(line string) string {
	words := redact.Args(strings.Fields(line))
	if len(words) == 0 || len(line) > 2*maxExample {
		return `"PROGRAM", "ARGUMENT"`
	}
	if strings.ContainsAny(line, "|&;<>()$`\"'*?~\\") {
		line = strings.Join(words, " ")
		if !strings.ContainsAny(line, "|&;") {
			line = "exec " + line
		}
		words = []string{"sh", "-c", line}
	}
	return QuoteList(words)
}

// hasTag refuses a value of another tag.
func (d *decoder) hasTag(n *node, path string, tags ...string) bool {
	tag := n.ShortTag()
	if slices.Contains(tags, tag) {
		return true
	}
	d.problem(n, path, valueError{message: "has the tag " + Quote("", tag) + ", which is not supported"})
	return false
}

// leaf decodes a text, a number or the like. own is the path of v: with a short form n is in
// the place of the section around it, at path.
func (d *decoder) leaf(n *node, v reflect.Value, path, own string) bool {
	t := plain(v.Type())
	var e *valueError
	switch {
	case d.schema.NullIsAbsent && isNull(n) && !strings.HasSuffix(path, "]"):
		return false
	case n.Kind == sectionNode && len(n.Content) > 0 && n.Content[0].Kind == sectionNode:
		e = &valueError{"is a section of keys, not " + typeName(t),
			"a template with {{ }} that was not filled in? A value that begins with { is put in quotes"}
	case n.Kind != scalarNode:
		e = &valueError{message: "is " + kindOf(n) + ", not " + typeName(t)}
	case n.Style&taggedStyle != 0 && !d.hasTag(n, path, "!!str", "!!int", "!!float", "!!bool"):
		return false
	case isNull(n) && t.Kind() == reflect.String:
		e = &valueError{"has no value", `write "" for empty text, or remove the key`}
	case isNull(n):
		e = &valueError{"has no value", "remove the key to keep the default"}
	case n.Style&anyQuotes != 0 && t.Kind() != reflect.String && !isDuration(t):
		e = &valueError{Quote(path, n.Value) + " is text, not " + typeName(t), "remove the quotes"}
	default:
		e = setScalar(v, path, n.Value)
	}
	if e != nil {
		d.problem(n, path, *e)
		return false
	}
	d.checker.origins[own] = d.origin(n)
	return true
}

func isNull(n *node) bool { return n.Kind == scalarNode && n.ShortTag() == "!!null" }

// kindOf describes the kind of a node.
func kindOf(n *node) string {
	switch n.Kind {
	case sectionNode:
		return "a section of keys"
	case listNode:
		return "a list"
	case scalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "empty"
		case "!!int", "!!float":
			return "a number"
		case "!!bool":
			return "true or false"
		}
	}
	return "text"
}
