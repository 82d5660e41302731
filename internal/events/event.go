// Package events is the journal of events: what happened to services, hooks, plugins and the
// configuration, kept over restarts of the supervisor.
package events

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
)

// Kinds of events besides the lifecycle events, whose kind is their name.
const (
	KindHook      = "hook"      // a hook has ended
	KindPlugin    = "plugin"    // a plugin has another state
	KindConfig    = "config"    // another configuration is in force, or was refused
	KindContainer = "container" // the container stops
	KindMissed    = "missed"    // only for a follower that was too slow: Missed events are lost
)

// Kinds lists all kinds that are recorded. Of config-changed there is the more detailed KindConfig.
func Kinds() []string {
	names := slices.DeleteFunc(lifecycle.Names(), func(name string) bool { return name == string(lifecycle.ConfigChanged) })
	return append(names, KindHook, KindPlugin, KindConfig, KindContainer)
}

// Event is an event of the container.
type Event struct {
	// ID numbers the events of the container from 1 on. After a loss of the journal the numbers
	// continue far beyond.
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
	// Expected is that of lifecycle.Occurrence.
	Expected *bool    `json:"expected,omitempty"`
	By       string   `json:"by,omitempty"`      // who requested it
	Changes  []string `json:"changes,omitempty"` // of the configuration
	Hook     *Hook    `json:"hook,omitempty"`
	Plugin   string   `json:"plugin,omitempty"`
	State    string   `json:"state,omitempty"`  // of the plugin or the container
	Missed   uint64   `json:"missed,omitempty"` // number of lost events
}

// Hook is the outcome of a hook.
type Hook struct {
	Event  string `json:"event"` // that it ran at
	Name   string `json:"name"`
	Plugin string `json:"plugin,omitempty"`
	// Moment is the time of that event.
	Moment time.Time     `json:"moment,omitzero"`
	OK     bool          `json:"ok"`
	Why    string        `json:"why,omitempty"` // it failed, was not run, or was cancelled
	Tries  int           `json:"tries"`
	Code   int           `json:"code"` // exit code or HTTP status
	Took   time.Duration `json:"took_ns"`
	Output string        `json:"output,omitempty"` // the end of it
	// Annotations are those that it output.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Limits of an event, in bytes.
const (
	maxText   = 4 << 10 // one text
	maxEvent  = 64 << 10
	maxChange = 50 // entries
)

// limit masks secrets and cuts texts: output at its beginning, all others at their end.
func (e *Event) limit() {
	e.Reason = redact.Text(e.Reason)
	for _, text := range []*string{&e.Kind, &e.Service, &e.Signal, &e.Reason, &e.By, &e.Plugin, &e.State} {
		*text = cut(*text)
	}
	e.Changes = slices.Clone(e.Changes[:min(len(e.Changes), maxChange)])
	for k := range e.Changes {
		e.Changes[k] = cut(redact.Text(e.Changes[k]))
	}
	if e.Hook == nil {
		return
	}
	h := *e.Hook
	h.Why, h.Output = redact.Text(h.Why), redact.Text(h.Output)
	for _, text := range []*string{&h.Event, &h.Name, &h.Plugin, &h.Why} {
		*text = cut(*text)
	}
	h.Output = h.Output[max(0, len(h.Output)-maxText):]
	e.Hook = &h
}

// encode returns the event as a line of JSON, without its longest parts if it is too long.
func (e *Event) encode() ([]byte, error) {
	line, err := json.Marshal(e)
	if err == nil && len(line) > maxEvent {
		e.Changes = nil
		if e.Hook != nil {
			e.Hook.Annotations, e.Hook.Output = nil, ""
		}
		line, err = json.Marshal(e)
	}
	return append(line, '\n'), err
}

func cut(s string) string { return s[:min(len(s), maxText)] }

// key identifies an event that happens once: a supervisor that takes over may append it again.
type key struct {
	service string
	start   uint64
	kind    string
	detail  string // the hook, or the state of the container
	at      int64
}

// key returns the key of the event; false: it may happen again and again.
func (e *Event) key() (key, bool) {
	k := key{service: e.Service, start: e.Start, kind: e.Kind}
	switch e.Kind {
	case KindPlugin, KindConfig, KindMissed, string(lifecycle.NetworkDrift), string(lifecycle.LimitsChanged):
		return k, false
	case KindContainer:
		k.detail = e.State
	case KindHook:
		if e.Hook == nil || e.Hook.Moment.IsZero() {
			return k, false
		}
		k.detail = e.Hook.Plugin + "\x00" + e.Hook.Event + "\x00" + e.Hook.Name
		k.at = e.Hook.Moment.UnixNano()
	}
	return k, true
}

// Filter selects events.
type Filter struct {
	Services []string // empty: all, and those of the container
	Kinds    []string // empty: all
}

// matches reports whether the filter selects an event. It selects every KindMissed.
func (f Filter) matches(e *Event) bool {
	return e.Kind == KindMissed || (len(f.Services) == 0 || slices.Contains(f.Services, e.Service)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}
