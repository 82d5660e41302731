package layeredyaml

import (
	"iter"
	"reflect"
	"strings"
)

// maxExample bounds what of a user's value a hint repeats, in bytes, and in items.
const maxExample = 60

// Value is a value as it was written, cut to what a hint can show.
type Value struct{ n node }

func valueOf(n *node) Value { return Value{*resolved(n)} }

func textValue(text string) Value { return Value{node{Kind: scalarNode, Value: text}} }

// IsText reports whether it is a text, a number or the like.
func (v Value) IsText() bool { return v.n.Kind == scalarNode }

// IsPlain reports whether it is a text without quotes.
func (v Value) IsPlain() bool { return v.IsText() && v.n.Style == 0 }

// IsList reports whether it is a list.
func (v Value) IsList() bool { return v.n.Kind == listNode }

// Text is that of a scalar; empty for others.
func (v Value) Text() string {
	return strings.ToValidUTF8(v.n.Value[:min(len(v.n.Value), 4*maxExample)], "")
}

// Items are those of a list.
func (v Value) Items() []Value {
	if !v.IsList() {
		return nil
	}
	var out []Value
	for _, item := range v.n.Content[:min(len(v.n.Content), maxExample)] {
		out = append(out, valueOf(item))
	}
	return out
}

// Pairs are the keys and values of a section.
func (v Value) Pairs() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.n.Kind != sectionNode {
			return
		}
		pairs := v.n.Content[:min(len(v.n.Content), maxExample)]
		for i := 0; i+1 < len(pairs); i += 2 {
			if !yield(valueOf(pairs[i]).Text(), valueOf(pairs[i+1])) {
				return
			}
		}
	}
}

// Advice is what to write in the place of a key that does not exist.
type Advice struct {
	Write string // a line of YAML; empty: nothing takes the key's place
	Top   bool   // the line stands at the top of the file, not in the key's place
	Note  string // what else there is to know; may be empty
}

func (a Advice) hint() string {
	out := "write " + a.Write
	switch {
	case a.Write == "":
		out = "remove it"
	case a.Top:
		out = "write at the top of the file " + a.Write
	}
	if a.Note != "" {
		out += "; " + a.Note
	}
	return out
}

// adviseKey calls AdviseKey if there is one.
func (s Schema) adviseKey(t reflect.Type, path, key string, v Value) (a Advice, ok bool) {
	if s.AdviseKey != nil {
		a, ok = s.AdviseKey(t, path, key, v)
	}
	return a, ok
}

// adviseSection calls AdviseSection if there is one.
func (s Schema) adviseSection(t reflect.Type, path string, v Value) string {
	if s.AdviseSection == nil {
		return ""
	}
	return s.AdviseSection(t, path, v)
}
