// Package hooks runs programs and requests at the lifecycle events of the container, its
// services and its jobs. It does not start services and does not decide when one is ready.
package hooks

import (
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Bound is a hook with what belongs to it, ready to be run.
type ResolvedHook struct {
	Hook
	Event  lifecycle.Event
	Source string // where it is from, for people: a file and line, or the path of the file that it is
	// Path is the file to be executed; empty: it is a command or a URL.
	Path string
	// Unmet says why it does not count: a file has no name of a hook, or When does not
	// hold here, which a Book fills in. Empty: it counts.
	Unmet string
	// Except are services of whose events it is no hook.
	Except []string
	// Plugin it belongs to; empty: to none.
	Plugin string
	// Optional says that its failure is its plugin's and never that of what waits
	// for it, whatever OnFailure says.
	Optional bool
	// PluginDir is the plugin's folder, StateDir one where it may keep something.
	PluginDir, StateDir string
	// Params are the plugin's, by name.
	Params map[string]string
}

// Given is what the hooks of an event gave back by STOKER_OUT.
type Output struct {
	Env         map[string]string `json:"env,omitempty"`
	Options     []OutputOption    `json:"options,omitempty"` // of the JVM
	Annotations map[string]string `json:"annotations,omitempty"`
	// Withheld says what was given to processes of another user, a line for each hook.
	Withheld []string `json:"-"`
}

// GivenOption is an option of the JVM and who gave it.
type OutputOption struct {
	Option string `json:"option"`
	Source string `json:"source"` // "hook pre-start/NAME"
}

// Outcome is how one hook ended.
type Outcome struct {
	Hook        string        `json:"hook"`
	Plugin      string        `json:"plugin,omitempty"`
	OK          bool          `json:"ok"`
	Why         string        `json:"why,omitempty"`       // it failed, was not run, or was ended
	Tries       int           `json:"tries"`               // 0: it was not run
	TimedOut    bool          `json:"timed_out,omitempty"` // the last try took too long
	Code        int           `json:"code"`                // exit code by shell convention, or HTTP status; 0 without a try
	Took        time.Duration `json:"took_ns"`
	Output      string        `json:"output,omitempty"` // the end of what it wrote or was answered
	Contributed Output        `json:"given,omitzero"`
}
