package layeredyaml

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
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
	n, _ := p.node(reflect.ValueOf(v), "", "")
	if err := encode(w, n); err != nil {
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

// node returns the value at path; ok is false for one that is absent.
func (p printer) node(v reflect.Value, path, secret string) (n *node, ok bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		return p.value(v.Elem(), path, secret), true
	}
	switch v.Kind() {
	case reflect.Struct:
		return p.section(v, path)
	case reflect.Map:
		return p.table(v, path, secret)
	}
	if _, set := p.origins[path]; v.IsZero() && !set {
		return nil, false
	}
	return p.value(v, path, secret), true
}

func (p printer) section(v reflect.Value, path string) (*node, bool) {
	out := &node{Kind: sectionNode}
	for _, f := range fieldsOf(v.Type()) {
		if child, ok := p.node(fieldAt(v, f.index), Join(path, f.name), f.secret); ok {
			out.Content = append(out.Content, text(f.name), child)
		}
	}
	return out, len(out.Content) > 0
}

func (p printer) table(v reflect.Value, path, secret string) (*node, bool) {
	if secret != secretFiles {
		secret = secretByName
	}
	out := &node{Kind: sectionNode}
	for _, key := range sortedKeys(v) {
		at := Join(path, key.String())
		child, ok := p.node(v.MapIndex(key), at, secret)
		if !ok {
			// A map's empty text is set, unlike a section's.
			child = p.value(v.MapIndex(key), at, secret)
		}
		out.Content = append(out.Content, text(key.String()), child)
	}
	return out, len(out.Content) > 0
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// value prints a leaf or a list that is there, whatever it holds.
func (p printer) value(v reflect.Value, path, secret string) *node {
	var n *node
	switch v.Kind() {
	case reflect.Slice:
		return p.list(v, path)
	case reflect.Struct:
		if n, ok := p.section(v, path); ok { // an item of a list
			return n
		}
		return &node{Kind: sectionNode, Style: flowStyle}
	case reflect.String:
		n = text(p.masked(v.String(), path, secret))
	default:
		n = &node{Kind: scalarNode, Value: literal(v)}
	}
	n.LineComment = p.comment(path)
	return n
}

func (p printer) list(v reflect.Value, path string) *node {
	out := &node{Kind: listNode}
	if v.Len() == 0 {
		out.Style, out.LineComment = flowStyle, p.comment(path)
		return out
	}
	args, isText := v.Interface().([]string)
	args = redact.Args(args)
	for i := range v.Len() {
		at := Index(path, i)
		if isText {
			n := text(args[i])
			n.LineComment = p.comment(at)
			out.Content = append(out.Content, n)
			continue
		}
		out.Content = append(out.Content, p.item(v.Index(i), at))
	}
	return out
}

// item prints one of a list; a section of which only the short key is set as that.
func (p printer) item(v reflect.Value, path string) *node {
	if v.Kind() != reflect.Struct {
		return p.value(v, path, "")
	}
	n, ok := p.node(v, path, "")
	if f, short := shortOf(v.Type()); ok && short && len(n.Content) == 2 {
		return p.value(fieldAt(v, f.index), Join(path, f.name), f.secret)
	}
	return n
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

// literal formats a value that is no text.
func literal(v reflect.Value) string {
	switch {
	case isDuration(v.Type()):
		return ShortDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.Kind() == reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return strconv.FormatInt(v.Int(), 10)
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
