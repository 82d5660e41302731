package layeredyaml

import (
	"reflect"
	"slices"
	"strings"
)

// Leaf is a value of a section: what leads to it are sections only.
type Leaf struct {
	Path   string
	Change string // the tag change
	index  []int
	empty  bool // an empty list is set
}

// Leaves returns the values of a section, in the order of their paths. change is that of
// fields without a tag.
func Leaves(section reflect.Type, change string) []Leaf {
	var out []Leaf
	var walk func(t reflect.Type, at Leaf)
	walk = func(t reflect.Type, at Leaf) {
		for _, f := range fieldsOf(t) {
			leaf := Leaf{Join(at.Path, f.name), at.Change, append(slices.Clone(at.index), f.index...), f.emptyCounts}
			if f.change != "" {
				leaf.Change = f.change
			}
			switch {
			case leaf.Change == "-":
			case f.typ.Kind() == reflect.Struct:
				walk(f.typ, leaf)
			default:
				out = append(out, leaf)
			}
		}
	}
	walk(section, Leaf{Change: change})
	slices.SortFunc(out, func(a, b Leaf) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Get returns the leaf's value in a section; ok is false for one that is not set.
func (l Leaf) Get(section reflect.Value) (v reflect.Value, ok bool) {
	v = fieldAt(section, l.index)
	if v.Kind() == reflect.Map || v.Kind() == reflect.Slice && !l.empty {
		return v, v.Len() > 0
	}
	return v, !v.IsZero()
}

// Differences returns the paths, behind prefix, of the leaves that differ between two
// values of a section, by what their change needs.
func Differences(was, is reflect.Value, leaves []Leaf, prefix string) map[string][]string {
	out := map[string][]string{}
	for _, l := range leaves {
		a, had := l.Get(was)
		b, has := l.Get(is)
		full := strings.TrimPrefix(prefix+"."+l.Path, ".")
		switch {
		case a.Kind() == reflect.Map:
			for _, key := range changedKeys(a, b) {
				out[l.Change] = append(out[l.Change], Join(full, key))
			}
		case had != has || had && !reflect.DeepEqual(a.Interface(), b.Interface()):
			out[l.Change] = append(out[l.Change], full)
		}
	}
	return out
}

// changedKeys returns the keys whose values two maps do not share, sorted.
func changedKeys(a, b reflect.Value) []string {
	var out []string
	for _, m := range []reflect.Value{a, b} {
		for _, key := range m.MapKeys() {
			was, is := a.MapIndex(key), b.MapIndex(key)
			if !was.IsValid() || !is.IsValid() || !reflect.DeepEqual(was.Interface(), is.Interface()) {
				out = append(out, key.String())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
