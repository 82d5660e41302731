package jvm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// StringList are the values that a condition accepts; in YAML one of them may stand
// alone.
type StringList []string

// ScalarIsItem lets the configuration take one value for the list.
func (StringList) ScalarIsItem() {}

// Terms are compared with a container: every key that is named must have one of
// its values. A variable or label that is not set has none.
type Terms struct {
	Env    map[string]StringList `yaml:"env" json:"env,omitempty" check:"conditions"`
	Labels map[string]StringList `yaml:"labels" json:"labels,omitempty" check:"conditions"`
	// Flavor is the name of the flavor in force.
	Flavor StringList `yaml:"flavor" json:"flavor,omitempty" check:"conditions"`
}

// When is a condition on the container: its terms hold, and those of Not do not. There is no
// expression language. The zero When holds
// everywhere.
type When struct {
	Terms `yaml:",inline"`
	// Not names at least one term, or nothing.
	Not Terms `yaml:"not" json:"not,omitzero"`
}

// IsZero reports whether no term is named.
func (t Terms) IsZero() bool { return len(t.Env) == 0 && len(t.Labels) == 0 && len(t.Flavor) == 0 }

// IsZero reports whether there is no condition.
func (w When) IsZero() bool { return w.Terms.IsZero() && w.Not.IsZero() }

// Matches reports whether the condition holds, and if not why, in words for
// people that name no value but those of the condition. flavor is empty where
// none is named.
func (w When) Matches(env, labels map[string]string, flavor string) (ok bool, why string) {
	if why := w.missed(env, labels, flavor); why != "" {
		return false, why
	}
	if !w.Not.IsZero() && w.Not.missed(env, labels, flavor) == "" {
		return false, "not where " + w.Not.String()
	}
	return true, ""
}

// missed names the first term that does not hold; empty: all do.
func (t Terms) missed(env, labels map[string]string, flavor string) string {
	for _, of := range []struct {
		kind string
		want map[string]StringList
		have map[string]string
	}{{"env", t.Env, env}, {"label", t.Labels, labels}} {
		for _, name := range slices.Sorted(maps.Keys(of.want)) {
			switch value, set := of.have[name]; {
			case !set:
				return fmt.Sprintf("%s %s is not set", of.kind, name)
			case !slices.Contains(of.want[name], value):
				return fmt.Sprintf("%s %s is not %s", of.kind, name, of.want[name])
			}
		}
	}
	switch {
	case len(t.Flavor) == 0 || slices.Contains(t.Flavor, flavor) && flavor != "":
		return ""
	case flavor == "":
		return "no flavor is named"
	}
	return fmt.Sprintf("the flavor is %s, not %s", flavor, t.Flavor)
}

// String describes the condition.
func (w When) String() string {
	text := w.Terms.String()
	if !w.Not.IsZero() {
		text = strings.TrimPrefix(text+", and not where "+w.Not.String(), ", and ")
	}
	return text
}

// String is the values with "or".
func (w StringList) String() string { return strings.Join(w, " or ") }

// String is the terms with "and".
func (t Terms) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		parts = append(parts, fmt.Sprintf("env %s is %s", name, t.Env[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		parts = append(parts, fmt.Sprintf("label %s is %s", name, t.Labels[name]))
	}
	if len(t.Flavor) > 0 {
		parts = append(parts, "the flavor is "+t.Flavor.String())
	}
	return strings.Join(parts, " and ")
}
