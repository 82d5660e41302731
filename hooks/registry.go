package hooks

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
)

// Defaults of a Hook.
const (
	DefaultTimeout    = 30 * time.Second
	DefaultRetryEvery = time.Second
	DefaultShare      = 0.5
	DefaultMethod     = "POST"
	DefaultOnFailure  = "ignore"
)

// WithDefaults is the hook with every absent value that has a default set to it.
func (h Hook) WithDefaults() Hook {
	h.Timeout = cmp.Or(h.Timeout, DefaultTimeout)
	h.RetryEvery = cmp.Or(h.RetryEvery, DefaultRetryEvery)
	h.Share = cmp.Or(h.Share, DefaultShare)
	h.OnFailure = cmp.Or(h.OnFailure, DefaultOnFailure)
	if h.URL != "" {
		h.Method = cmp.Or(h.Method, DefaultMethod)
	}
	return h
}

// Title is how the hook is called before people: NAME, or PLUGIN/NAME.
func (b *ResolvedHook) Title() string {
	if b.Plugin != "" {
		return b.Plugin + "/" + b.Name
	}
	return b.Name
}

// full is the title with the event.
func (b *ResolvedHook) FullName() string { return string(b.Event) + "/" + b.Title() }

// policy is that of OnFailure, which was checked when it was read; what cannot be
// read ignores failures.
func (b *ResolvedHook) policy() Policy {
	p, err := ParsePolicy(b.OnFailure)
	if err != nil {
		return Policy{}
	}
	return p
}

// at says whether it is run at an occasion of its event. Where it is not known how
// that was, a hook that asks for it is not.
func (b *ResolvedHook) matchesEnd(o *lifecycle.Occurrence) bool {
	return b.When.End == "" || o.Expected != nil && *o.Expected == (b.When.End == EndExpected)
}

// of says whether it is a hook of a service's events.
func (b *ResolvedHook) appliesTo(service string) bool {
	return (len(b.Services) == 0 || slices.Contains(b.Services, service)) && !slices.Contains(b.Except, service)
}

// FromConfig binds the hooks of a list that are not files: those are Discover's.
// source says where the hook of a number stands.
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

// Surroundings are what conditions are compared with.
type Surroundings struct {
	Env, Labels map[string]string
	Flavor      string // in force; empty: none is named
}

// meets judges a condition.
func (s *Surroundings) meets(w jvm.When) string {
	if ok, why := w.Matches(s.Env, s.Labels, s.Flavor); !ok {
		return why
	}
	return ""
}

// Book is a list of hooks that does not change.
type Registry struct {
	all   []ResolvedHook
	event map[lifecycle.Event][]*ResolvedHook           // those that count, of every service
	exact map[lifecycle.Event]map[string][]ResolvedHook // for the services that are named anywhere
	other map[lifecycle.Event][]ResolvedHook            // for every other service
}

// NewBook makes a book. Hooks of one event run in the order of the list; those
// whose condition does not hold are listed and do not count. One that is called as
// another of its event is told apart by a number.
func NewRegistry(list []ResolvedHook, s Surroundings) *Registry {
	b := &Registry{all: slices.Clone(list), exact: map[lifecycle.Event]map[string][]ResolvedHook{}, other: map[lifecycle.Event][]ResolvedHook{}, event: map[lifecycle.Event][]*ResolvedHook{}}
	var named []string
	titles := map[string]int{}
	for k := range b.all {
		h := &b.all[k]
		title := h.FullName()
		if titles[title]++; titles[title] > 1 { // a file may be called as a hook of the configuration is
			h.Name = fmt.Sprintf("%s#%d", h.Name, titles[title])
		}
		if h.Unmet == "" {
			h.Unmet = s.meets(h.When.When)
		}
		if h.Unmet == "" {
			b.event[h.Event] = append(b.event[h.Event], h)
			named = append(named, slices.Concat(h.Services, h.Except)...)
		}
	}
	for e, hooks := range b.event {
		b.exact[e] = map[string][]ResolvedHook{}
		for _, name := range named {
			b.exact[e][name] = pick(hooks, name)
		}
		b.other[e] = pick(hooks, "")
	}
	return b
}

// pick copies those of a service; empty: of one that nobody names, or of none.
func pick(hooks []*ResolvedHook, service string) []ResolvedHook {
	var out []ResolvedHook
	for _, h := range hooks {
		if h.appliesTo(service) {
			out = append(out, *h)
		}
	}
	return out
}

// For lists the hooks of an event of a service, in their order. Nothing of it may
// be changed.
func (b *Registry) For(e lifecycle.Event, service string) []ResolvedHook {
	if of, ok := b.exact[e][service]; ok {
		return of
	}
	return b.other[e]
}

// All are the hooks with those that do not count.
func (b *Registry) All() []ResolvedHook { return b.all }

// Does says what the hook is, without what may be secret: a path, a program, or a
// method and a URL.
func (b *ResolvedHook) Does() string {
	switch {
	case b.Path != "":
		return b.Path
	case b.URL != "":
		return b.Method + " " + redact.URL(b.URL)
	case len(b.Command) > 0:
		return b.Command[0]
	}
	return ""
}
