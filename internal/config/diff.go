package config

import (
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
			if c, ok := serviceChange(name, before, after, leaves, changed[changeJVM]); ok {
				out = append(out, c)
			}
		}
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
