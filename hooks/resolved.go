// Package hooks runs programs and requests at the lifecycle events of the container, its
// services and its jobs. It does not start services and does not decide when one is ready.
//
// A Registry has the hooks that are in force. A Runner has a queue for each service, one for the
// container and one for jobs; each runs the hooks of one occurrence after the other. What it has
// begun is saved before it begins, so that a supervisor that takes over runs no hook twice.
package hooks

import (
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
)

// ResolvedHook is a hook with its event and its origin, ready to run.
type ResolvedHook struct {
	Hook
	Event  lifecycle.Event
	Source string // where it is defined: a file and line, or the path of a hook file
	Path   string // hook file to execute; empty: it is a command or a URL
	// Unmet is why the hook is inactive: its file name is wrong or, filled in by NewRegistry, its
	// condition does not hold. Empty: it is active.
	Unmet string
	// Except are services whose events do not run it.
	Except []string
	// Plugin contributes the hook; empty: none.
	Plugin string
	// Optional means that a failure disables its plugin and has no other effect, whatever OnFailure says.
	Optional bool
	// PluginDir is the plugin's folder, StateDir a folder for its state.
	PluginDir, StateDir string
	// Params are the plugin's parameters by name.
	Params map[string]string
}

// Title is the name that users see: NAME, or PLUGIN/NAME.
func (h *ResolvedHook) Title() string {
	if h.Plugin != "" {
		return h.Plugin + "/" + h.Name
	}
	return h.Name
}

// FullName is EVENT/TITLE.
func (h *ResolvedHook) FullName() string { return string(h.Event) + "/" + h.Title() }

// Does describes what the hook runs, without what may be secret: a path, a program, or a method and a URL.
func (h *ResolvedHook) Does() string {
	switch {
	case h.Path != "":
		return h.Path
	case h.URL != "":
		return h.Method + " " + redact.URL(h.URL)
	case len(h.Command) > 0:
		return h.Command[0]
	}
	return ""
}

// policy is the parsed OnFailure; failures are ignored where it cannot be parsed.
func (h *ResolvedHook) policy() Policy {
	p, err := ParsePolicy(h.OnFailure)
	if err != nil {
		return Policy{}
	}
	return p
}

// matchesEnd reports whether the occurrence ended as the hook's condition asks. An unknown end matches no such condition.
func (h *ResolvedHook) matchesEnd(o *lifecycle.Occurrence) bool {
	return h.When.End == "" || o.Expected != nil && *o.Expected == (h.When.End == EndExpected)
}

// appliesTo reports whether events of a service run the hook.
func (h *ResolvedHook) appliesTo(service string) bool {
	return (len(h.Services) == 0 || slices.Contains(h.Services, service)) && !slices.Contains(h.Except, service)
}

// Outcome is the result of one hook.
type Outcome struct {
	Hook     string        `json:"hook"`
	Plugin   string        `json:"plugin,omitempty"`
	OK       bool          `json:"ok"`
	Why      string        `json:"why,omitempty"`       // it failed, was not run, or was cancelled
	Tries    int           `json:"tries"`               // 0: it was not run
	TimedOut bool          `json:"timed_out,omitempty"` // in the last try
	Code     int           `json:"code"`                // exit code as in a shell, or HTTP status; 0 without a try
	Took     time.Duration `json:"took_ns"`
	Output   string        `json:"output,omitempty"` // the end of its output, or of the response
	Given    Output        `json:"given,omitzero"`   // what it wrote to STOKER_OUT
}
