package layeredyaml

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/suggest"
)

// The tags of a field, besides yaml:
//
//	default  its value where it is absent; "-": SetDefaults leaves the section out
//	check    a form that a value must have: positive, notnegative, "atleast 1s",
//	         "between 0 9", "oneof a b", or one of the schema's owner; with "required" before
//	         it the value cannot be absent
//	change   what a change of it needs, in the words of the schema's owner; it holds for
//	         what is below the field too, unless a field there has a tag of its own. "-":
//	         the field is no Leaf
//	empty    "counts": an empty list is not the same as none
//	secret   "url": the text is a URL, whose query may hold secrets; "files": the keys of
//	         the map name secrets, but the texts are paths of files

// SetDefaults sets the absent values of a section, to which v points, and of the sections
// in it. It leaves maps and lists alone.
func SetDefaults(v any) { setDefaults(reflect.ValueOf(v).Elem()) }

func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		if section := f.typ.Kind() == reflect.Struct; f.noDefaults || !section && !f.def.IsValid() {
			continue
		}
		at := fieldAt(v, f.index)
		switch {
		case at.Kind() == reflect.Struct:
			setDefaults(at)
		case !at.IsZero():
		case at.Kind() == reflect.Pointer: // a new value, since a shared one would tie sections together
			at.Set(reflect.New(at.Type().Elem()))
			at.Elem().Set(f.def)
		default:
			at.Set(f.def)
		}
	}
}

// defaultOf parses the tag default. A default that does not have the field's type is a
// mistake of the program.
func defaultOf(f reflect.StructField) (v reflect.Value, none bool) {
	text, ok := f.Tag.Lookup("default")
	if !ok || text == "-" {
		return v, ok
	}
	v = reflect.New(plain(f.Type)).Elem()
	if e := setScalar(v, "", text); e != nil {
		panic("the default of " + f.Name + ": " + e.message)
	}
	return v, false
}

// CheckTags checks what is below v, the section at path, by the tags check. own gets the
// forms that are not general.
func (c *Checker) CheckTags(v any, path string, own func(form, path string, value any)) {
	c.checkTags(reflect.ValueOf(v), path, own)
}

func (c *Checker) checkTags(v reflect.Value, path string, own func(form, path string, value any)) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			value := fieldAt(v, f.index)
			if f.check == "" && !hasFields(value.Kind()) {
				continue
			}
			at := Join(path, f.name)
			if f.check != "" {
				c.form(f.check, at, value, own)
			}
			c.checkTags(value, at, own)
		}
	case reflect.Map:
		for _, key := range sortedKeys(v) {
			c.checkTags(v.MapIndex(key), Join(path, key.String()), own)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.checkTags(v.Index(i), Index(path, i), own)
		}
	}
}

// hasFields reports whether a value may contain fields with the tag check.
func hasFields(k reflect.Kind) bool {
	return k == reflect.Struct || k == reflect.Map || k == reflect.Slice
}

// form checks one value. An absent number is 0.
func (c *Checker) form(form, path string, v reflect.Value, own func(form, path string, value any)) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if rest, required := strings.CutPrefix(form, "required"); required {
		if v.IsZero() {
			c.Missing(path, "", "is missing")
			return
		}
		form = strings.TrimSpace(rest)
	}
	name, args, _ := strings.Cut(form, " ")
	switch words := strings.Fields(args); {
	case name == "positive" && (v.Int() < 0 || v.Int() == 0 && c.IsSet(path)):
		c.Bad(path, "", "%v is not above 0", v.Interface())
	case name == "notnegative" && v.Int() < 0:
		c.Bad(path, "", "%v is below 0", v.Interface())
	case name == "atleast":
		least, _ := time.ParseDuration(args)
		if d := time.Duration(v.Int()); d < 0 || d > 0 && d < least {
			c.Bad(path, "", "%s is less than %s", d, least)
		}
	case name == "between":
		low, _ := strconv.Atoi(words[0])
		high, _ := strconv.Atoi(words[1])
		if n := int(v.Int()); n < low || n > high {
			c.Bad(path, "", "%d is not between %d and %d", n, low, high)
		}
	case name == "oneof":
		if word := v.String(); !slices.Contains(words, word) && (word != "" || c.IsSet(path)) {
			c.Bad(path, wordHint(word, words), "%s is not one of %s", Quote(path, word), strings.Join(words, ", "))
		}
	case name != "" && name != "positive" && name != "notnegative" && (!v.IsZero() || c.IsSet(path)):
		own(form, path, unnamed(v))
	}
}

// unnamed is a value whose type may have a name, as a string or a list of strings.
func unnamed(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case v.Type().ConvertibleTo(reflect.TypeFor[[]string]()):
		return v.Convert(reflect.TypeFor[[]string]()).Interface()
	}
	return v.Interface()
}

// synonyms are words of other programs.
var synonyms = map[string]string{"no": "never", "off": "never", "false": "never", "true": "always", "yes": "always",
	"unless-stopped": "always", "unexpected": "on-failure", "warning": "warn", "trace": "debug", "fatal": "error"}

func wordHint(word string, known []string) string {
	if w, ok := synonyms[strings.ToLower(word)]; ok && slices.Contains(known, w) {
		return "write " + w
	}
	if w, ok := suggest.Nearest(word, known); ok {
		return `did you mean "` + w + `"?`
	}
	return ""
}

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
