package layeredyaml

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// Origin is the place that a value was taken from.
type Origin struct {
	// File is a path, "env NAME", "flag --set PATH" or "assumed".
	File string `json:"file"`
	// Line and Column count from 1; 0 where File has no lines.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// String renders the origin as file:line, or as what File says.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// Origins maps dotted paths to where the values came from. A path that is not in it has
// its default. Sections are in it too, with where they first appear.
type Origins map[string]Origin

// tree is what one layer sets, or several merged, and where. It is a leaf, a list or a
// section.
type tree struct {
	origin   Origin
	value    reflect.Value    // a leaf's; not valid otherwise
	list     bool             // items is the value, and may be empty
	items    []*tree          // a list's
	children map[string]*tree // a section's or a map's; not nil for these
}

func newSection(o Origin) *tree { return &tree{origin: o, children: map[string]*tree{}} }

// child returns what is set below a key; nil is a tree in which nothing is set.
func (t *tree) child(key string) *tree {
	if t == nil {
		return nil
	}
	return t.children[key]
}

// keys returns the keys that are set, sorted.
func (t *tree) keys() []string {
	if t == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(t.children))
}

// merge lays over on top of t: sections and maps by key, all else replaced.
func (t *tree) merge(over *tree) *tree {
	if t == nil || t.children == nil || over.children == nil {
		return over
	}
	for key, child := range over.children {
		t.children[key] = t.children[key].merge(child)
	}
	return t
}

// into sets v, and only what t has of it.
func (t *tree) into(v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case t.value.IsValid():
		v.Set(t.value)
	case t.list:
		v.Set(reflect.MakeSlice(v.Type(), len(t.items), len(t.items)))
		for i, item := range t.items {
			item.into(v.Index(i))
		}
	case v.Kind() == reflect.Map && len(t.children) == 0:
		// Left nil: "env: {}" adds nothing to other layers.
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMapWithSize(v.Type(), len(t.children)))
		for key, child := range t.children {
			elem := reflect.New(v.Type().Elem()).Elem()
			child.into(elem)
			v.SetMapIndex(reflect.ValueOf(key), elem)
		}
	default:
		for _, f := range fieldsOf(v.Type()) {
			if child := t.children[f.name]; child != nil {
				child.into(fieldAt(v, f.index))
			}
		}
	}
}

// origins enters every value and section below path into out.
func (t *tree) origins(path string, out Origins) {
	if path != "" {
		out[path] = t.origin
	}
	for i, item := range t.items {
		item.origins(Index(path, i), out)
	}
	for key, child := range t.children {
		child.origins(Join(path, key), out)
	}
}
