package config

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setting is one value by its path.
type setting struct{ path, value string }

// settingsOf are the values of a line of YAML that would stand in the section at path.
func settingsOf(path, line string) (out []setting) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(line), &doc); err != nil || len(doc.Content) == 0 {
		return nil
	}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(join(path, n.Content[i].Value), n.Content[i+1])
			}
		case yaml.ScalarNode:
			out = append(out, setting{path, n.Value})
		default:
			n.Style = yaml.FlowStyle
			if text, err := yaml.Marshal(n); err == nil {
				out = append(out, setting{path, strings.TrimSpace(string(text))})
			}
		}
	}
	walk(path, doc.Content[0])
	return out
}

// settingHint is the hint for a setting that names a section, or a key that is another
// program's; "": there is none. at is what the name was resolved to, with the unknown
// key at its end; said writes one value of ours as it would have to be set.
func settingHint(at target, known bool, value string, said func(setting) string) string {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	around := target{keys: at.keys[:max(0, len(at.keys)-1)]}.path()
	var a advice
	if known {
		a.write, _ = strings.CutPrefix(sectionOf(plain(at.typ), at.path(), n), "write ")
	} else if len(at.keys) > 0 {
		a, _ = foreign(plain(at.typ), around, entry{at.keys[len(at.keys)-1], n, n})
	}
	if a.top {
		around = ""
	}
	switch {
	case a == advice{}:
		return ""
	case a.write == "":
		return a.hint()
	}
	var out []string
	for _, s := range settingsOf(around, a.write) {
		out = append(out, said(s))
	}
	if a.write = strings.Join(out, " "); a.write == "" {
		return ""
	}
	a.top = false
	return a.hint()
}

// asFlag is a setting as --set takes it, for a shell.
func asFlag(s setting) string {
	text := s.path + "=" + s.value
	if strings.ContainsAny(text, " '\"[]{}$&|;<>()*?~`\\#") {
		text = "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return "--set " + text
}

// asVariable is a setting as a variable.
func asVariable(s setting) string {
	return envPrefix + envName(strings.ReplaceAll(s.path, `"`, "")) + "=" + s.value
}

// ofService is the section of a service that a variable's name begins with, with the
// rest of the name as the key.
func (l *loader) ofService(rest string) (at target, known, ok bool) {
	for _, name := range l.root.kid("services").keys() {
		key, found := strings.CutPrefix(rest, "SERVICES_"+envName(name)+"_")
		if !found || key == "" {
			continue
		}
		key = strings.ToLower(key)
		at = target{keys: []string{"services", name, key}, typ: reflect.TypeFor[Service]()}
		if f, is := fieldNamed(at.typ, key); is {
			return target{keys: at.keys, typ: f.typ}, true, true
		}
		return at, false, true
	}
	return target{}, false, false
}
