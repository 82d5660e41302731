package hooks

import (
	"fmt"
	"slices"
	"sync"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// Facts are what conditions are compared with.
type Facts struct {
	Env, Labels map[string]string
	// Flavor returns the name of the flavor in force, or nothing. It may take a while and is
	// called only if a condition needs it. nil: there is none.
	Flavor func() string
}

// Registry is an immutable list of hooks.
type Registry struct {
	all    []ResolvedHook
	active map[lifecycle.Event][]ResolvedHook
}

// NewRegistry makes a registry. The hooks of one event run in the order of the list; a hook whose condition does not hold is
// listed and never runs. A hook with the name of another one of its event gets a number.
func NewRegistry(list []ResolvedHook, facts Facts) *Registry {
	r := &Registry{all: slices.Clone(list), active: map[lifecycle.Event][]ResolvedHook{}}
	flavor := sync.OnceValue(func() string {
		if facts.Flavor == nil {
			return ""
		}
		return facts.Flavor()
	})
	names := map[string]int{}
	for k := range r.all {
		h := &r.all[k]
		name := h.FullName()
		if names[name]++; names[name] > 1 { // a file may have the name of a hook of the configuration
			h.Name = fmt.Sprintf("%s#%d", h.Name, names[name])
		}
		if h.Unmet == "" {
			h.Unmet = facts.unmet(h.When.When, flavor)
		}
		if h.Unmet == "" {
			r.active[h.Event] = append(r.active[h.Event], *h)
		}
	}
	return r
}

// unmet is why a condition does not hold; empty: it holds.
func (f *Facts) unmet(w jvm.When, flavor func() string) string {
	name := ""
	if w.Flavor != nil || w.Not.Flavor != nil {
		name = flavor()
	}
	if ok, why := w.Matches(f.Env, f.Labels, name); !ok {
		return why
	}
	return ""
}

// For returns the active hooks of an event of a service in their order; without a service those of all.
func (r *Registry) For(e lifecycle.Event, service string) []ResolvedHook {
	var out []ResolvedHook
	for _, h := range r.active[e] {
		if h.appliesTo(service) {
			out = append(out, h)
		}
	}
	return out
}

// All returns all hooks, inactive ones among them.
func (r *Registry) All() []ResolvedHook { return r.all }

// ResolveConfig resolves the hooks of the configuration that are not files: those are Discover's.
// source returns where the k-th hook of an event is defined.
func ResolveConfig(lists *ByEvent, source func(e lifecycle.Event, k int) string) []ResolvedHook {
	var out []ResolvedHook
	for _, e := range lifecycle.Events() {
		for k, h := range lists.Of(e) {
			if h.File == "" {
				out = append(out, ResolvedHook{Hook: h.WithDefaults(), Event: e, Source: source(e, k)})
			}
		}
	}
	return out
}
