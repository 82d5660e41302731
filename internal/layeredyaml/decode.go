package layeredyaml

import (
	"fmt"
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

// decoder checks one YAML document against the schema. It makes a tree of what is right,
// and reports what is wrong.
type decoder struct {
	report *report
	schema Schema
	name   string // the file, or another source
	lines  bool   // whether the source has lines
	nodes  int
	full   bool // maxNodes was passed and reported
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
	d.report.add(Problem{o.File, o.Line, o.Column, path, e.message, e.hint, ""})
}

// node decodes n as a value of type t; nil if all of it is wrong.
func (d *decoder) node(n *node, t reflect.Type, path string) *tree {
	if !d.count(n, path) {
		return nil
	}
	// An alias stands for a node, never for another alias.
	if n.Kind == aliasNode {
		n = n.Alias
	}
	switch t = plain(t); t.Kind() {
	case reflect.Struct, reflect.Map:
		return d.section(n, t, path)
	case reflect.Slice:
		return d.sequence(n, t, path)
	}
	return d.scalar(n, t, path)
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
func (d *decoder) section(n *node, t reflect.Type, path string) *tree {
	out := newSection(d.origin(n))
	if f, ok := shortOf(t); ok && n.Kind == scalarNode {
		child := d.scalar(n, plain(f.typ), path)
		if child == nil {
			return nil
		}
		out.children[f.name] = child
		return out
	}
	entries, ok := d.mapping(n, t, path)
	if !ok {
		return nil
	}
	for _, e := range entries {
		f := field{}
		if t.Kind() == reflect.Map {
			f.typ = t.Elem()
		} else if f, ok = fieldNamed(t, e.key); !ok {
			d.unknown(e, t, path)
			continue
		}
		d.addEntry(out, e, f.typ, Join(path, e.key))
	}
	return out
}

// addEntry decodes an entry into its section. Sections and lists originate from
// their key's line: their value may begin lines below it.
func (d *decoder) addEntry(out *tree, e entry, t reflect.Type, path string) {
	child := d.node(e.value, t, path)
	if child == nil {
		return
	}
	if !child.value.IsValid() {
		child.origin = d.origin(e.at)
	}
	out.children[e.key] = child
}

// unknown reports a key that is not in the schema. Later checks do not report the key that
// was probably meant as missing.
func (d *decoder) unknown(e entry, t reflect.Type, path string) {
	keys := keysOf(t)
	f := valueError{"unknown key", DidYouMean(e.key, keys)}
	if d.schema.AdviseKey != nil {
		if a, ok := d.schema.AdviseKey(t, path, e.key, valueOf(e.value)); ok {
			f.hint = a.hint()
			if key, _, _ := strings.Cut(a.Write, ":"); !a.Top {
				d.report.meant[Join(path, key)] = true
			}
		}
	}
	d.problem(e.at, Join(path, Shorten(e.key)), f)
	if meant, ok := suggest.Nearest(e.key, keys); ok {
		d.report.meant[Join(path, meant)] = true
	}
}

// mapping returns the entries of a section; none if all its lines are commented out, which
// is null in YAML.
func (d *decoder) mapping(n *node, t reflect.Type, path string) ([]entry, bool) {
	if isNull(n) {
		return nil, true
	}
	if n.Kind != sectionNode {
		hint := ""
		if d.schema.AdviseSection != nil {
			hint = d.schema.AdviseSection(t, path, valueOf(n))
		}
		d.problem(n, path, valueError{"is " + kindOf(n) + ", not a section of keys", hint})
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
	if n.Kind == aliasNode {
		n = n.Alias
	}
	switch n.Kind {
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
	if n.Kind == aliasNode {
		n = n.Alias
	}
	e := valueError{}
	switch {
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

func (d *decoder) sequence(n *node, t reflect.Type, path string) *tree {
	if isNull(n) {
		return nil
	}
	if n.Kind == scalarNode && takesItem(t) {
		child := d.scalar(n, t.Elem(), path)
		if child == nil {
			return nil
		}
		return &tree{origin: d.origin(n), list: true, items: []*tree{child}}
	}
	if n.Kind != listNode {
		f := valueError{message: "is " + kindOf(n) + ", not a list"}
		if n.Kind == scalarNode && t.Elem().Kind() == reflect.String && !secretPath(path) {
			f.hint = "write [" + AsList(n.Value) + "]"
		}
		d.problem(n, path, f)
		return nil
	}
	if !d.hasTag(n, path, "!!seq") {
		return nil
	}
	out := &tree{origin: d.origin(n), list: true}
	for i, item := range n.Content {
		child := d.node(item, t.Elem(), Index(path, i))
		if child == nil {
			// A placeholder, so that problems of later items have the right index.
			child = &tree{value: reflect.Zero(t.Elem())}
		}
		out.items = append(out.items, child)
	}
	return out
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

func (d *decoder) scalar(n *node, t reflect.Type, path string) *tree {
	e := valueError{}
	switch {
	case n.Kind == sectionNode && len(n.Content) > 0 && n.Content[0].Kind == sectionNode:
		e = valueError{"is a section of keys, not " + typeName(t),
			"a template with {{ }} that was not filled in? A value that begins with { is put in quotes"}
	case n.Kind != scalarNode:
		e.message = "is " + kindOf(n) + ", not " + typeName(t)
	case n.Style&taggedStyle != 0 && !d.hasTag(n, path, "!!str", "!!int", "!!float", "!!bool"):
		return nil
	case isNull(n):
		e = valueError{"has no value", "remove the key to keep the default"}
		if t.Kind() == reflect.String {
			e.hint = `write "" for empty text, or remove the key`
		}
	case n.Style&anyQuotes != 0 && t.Kind() != reflect.String && !isDuration(t):
		e = valueError{Quote(path, n.Value) + " is text, not " + typeName(t), "remove the quotes"}
	default:
		v, bad, ok := parseScalar(t, path, n.Value)
		if ok {
			return &tree{origin: d.origin(n), value: v}
		}
		e = bad
	}
	d.problem(n, path, e)
	return nil
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
