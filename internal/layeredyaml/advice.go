package layeredyaml

import (
	"iter"
	"strings"
)

// maxExample bounds what of a user's value a hint repeats, in bytes, and in items.
const maxExample = 60

// Value is a value as it was written, cut to what a hint can show.
type Value struct{ n node }

func valueOf(n *node) Value {
	if n.Kind == aliasNode {
		n = n.Alias
	}
	return Value{*n}
}

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

// adviseSetting is the hint for a setting that names a section or an unknown key; empty:
// there is none. at has the unknown key at its end.
func (l *Layers) adviseSetting(at target, known bool, value string) string {
	switch around := (target{keys: at.keys[:max(0, len(at.keys)-1)]}).path(); {
	case known && l.schema.AdviseSection != nil:
		return l.schema.AdviseSection(plain(at.typ), at.path(), textValue(value))
	case !known && len(at.keys) > 0 && l.schema.AdviseKey != nil:
		if a, ok := l.schema.AdviseKey(plain(at.typ), around, at.keys[len(at.keys)-1], textValue(value)); ok {
			return a.hint()
		}
	}
	return ""
}
