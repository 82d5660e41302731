package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Action is what a changed configuration asks for.
type Action string

const (
	// ActionAdd: the service is new.
	ActionAdd Action = "add"
	// ActionRemove: the service is not configured any more.
	ActionRemove Action = "remove"
	// ActionRestart: the service's process was started with what is no longer
	// configured.
	ActionRestart Action = "restart"
	// ActionUpdate: the values are taken over while everything runs.
	ActionUpdate Action = "update"
	// ActionRenew: the values need a new container, and are not taken over.
	ActionRenew Action = "renew"
)

// Change is one consequence of a new configuration.
type Change struct {
	// Service is its name; empty for what concerns the whole container.
	Service string `json:"service,omitempty"`
	Action  Action `json:"action"`
	// Fields are the paths of what changed ("services.web.env.TZ"), never the
	// values. Those that ask for a restart come before those that do not. None
	// for a service that was added or removed.
	Fields []string `json:"fields,omitempty"`
}

// maxShownFields bounds what String prints.
const maxShownFields = 5

// String says it for people: "restart web (services.web.env.TZ changed)".
func (c Change) String() string {
	fields := strings.Join(c.Fields[:min(len(c.Fields), maxShownFields)], ", ")
	if more := len(c.Fields) - maxShownFields; more > 0 {
		fields += fmt.Sprintf(" and %d more", more)
	}
	switch {
	case c.Action == ActionRenew:
		return "nothing until there is a new container (" + fields + " changed)"
	case c.Service == "":
		return fmt.Sprintf("%s the container (%s changed)", c.Action, fields)
	case len(c.Fields) == 0:
		return fmt.Sprintf("%s %s", c.Action, c.Service)
	}
	return fmt.Sprintf("%s %s (%s changed)", c.Action, c.Service, fields)
}

// Diff returns what follows when the configuration old becomes next: first what
// concerns the container, then the services by name, at most one Change for
// each. It returns none when nothing changed. Either may lack its defaults.
func Diff(old, next Config) []Change {
	old, next = WithDefaults(old), WithDefaults(next)
	var out []Change
	was, is := reflect.ValueOf(old), reflect.ValueOf(next)
	changed := differences(was, is, partsOf(was.Type(), containerEffects()), "")
	for _, c := range []Change{{Action: ActionUpdate, Fields: changed[atOnce]}, {Action: ActionRenew, Fields: changed[newContainer]}} {
		if len(c.Fields) > 0 {
			out = append(out, c)
		}
	}
	options := differences(was, is, partsOf(was.Type(), jvmEffects()), "")[newProcess]
	parts := partsOf(reflect.TypeFor[Service](), serviceEffects())
	all := maps.Clone(old.Services)
	if all == nil {
		all = map[string]Service{}
	}
	maps.Copy(all, next.Services)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		before, had := old.Services[name]
		after, has := next.Services[name]
		switch {
		case !had:
			out = append(out, Change{Service: name, Action: ActionAdd})
		case !has:
			out = append(out, Change{Service: name, Action: ActionRemove})
		default:
			if c, ok := serviceChange(name, before, after, parts, options); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// serviceChange compares one service; options are the changed paths of the JVM
// options.
func serviceChange(name string, before, after Service, parts []part, options []string) (Change, bool) {
	var changed map[effect][]string
	if !reflect.DeepEqual(before, after) { // as a rule nearly all are the same
		changed = differences(reflect.ValueOf(before), reflect.ValueOf(after), parts, join("services", name))
	}
	causes := changed[newProcess]
	if after.hasJVM() {
		causes = append(causes, options...)
	}
	c := Change{Service: name, Action: ActionUpdate, Fields: append(causes, changed[atOnce]...)}
	if len(causes) > 0 {
		c.Action = ActionRestart
	}
	return c, len(c.Fields) > 0
}

func (s Service) hasJVM() bool { return s.Kind == KindJava || s.Kind == KindTomcat }

// part is a value that is compared: its path in the schema, what a change of it needs,
// and where it is in the struct.
type part struct {
	path   string
	effect effect
	index  []int
}

// partsOf finds the values of a table in a section, in the order of their paths, which
// lead through sections only. It takes reflection a while, so it is done once for all
// services.
func partsOf(section reflect.Type, table map[string]effect) []part {
	var out []part
	for _, path := range slices.Sorted(maps.Keys(table)) {
		p, t := part{path: path, effect: table[path]}, section
		for key := range strings.SplitSeq(path, ".") {
			f, _ := fieldNamed(t, key) // the test of the tables keeps it from being missing
			p.index, t = append(p.index, f.index...), f.typ
		}
		out = append(out, p)
	}
	return out
}

// differences returns the paths of the values that differ, by what they need.
func differences(was, is reflect.Value, parts []part, prefix string) map[effect][]string {
	out := map[effect][]string{}
	for _, p := range parts {
		a, b := fieldAt(was, p.index), fieldAt(is, p.index)
		full := strings.TrimPrefix(prefix+"."+p.path, ".")
		if a.Kind() == reflect.Map {
			for _, key := range changedKeys(a, b) {
				out[p.effect] = append(out[p.effect], join(full, key))
			}
			continue
		}
		if absent(p.path, a) != absent(p.path, b) || !absent(p.path, a) && !reflect.DeepEqual(a.Interface(), b.Interface()) {
			out[p.effect] = append(out[p.effect], full)
		}
	}
	return out
}

// absent says whether a value asks for nothing. An empty list does not, but for
// groups, where it asks for having none.
func absent(path string, v reflect.Value) bool {
	if v.Kind() == reflect.Map || v.Kind() == reflect.Slice && path != "groups" {
		return v.Len() == 0
	}
	return v.IsZero()
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
