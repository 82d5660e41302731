package executor

import (
	"fmt"
	"time"
)

// Spec is a job as it is submitted. Its JSON form is the body of POST /v1/jobs. Empty fields have the defaults that Config gives.
type Spec struct {
	// Key identifies the job for its submitter: a second Spec with the same key is the same job. Empty: each one is another.
	Key string `json:"key,omitempty"`
	// Command is the argument list. It is never given to a shell.
	Command []string `json:"command"`
	// Env is added to the environment of the job.
	Env map[string]string `json:"env,omitempty"`
	// Context is a service whose environment, user and JDK the job gets.
	Context string `json:"context,omitempty"`
	// Dir is the working directory; empty: the workspace of the job.
	Dir string `json:"cwd,omitempty"`
	// User is "name", "uid", "name:group" or "uid:gid"; empty: that of Context, or the one of the configuration.
	User string `json:"user,omitempty"`
	// Stdin is what the job can read; empty: nothing.
	Stdin []byte `json:"stdin,omitempty"`

	// Timeout limits one attempt.
	Timeout Duration `json:"timeout,omitempty"`
	// StartWithin is the start deadline: a job that has not begun so long after its acceptance is SKIPPED.
	StartWithin Duration `json:"start_within,omitempty"`
	// NotBefore is the earliest time of the start.
	NotBefore time.Time `json:"not_before,omitzero"`
	// StopSignal (default TERM) asks the job to end; KILL follows after StopGrace.
	StopSignal string   `json:"stop_signal,omitempty"`
	StopGrace  Duration `json:"stop_grace,omitempty"`
	Retry      Retry    `json:"retry,omitzero"`
	// RetryOnLost runs the job again if it ran when the container or the machine died.
	RetryOnLost bool `json:"retry_on_lost,omitempty"`

	// Priority orders the queue: higher first, -100 to 100.
	Priority int `json:"priority,omitempty"`
	// Class is a class of the configuration, which has limits of its own.
	Class string `json:"class,omitempty"`
	// Serial is a key of which one job runs at a time.
	Serial string `json:"serial,omitempty"`
	// Memory is what the job will need ("512MiB"): it waits until that fits beside the services. Empty: it does not wait.
	Memory string `json:"memory,omitempty"`

	Attributes
	// OutputCap limits what is kept of each of stdout and stderr ("1MiB"): the first and the last half of it.
	OutputCap string `json:"output_cap,omitempty"`
	// WorkspaceCap limits the size of the workspace ("1GiB").
	WorkspaceCap string     `json:"workspace_cap,omitempty"`
	Artifacts    []Artifact `json:"artifacts,omitempty"`

	// Labels are the submitter's; lists can be filtered by them.
	Labels map[string]string `json:"labels,omitempty"`
	// Traceparent, Tracestate and Baggage are the trace context (W3C) of the submitter; the job has them in its environment.
	Traceparent string `json:"traceparent,omitempty"`
	Tracestate  string `json:"tracestate,omitempty"`
	Baggage     string `json:"baggage,omitempty"`
}

// Attributes are limits and priorities of a job's processes, as a service has them.
type Attributes struct {
	Umask   string            `json:"umask,omitempty"`   // octal
	Rlimits map[string]string `json:"rlimits,omitempty"` // by name: "1024", "1024:4096" or "unlimited"
	Nice    *int              `json:"nice,omitempty"`    // -20 to 19
	IONice  string            `json:"ionice,omitempty"`
	// OOMScoreAdj is -1000 to 1000; absent: above that of the services, so that the kernel kills the job first.
	OOMScoreAdj *int `json:"oom_score_adj,omitempty"`
	// Cgroup are limits of a cgroup of the job's own. Where none can be made the job runs without, and its state says so.
	Cgroup CgroupLimits `json:"cgroup,omitzero"`
}

// CgroupLimits are the limits of a cgroup. Zero: no limit.
type CgroupLimits struct {
	CPUs   float64 `json:"cpus,omitempty"`
	Memory string  `json:"memory,omitempty"` // "512MiB"
	PIDs   int     `json:"pids,omitempty"`   // processes and threads
}

// Retry says when a failed attempt is repeated.
type Retry struct {
	// Max is how often; 0: never.
	Max int `json:"max,omitempty"`
	// Backoff is the pause before the first repetition (default 1s). It doubles up to MaxBackoff (default 1m).
	Backoff    Duration `json:"backoff,omitempty"`
	MaxBackoff Duration `json:"max_backoff,omitempty"`
	// On are the ends that are repeated: exit codes, "signal", "timeout", "oom", "infrastructure" or "any" (default).
	On []string `json:"on,omitempty"`
}

// Artifact is a file or folder that is kept when the job has ended.
type Artifact struct {
	// Path is relative to the workspace.
	Path string `json:"path"`
	// Name is what it is fetched by; empty: Path.
	Name string `json:"name,omitempty"`
	// Max is the largest size that is kept (default 16MiB).
	Max string `json:"max,omitempty"`
}

// Duration is a time.Duration that is written as "1m30s".
type Duration time.Duration

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 90s or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}
