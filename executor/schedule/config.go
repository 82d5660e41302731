package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// Values of Config.Concurrency.
const (
	Forbid  = "forbid"
	Replace = "replace"
	Allow   = "allow"
)

// DefaultDeadline outlasts the restart of a container with a slow application, and is short enough that a job of the night does not
// run in the day. Frequent schedules do not need a shorter one: of the runs that are due only the latest counts.
const DefaultDeadline = 10 * time.Minute

// maxName is the longest name of a schedule, in bytes: the key of a run has room for it.
const maxName = 64

// Config is one schedule. Its keys for the job are those of executor.Spec.
type Config struct {
	// Cron is an expression of five fields (minute, hour, day, month, day of the week), @hourly, @daily, @weekly, @monthly,
	// @yearly, "@every 10m" or @reboot.
	Cron string `yaml:"cron"`
	// Zone is an IANA name such as Europe/Berlin; empty: the container's local time.
	Zone string `yaml:"zone"`
	// Jitter delays each run by less than this, and by less than the time to the next run. The delay follows from the container, the
	// schedule and the run, so that the containers of a fleet do not start a job at once.
	Jitter time.Duration `yaml:"jitter" check:"notnegative"`
	// Concurrency says what happens if the earlier job has not ended: forbid (default) skips the run, replace stops the earlier job,
	// allow lets both run.
	Concurrency string `yaml:"concurrency" check:"oneof forbid replace allow"`
	// Deadline skips a run that could not begin so long after its time (default 10m).
	Deadline time.Duration `yaml:"deadline" check:"positive"`

	Command []string          `yaml:"command" check:"command"`
	Env     map[string]string `yaml:"env"`
	Context string            `yaml:"context"`
	Dir     string            `yaml:"cwd"`
	User    string            `yaml:"user" check:"user"`
	Timeout time.Duration     `yaml:"timeout" check:"positive"`
	// Priority is -100 to 100.
	Priority int    `yaml:"priority" check:"between -100 100"`
	Class    string `yaml:"class"`
	// Serial is a key of which one job runs at a time (default the schedule's own, except for concurrency allow).
	Serial    string `yaml:"serial"`
	Memory    string `yaml:"memory" check:"size"`
	OutputCap string `yaml:"output_cap" check:"size"`
	// Labels are those of each job, which also has the label schedule with the name of the schedule.
	Labels map[string]string `yaml:"labels"`
	Retry  Retry             `yaml:"retry"`
}

// Retry says when a failed attempt is repeated, as executor.Retry.
type Retry struct {
	Max        int           `yaml:"max" check:"between 0 1000"`
	Backoff    time.Duration `yaml:"backoff" check:"positive"`
	MaxBackoff time.Duration `yaml:"max_backoff" check:"positive"`
	On         []string      `yaml:"on"`
}

// WithDefaults returns the schedule with its defaults filled in.
func (c Config) WithDefaults() Config {
	c.Concurrency = cmp.Or(c.Concurrency, Forbid)
	c.Deadline = cmp.Or(c.Deadline, DefaultDeadline)
	return c
}

// Validate returns what is wrong with the schedule of that name, beyond what the tags check. e has the classes. The field of a
// problem is its key below the schedule; empty: it is the name.
func (c *Config) Validate(name string, e executor.Config) (out []executor.FieldError) {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
		out = append(out, executor.FieldError{Why: fmt.Sprintf("%.80q is no name of a schedule: it has 1 to %d bytes without spaces and /",
			name, maxName)})
	}
	zone, err := loadZone(c.Zone)
	if err != nil {
		out = append(out, executor.FieldError{Field: "zone", Why: err.Error()})
		zone = time.UTC
	}
	if _, err := parse(c.Cron, zone); err != nil {
		out = append(out, executor.FieldError{Field: "cron", Why: err.Error()})
	}
	spec := c.spec(name)
	return append(out, spec.Validate(e)...)
}

// spec is the job of a run, without what differs between runs.
func (c *Config) spec(name string) executor.Spec {
	labels := map[string]string{}
	maps.Copy(labels, c.Labels)
	labels["schedule"] = name
	serial := c.Serial
	if c.Concurrency != Allow {
		serial = cmp.Or(serial, prefix(name))
	}
	return executor.Spec{
		Command: c.Command, Env: c.Env, Context: c.Context, Dir: c.Dir, User: c.User, Timeout: executor.Duration(c.Timeout),
		Priority: c.Priority, Class: c.Class, Serial: serial, Memory: c.Memory, OutputCap: c.OutputCap, Labels: labels,
		Retry: executor.Retry{Max: c.Retry.Max, Backoff: executor.Duration(c.Retry.Backoff),
			MaxBackoff: executor.Duration(c.Retry.MaxBackoff), On: c.Retry.On},
	}
}

// prefix begins the keys of a schedule's jobs.
func prefix(name string) string { return "schedule/" + name }
