package config

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
	"go.yaml.in/yaml/v3"
)

// Show prints the effective configuration as YAML, in the order of the schema.
// With origin every value has a comment that says where it came from:
// "file:line", "env NAME", "flag --set PATH", or "default". What has neither a
// value nor a default is left out, and so is the live of a service at which
// nobody looks; what looks like a secret is shown as ***.
func (l *Loaded) Show(w io.Writer, origin bool) error {
	p := printer{l.Origins, origin}
	n, _ := p.node(reflect.ValueOf(l.shown()), "")
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return fmt.Errorf("cannot print the configuration: %w", err)
	}
	return enc.Close()
}

// shown is the configuration without defaults that would mislead: nothing is
// restarted without a liveness probe, or where there is no JVM.
func (l *Loaded) shown() Config {
	cfg := l.Config
	cfg.Services = maps.Clone(cfg.Services)
	if _, set := l.Origins["jvm"]; !set && cfg.JVM.Apply == jvm.ApplyReport && !slices.ContainsFunc(slices.Collect(maps.Values(cfg.Services)), Service.hasJVM) {
		cfg.JVM.Apply = ""
	}
	for name, s := range cfg.Services {
		if _, set := l.Origins[join("services", name)+".live"]; !set && !s.Live.IsSet() {
			s.Live = supervisor.Live{}
			cfg.Services[name] = s
		}
	}
	return cfg
}

// printer turns a configuration into YAML nodes.
type printer struct {
	origins  Origins
	comments bool
}

// node returns the value at path; ok is false for one that is absent.
func (p printer) node(v reflect.Value, path string) (n *yaml.Node, ok bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		return p.value(v.Elem(), path), true
	}
	switch v.Kind() {
	case reflect.Struct:
		return p.section(v, path)
	case reflect.Map:
		return p.table(v, path)
	}
	if _, set := p.origins[path]; v.IsZero() && !set {
		return nil, false
	}
	return p.value(v, path), true
}

func (p printer) section(v reflect.Value, path string) (*yaml.Node, bool) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		if kid, ok := p.node(fieldAt(v, f.index), join(path, f.name)); ok {
			out.Content = append(out.Content, text(f.name), kid)
		}
	}
	return out, len(out.Content) > 0
}

func (p printer) table(v reflect.Value, path string) (*yaml.Node, bool) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		at := join(path, key.String())
		kid, ok := p.node(v.MapIndex(key), at)
		if !ok {
			// A map's empty text is there, unlike a section's.
			kid = p.value(v.MapIndex(key), at)
		}
		out.Content = append(out.Content, text(key.String()), kid)
	}
	return out, len(out.Content) > 0
}

// value prints a leaf or a list that is there, whatever it holds.
func (p printer) value(v reflect.Value, path string) *yaml.Node {
	var n *yaml.Node
	switch v.Kind() {
	case reflect.Slice:
		return p.list(v, path)
	case reflect.Struct:
		if n, ok := p.section(v, path); ok { // an item of a list
			return n
		}
		return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	case reflect.String:
		n = text(shown(path, v.String()))
	default:
		n = &yaml.Node{Kind: yaml.ScalarNode, Value: literal(v)}
	}
	n.LineComment = p.comment(path)
	return n
}

func (p printer) list(v reflect.Value, path string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	if v.Len() == 0 {
		out.Style, out.LineComment = yaml.FlowStyle, p.comment(path)
		return out
	}
	args, isText := v.Interface().([]string)
	args = redact.Args(args)
	for i := range v.Len() {
		at := index(path, i)
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
func (p printer) item(v reflect.Value, path string) *yaml.Node {
	if v.Kind() != reflect.Struct {
		return p.value(v, path)
	}
	n, ok := p.node(v, path)
	if f, short := shortOf(v.Type()); ok && short && len(n.Content) == 2 {
		return p.value(fieldAt(v, f.index), join(path, f.name))
	}
	return n
}

// comment is the origin of the value at path; a default's list has none for
// its items either.
func (p printer) comment(path string) string {
	if !p.comments {
		return ""
	}
	if o, ok := p.origins[path]; ok {
		return "# " + o.String()
	}
	return "# default"
}

// shown is a text with its secrets hidden.
func shown(path, s string) string {
	if s != "" && strings.Contains(path, ".") && isMapKey(path) && secretPath(path) {
		return redact.Hidden
	}
	if isURL(path) {
		return redact.URL(s)
	}
	return redact.Arg(s)
}

// isURL reports whether a text is the URL of a source, of which more is hidden.
func isURL(path string) bool { return strings.HasPrefix(path, "jvm.") && lastKey(path) == "url" }

// isMapKey reports whether path is a user's own key, not one of the schema: the
// schema's own keys, such as token_file, name places and not secrets.
func isMapKey(path string) bool {
	return slices.ContainsFunc(ancestors(path), func(a string) bool {
		last := lastKey(a)
		return slices.Contains([]string{"env", "labels", "headers", "set"}, last)
	})
}

// text is a node that reads back as the same text. Anything with a line break
// is quoted, since a comment has no place behind a block.
func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsAny(s, "\n\r\t") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// literal prints what is not text.
func literal(v reflect.Value) string {
	switch {
	case isDuration(v.Type()):
		return shortDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.Kind() == reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return strconv.FormatInt(v.Int(), 10)
}

// shortDuration is d.String without the zeros at its end: 2m, not 2m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
