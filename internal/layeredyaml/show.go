package layeredyaml

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/redact"
)

// Show prints v, a value of a schema's type, as YAML in the order of the schema. With
// comments every value has its origin: "file:line", "env NAME", "flag --set PATH" or
// "default". Absent values without a default are left out. Secrets are masked: values of a
// map whose key names one, and by the field tag secret.
func Show(w io.Writer, v any, origins Origins, comments bool) error {
	p := printer{origins, comments}
	if err := encode(w, p.node(reflect.ValueOf(v), "", "", true)); err != nil {
		return fmt.Errorf("cannot print the configuration: %w", err)
	}
	return nil
}

// printer turns a configuration into YAML nodes.
type printer struct {
	origins  Origins
	comments bool
}

// Values of the tag secret, and secretByName for the texts of a map.
const (
	secretURL    = "url" // it is a URL, whose query may hold secrets
	secretFiles  = "files"
	secretByName = "name"
)

// node is the value at path; nil for one that is absent, unless it is shown always.
func (p printer) node(v reflect.Value, path, secret string, always bool) *node {
	out := &node{Kind: sectionNode}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return p.node(v.Elem(), path, secret, true)
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if child := p.node(fieldAt(v, f.index), Join(path, f.name), f.secret, false); child != nil {
				out.Content = append(out.Content, text(f.name), child)
			}
		}
	case reflect.Map:
		if secret != secretFiles {
			secret = secretByName
		}
		for _, key := range sortedKeys(v) { // a map's empty text is set, unlike a section's
			out.Content = append(out.Content, text(key.String()), p.node(v.MapIndex(key), Join(path, key.String()), secret, true))
		}
	default:
		if _, set := p.origins[path]; v.IsZero() && !set && !always {
			return nil
		}
		return p.value(v, path, secret)
	}
	if len(out.Content) == 0 && !always {
		return nil
	}
	return out
}

// value prints a leaf or a list.
func (p printer) value(v reflect.Value, path, secret string) *node {
	n := &node{Kind: scalarNode, Value: fmt.Sprint(v)}
	switch {
	case v.Kind() == reflect.String:
		n = text(p.masked(v.String(), path, secret))
	case isDuration(v.Type()):
		n.Value = ShortDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Slice && v.Len() > 0:
		return p.list(v, path)
	case v.Kind() == reflect.Slice:
		n = &node{Kind: listNode, Style: flowStyle}
	}
	n.LineComment = p.comment(path)
	return n
}

func (p printer) list(v reflect.Value, path string) *node {
	out := &node{Kind: listNode}
	texts, _ := v.Interface().([]string)
	args := redact.Args(texts)
	for i := range v.Len() {
		item, at := v.Index(i), Index(path, i)
		n := p.node(item, at, "", true)
		if len(args) > 0 { // an argument may be the secret of the one before it
			n = text(args[i])
			n.LineComment = p.comment(at)
		}
		if f := sectionTypeOf(item.Type()).short; f != nil && len(n.Content) == 2 && n.Content[0].Value == f.name {
			n = n.Content[1]
		}
		out.Content = append(out.Content, n)
	}
	return out
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// comment is the origin of the value at path; a default's list has none for its items
// either.
func (p printer) comment(path string) string {
	if !p.comments {
		return ""
	}
	if o, ok := p.origins[path]; ok {
		return "# " + o.String()
	}
	return "# default"
}

// masked is a text with its secrets hidden.
func (p printer) masked(s, path, secret string) string {
	switch {
	case secret == secretByName && s != "" && secretPath(path):
		return redact.Hidden
	case secret == secretURL:
		return redact.URL(s)
	}
	return redact.Arg(s)
}

// text is a node that parses to the same text. A text with a line break is quoted, since a
// comment cannot follow a block.
func text(s string) *node {
	n := &node{Kind: scalarNode, Tag: "!!str", Value: s}
	if strings.ContainsAny(s, "\n\r\t") {
		n.Style = doubleQuoted
	}
	return n
}

// ShortDuration is d.String without the zeros at its end: 2m, not 2m0s.
func ShortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
