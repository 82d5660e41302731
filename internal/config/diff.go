package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// Action is what a change needs.
type Action string

const (
	// ActionAdd: the service is new.
	ActionAdd Action = "add"
	// ActionRemove: the service is no longer configured.
	ActionRemove Action = "remove"
	// ActionRestart: the service's process has values that are no longer configured.
	ActionRestart Action = "restart"
	// ActionUpdate: the values are applied while everything runs.
	ActionUpdate Action = "update"
	// ActionRenew: the values need a new container, and are not applied.
	ActionRenew Action = "renew"
)

// Change is one consequence of a new configuration.
type Change struct {
	// Service is its name; empty for a change of the container.
	Service string `json:"service,omitempty"`
	Action  Action `json:"action"`
	// Fields are the paths of the changed values ("services.web.env.TZ"). Those that need a
	// restart come first. None for a service that was added or removed.
	Fields []string `json:"fields,omitempty"`
}

// maxShownFields bounds what String prints.
const maxShownFields = 5

// String is the change as "restart web (services.web.env.TZ changed)".
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

// Diff returns the changes from old to next: first those of the container, then those of
// the services by name, at most one for each. Neither needs its defaults.
func Diff(old, next Config) []Change {
	old, next = WithDefaults(old), WithDefaults(next)
	var out []Change
	was, is := reflect.ValueOf(old), reflect.ValueOf(next)
	changed := layeredyaml.Differences(was, is, leavesOf[Config](), "")
	for _, c := range []Change{{Action: ActionUpdate, Fields: changed[changeLive]}, {Action: ActionRenew, Fields: changed[changeContainer]}} {
		if len(c.Fields) > 0 {
			out = append(out, c)
		}
	}
	leaves := leavesOf[Service]()
	names := slices.AppendSeq(slices.Collect(maps.Keys(old.Services)), maps.Keys(next.Services))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		before, had := old.Services[name]
		after, has := next.Services[name]
		switch {
		case !had:
			out = append(out, Change{Service: name, Action: ActionAdd})
		case !has:
			out = append(out, Change{Service: name, Action: ActionRemove})
		default:
			if c, ok := serviceChange(name, before, after, leaves, changed[changeJVM]); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// Postpone returns changes of which those below a section need a new container: what it configures was not started with this one.
func Postpone(changes []Change, section string) []Change {
	var out []Change
	renew := Change{Action: ActionRenew}
	for _, c := range changes {
		if c.Service == "" {
			below := func(field string) bool { return c.Action == ActionRenew || strings.HasPrefix(field, section+".") }
			for _, field := range c.Fields {
				if below(field) {
					renew.Fields = append(renew.Fields, field)
				}
			}
			c.Fields = slices.DeleteFunc(slices.Clone(c.Fields), below)
		}
		if c.Service != "" || len(c.Fields) > 0 {
			out = append(out, c)
		}
	}
	if len(renew.Fields) > 0 {
		out = slices.Insert(out, 0, renew)
	}
	return out
}

// serviceChange compares one service; options are the changed paths of the JVM
// options.
func serviceChange(name string, before, after Service, leaves []layeredyaml.Leaf, options []string) (Change, bool) {
	var changed map[string][]string
	if !reflect.DeepEqual(before, after) { // most are equal
		changed = layeredyaml.Differences(reflect.ValueOf(before), reflect.ValueOf(after), leaves, layeredyaml.Join("services", name))
	}
	causes := changed[changeRestart]
	if after.hasJVM() {
		causes = append(causes, options...)
	}
	c := Change{Service: name, Action: ActionUpdate, Fields: append(causes, changed[changeLive]...)}
	if len(causes) > 0 {
		c.Action = ActionRestart
	}
	return c, len(c.Fields) > 0
}

func (s Service) hasJVM() bool { return s.Kind == KindJava || s.Kind == KindTomcat }

// What a change of a value needs: the tag change of its field, or of a section around it.
const (
	changeLive      = "live"      // none: it is applied while everything runs; default outside of services
	changeRestart   = "restart"   // a restart of the service; default of what belongs to a service
	changeJVM       = "jvm"       // a restart of the services of kind java and tomcat
	changeContainer = "container" // a new container
)

// leavesOf returns the values of Config, without its services, or of Service.
func leavesOf[T Config | Service]() []layeredyaml.Leaf {
	section := reflect.TypeFor[T]()
	if section == reflect.TypeFor[Service]() {
		return layeredyaml.Leaves(section, changeRestart)
	}
	return layeredyaml.Leaves(section, changeLive)
}

// Fingerprints returns a hash of each service's values that need a restart: it is equal for
// two configurations if and only if Diff needs no restart between them. Values that a later
// version adds, and that are absent, do not change it. cfg does not need its defaults.
//
// The hash covers secrets of the configuration too: it must not be shown.
func Fingerprints(cfg Config) map[string]string {
	cfg = WithDefaults(cfg)
	own := leavesOf[Service]()
	jvm := setLines(leavesOf[Config](), changeJVM, reflect.ValueOf(cfg))
	out := make(map[string]string, len(cfg.Services))
	for name, s := range cfg.Services {
		lines := setLines(own, changeRestart, reflect.ValueOf(s))
		if s.hasJVM() {
			lines = append(lines, jvm...)
		}
		slices.Sort(lines)
		h := sha256.New()
		for _, line := range lines {
			h.Write([]byte(line))
		}
		out[name] = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return out
}

// setLines returns one line for each value that is set and needs change.
func setLines(leaves []layeredyaml.Leaf, change string, section reflect.Value) []string {
	var out []string
	for _, l := range leaves {
		v, set := l.Get(section)
		if l.Change != change || !set {
			continue
		}
		// JSON sorts the keys of maps, and keeps a value on one line.
		text, err := json.Marshal(v.Interface())
		if err != nil {
			text = fmt.Appendf(nil, "%#v", v.Interface()) // NaN, which no file can hold
		}
		out = append(out, l.Path+"="+string(text)+"\n")
	}
	return out
}
