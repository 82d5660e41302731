// Package events keeps what has happened in a container: the stages of its
// services, what hooks and plugins came to, reloads. It runs nothing and knows
// nothing of those whose events it keeps.
package events

import (
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
)

// Kinds of events beside the lifecycle events, whose kind is their name.
const (
	KindHook      = "hook"      // a hook is over
	KindPlugin    = "plugin"    // a plugin has another state
	KindConfig    = "config"    // another configuration is in force, or was refused
	KindContainer = "container" // the container stops
	KindMissed    = "missed"    // for one follower: it was too slow, and Missed events are gone
)

// Kinds lists all kinds that are recorded. Of config-changed there is the more detailed KindConfig.
func Kinds() []string {
	names := slices.DeleteFunc(lifecycle.Names(), func(name string) bool { return name == string(lifecycle.ConfigChanged) })
	return append(names, KindHook, KindPlugin, KindConfig, KindContainer)
}

// Event is one thing that has happened.
type Event struct {
	// ID numbers the container's events from 1 on. None is given twice. After a loss
	// of all that was kept the numbers go on far beyond.
	ID      uint64    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Service string    `json:"service,omitempty"` // or the job; empty: of the container
	Start   uint64    `json:"start,omitempty"`   // number of the service's start
	Pid     int       `json:"pid,omitempty"`
	Code    *int      `json:"code,omitempty"` // exit code; nil: there is none
	Signal  string    `json:"signal,omitempty"`
	OOM     bool      `json:"oom,omitempty"` // the kernel's OOM killer ended it
	Reason  string    `json:"reason,omitempty"`
	// Expected says of exited and stopped whether that was to come; nil: of another kind.
	Expected *bool    `json:"expected,omitempty"`
	By       string   `json:"by,omitempty"`      // who asked for it
	Changes  []string `json:"changes,omitempty"` // what another configuration has changed
	Hook     *Hook    `json:"hook,omitempty"`
	Plugin   string   `json:"plugin,omitempty"`
	State    string   `json:"state,omitempty"`  // of the plugin or the container
	Missed   uint64   `json:"missed,omitempty"` // events that are not kept any more
}

// Hook is how one hook ended.
type Hook struct {
	Event  string `json:"event"` // whose hook it is
	Name   string `json:"name"`
	Plugin string `json:"plugin,omitempty"`
	// Moment is when the event came that it was run for.
	Moment time.Time     `json:"moment,omitzero"`
	OK     bool          `json:"ok"`
	Why    string        `json:"why,omitempty"` // it failed, was not run, or was ended
	Tries  int           `json:"tries"`
	Code   int           `json:"code"` // exit code or HTTP status
	Took   time.Duration `json:"took_ns"`
	Output string        `json:"output,omitempty"` // the end of it
	// Annotations are what it gave back to be kept.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Limits of what an event holds, in bytes.
const (
	maxText   = 4 << 10 // one text
	maxEvent  = 64 << 10
	maxChange = 50 // entries
)

// cut holds an event to its limits, and hides secrets in what it says. Of the output the
// end is worth most, of everything else the beginning.
func (e *Event) cut() {
	e.Reason = redact.Text(e.Reason)
	for _, text := range []*string{&e.Kind, &e.Service, &e.Signal, &e.Reason, &e.By, &e.Plugin, &e.State} {
		*text = begin(*text)
	}
	e.Changes = slices.Clone(e.Changes[:min(len(e.Changes), maxChange)])
	for k := range e.Changes {
		e.Changes[k] = begin(redact.Text(e.Changes[k]))
	}
	if e.Hook == nil {
		return
	}
	h := *e.Hook
	h.Why, h.Output = redact.Text(h.Why), redact.Text(h.Output)
	for _, text := range []*string{&h.Event, &h.Name, &h.Plugin, &h.Why} {
		*text = begin(*text)
	}
	h.Output = h.Output[max(0, len(h.Output)-maxText):]
	e.Hook = &h
}

func begin(s string) string { return s[:min(len(s), maxText)] }

// shrink drops what is long, for one that is beyond maxEvent all the same.
func (e *Event) shrink() {
	e.Changes = nil
	if e.Hook != nil {
		e.Hook.Annotations, e.Hook.Output = nil, ""
	}
}

// key says of which moment of a life an event tells; false: of none, it may
// happen again and again.
func (e *Event) key() (moment, bool) {
	m := moment{service: e.Service, start: e.Start, kind: e.Kind}
	switch e.Kind {
	case KindPlugin, KindConfig, KindMissed:
		return m, false
	case KindContainer:
		m.hook = e.State
	case KindHook:
		if e.Hook == nil || e.Hook.Moment.IsZero() {
			return m, false
		}
		m.hook = e.Hook.Plugin + "\x00" + e.Hook.Event + "\x00" + e.Hook.Name
		m.at = e.Hook.Moment.UnixNano()
	}
	return m, true
}

// moment identifies what happens once. A supervisor that takes over tells again of
// what it does not know to have been told.
type moment struct {
	service string
	start   uint64
	kind    string
	hook    string // or the container's state
	at      int64
}

// Filter says which events are wanted.
type Filter struct {
	Services []string // empty: of all, and the container's own
	Kinds    []string // empty: all
}

// wants says whether an event is one of them. What is missed concerns everybody.
func (f Filter) wants(e *Event) bool {
	return e.Kind == KindMissed || (len(f.Services) == 0 || slices.Contains(f.Services, e.Service)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}
