package layeredyaml

import (
	"cmp"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/suggest"
)

// field is one key of a section.
type field struct {
	name  string // its YAML key
	index []int  // for fieldAt
	typ   reflect.Type
	// Its tags, see tags.go:
	short         bool // yaml ",short": its value may stand in the place of the whole section
	def           reflect.Value
	noDefaults    bool
	check, change string
	secret        string
	emptyCounts   bool
}

// sectionType caches what reflection says of a section: a thousand services have the same
// sections.
type sectionType struct {
	fields []field
	named  map[string]field
	short  *field // the key whose value may stand for the section; nil: none
}

// sectionTypes has the sectionType of every type used so far.
var sectionTypes sync.Map

func sectionTypeOf(t reflect.Type) *sectionType {
	if s, known := sectionTypes.Load(t); known {
		return s.(*sectionType)
	}
	s := &sectionType{fields: readFields(t), named: map[string]field{}}
	for k, f := range s.fields {
		s.named[f.name] = f
		if f.short {
			s.short = &s.fields[k]
		}
	}
	sectionTypes.Store(t, s)
	return s
}

// fieldsOf returns the keys of a section in the order of the struct, with those of inlined
// structs. It must not be changed.
func fieldsOf(t reflect.Type) []field { return sectionTypeOf(t).fields }

// readFields returns the keys of a struct; none of another type.
func readFields(t reflect.Type) []field {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if flags == "inline" {
			if keys, ok := reflect.Zero(f.Type).Interface().(interface{ Keys() []string }); ok {
				for k, key := range keys.Keys() { // an array
					out = append(out, field{name: key, index: []int{i, k}, typ: f.Type.Elem()})
				}
				continue
			}
			for _, in := range readFields(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
			continue
		}
		if name != "" && name != "-" {
			def, none := defaultOf(f)
			out = append(out, field{name, []int{i}, f.Type, flags == "short", def, none, f.Tag.Get("check"), f.Tag.Get("change"),
				f.Tag.Get("secret"), f.Tag.Get("empty") == "counts"})
		}
	}
	return out
}

// fieldAt is the value of a field in a struct, or in an array that is inlined in one.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	for _, k := range index {
		if v.Kind() == reflect.Array {
			v = v.Index(k)
		} else {
			v = v.Field(k)
		}
	}
	return v
}

func fieldNamed(t reflect.Type, name string) (field, bool) {
	f, ok := sectionTypeOf(t).named[name]
	return f, ok
}

// HasKey reports whether a section of type t has a key.
func HasKey(t reflect.Type, key string) bool {
	_, ok := fieldNamed(t, key)
	return ok
}

func keysOf(t reflect.Type) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		out = append(out, f.name)
	}
	return out
}

// plain returns what a pointer points at; pointers mean "may be absent" here.
func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// takesItem reports whether a list may be written as its only item: its type has the
// method ScalarIsItem.
func takesItem(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[interface{ ScalarIsItem() }]())
}

// isTable reports whether a map has sections of its own.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct
}

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

var kindNames = map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false", reflect.Int: "a whole number",
	reflect.Float64: "a number", reflect.Slice: "a list"}

// typeName describes a value of type t.
func typeName(t reflect.Type) string {
	if isDuration(t) {
		return "a duration such as 30s"
	}
	return cmp.Or(kindNames[t.Kind()], "a section of keys")
}

// DidYouMean is the nearest known word as a hint; without a near word it lists a few.
func DidYouMean(got string, known []string) string {
	if word, ok := suggest.Nearest(got, known); ok {
		return `did you mean "` + word + `"?`
	}
	if len(known) == 0 || len(known) > 20 {
		return ""
	}
	return "known: " + strings.Join(known, ", ")
}
