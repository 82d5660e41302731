package hooks

import "time"

// Bound is a hook with what belongs to it, ready to be run.
type Bound struct {
	Hook
	Event  Event
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

// Occasion is an event as it happens.
type Occasion struct {
	Event   Event  `json:"event"`
	Service string `json:"service,omitempty"` // or the job's name; empty: of the container
	// Start numbers the service's starts. With Service and Event it says which
	// occasion it is: one that is told again is not gone through again.
	Start    uint64 `json:"start,omitempty"`
	Attempt  int    `json:"attempt,omitempty"` // starts in a row without a stable time, from 1
	Pid      int    `json:"pid,omitempty"`     // 0: there is or was no process
	Port     int    `json:"port,omitempty"`    // of the service's readiness; 0: not known
	ExitCode *int   `json:"exit_code,omitempty"`
	Signal   string `json:"signal,omitempty"` // that ended it: "KILL"; empty: it exited, or lives
	OOM      bool   `json:"oom,omitempty"`    // the kernel's OOM killer ended it
	Reason   string `json:"reason,omitempty"`
	// Expected says of exited and stopped whether that was to come; nil: not known.
	Expected *bool     `json:"expected,omitempty"`
	At       time.Time `json:"at"`
	// Until is when everything must be over; zero: each hook has its own timeout only.
	Until time.Time `json:"until,omitzero"`
	// Budget is that of the stop that it belongs to; 0: of none.
	Budget time.Duration `json:"budget,omitempty"`
}

// Given is what the hooks of an event gave back by STOKER_OUT.
type Given struct {
	Env         map[string]string `json:"env,omitempty"`
	Options     []GivenOption     `json:"options,omitempty"` // of the JVM
	Annotations map[string]string `json:"annotations,omitempty"`
	// Withheld says what was given to processes of another user, a line for each hook.
	Withheld []string `json:"-"`
}

// GivenOption is an option of the JVM and who gave it.
type GivenOption struct {
	Option string `json:"option"`
	Source string `json:"source"` // "hook pre-start/NAME"
}

// Outcome is how one hook ended.
type Outcome struct {
	Hook     string        `json:"hook"`
	Plugin   string        `json:"plugin,omitempty"`
	OK       bool          `json:"ok"`
	Why      string        `json:"why,omitempty"`       // it failed, was not run, or was ended
	Tries    int           `json:"tries"`               // 0: it was not run
	TimedOut bool          `json:"timed_out,omitempty"` // the last try took too long
	Code     int           `json:"code"`                // exit code by shell convention, or HTTP status; 0 without a try
	Took     time.Duration `json:"took_ns"`
	Output   string        `json:"output,omitempty"` // the end of what it wrote or was answered
	Given    Given         `json:"given,omitzero"`
}
