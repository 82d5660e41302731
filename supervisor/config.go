package supervisor

import (
	"time"

	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// Config says how one service is kept running. It is the part of a service's
// configuration that does not depend on what the service is.
type Config struct {
	// Command is the argument list of a service of kind process. It is never
	// given to a shell. Empty for the kinds that build their own.
	Command       []string `yaml:"command"`
	ProcessConfig `yaml:",inline"`
	// Autostart false leaves the service STOPPED until it is asked for, or until a service starts that requires it.
	Autostart *bool `yaml:"autostart" change:"live" default:"true"`
	// Oneshot is a service that does its work and ends: what is to start behind
	// it waits until it has ended with a success code.
	Oneshot bool `yaml:"oneshot"`
	// Requires are services that must be RUNNING (a oneshot: have succeeded) before this one starts. They are started
	// with it, and it is stopped before they are.
	Requires []string `yaml:"requires" change:"live"`
	// After are services that, if they are starting too, must be RUNNING or have
	// ended before this one starts, and that stop after it.
	After []string `yaml:"after" change:"live"`
	// Essential ends the container with the service's code when it ends for good; a
	// oneshot that succeeds does not count.
	Essential bool `yaml:"essential" change:"live"`
	// SuccessCodes are the exit codes that count as success (default 0; java
	// and tomcat also 143, which is what a JVM makes of SIGTERM).
	SuccessCodes []int `yaml:"success_codes" change:"live" check:"exitcodes"`
	// SuccessSignals are signals whose deadly effect counts as success (default
	// none; the stop signal counts in a requested stop).
	SuccessSignals []string `yaml:"success_signals" change:"live"`

	// Listen are sockets that stay open over restarts and are passed to the process.
	Listen []listen.Config `yaml:"listen"`

	Ready   Ready   `yaml:"ready" change:"live"`
	Live    Live    `yaml:"live" change:"live" default:"-"`
	Restart Restart `yaml:"restart" change:"live"`
	Stop    Stop    `yaml:"stop" change:"live"`
	Output  Output  `yaml:"output" change:"live"`
}

// What becomes of the container when a service is FATAL that is not essential.
const (
	OnFatalStay = "stay" // it lives on, with the evidence
	OnFatalExit = "exit" // it ends, as with an essential service
)

// Ready is the readiness probe, which makes a started service RUNNING. Without one a service of kind process is ready
// as soon as it runs.
type Ready struct {
	probe.Config `yaml:",inline"`
	// Log is a regular expression that one line of the output must match.
	Log string `yaml:"log" check:"regexp"`
	// Within is the start timeout (default 120s).
	Within time.Duration `yaml:"within" default:"120s" check:"positive"`
	// Every is the longest time between two checks (default 1s); the first checks follow each other faster.
	Every time.Duration `yaml:"every" default:"1s" check:"positive"`
}

// What follows when a RUNNING service is not alive any more.
const (
	LiveReport        = "report"         // the status says so, and the container is not ready
	LiveRestart       = "restart"        // it is stopped, with a thread dump of a JVM, and started after the back-off
	LiveStopContainer = "stop-container" // the container ends with a code that is not 0
)

// Live is the liveness probe of a RUNNING service.
type Live struct {
	probe.Config `yaml:",inline"`
	// Every is the time between two checks (default 10s).
	Every time.Duration `yaml:"every" default:"10s" check:"positive"`
	// Failures in a row after which Then follows (default 3).
	Failures int `yaml:"failures" default:"3" check:"positive"`
	// Successes in a row after which a service that was reported counts as healthy again (default 1).
	Successes int    `yaml:"successes" default:"1" check:"positive"`
	Then      string `yaml:"then" default:"restart" check:"oneof report restart stop-container"` // report, restart (default), stop-container
}

// Restart policies.
const (
	Always    = "always"
	OnFailure = "on-failure"
	Never     = "never"
)

// Restart says what follows the end of a service that was not requested.
type Restart struct {
	Policy  string        `yaml:"policy" check:"oneof always on-failure never"` // always (default; a oneshot: on-failure), on-failure, never
	Backoff BackoffConfig `yaml:"backoff"`
	Limit   Limit         `yaml:"limit"`
}

// BackoffConfig is the wait before a restart: First, then times Factor up to Max, with up to Jitter (a fraction) added.
// A service that ran for Reset starts again at First.
type BackoffConfig struct {
	First  *time.Duration `yaml:"first" default:"500ms" check:"notnegative"` // default 500ms
	Factor float64        `yaml:"factor" default:"2"`                        // default 2
	Max    time.Duration  `yaml:"max" default:"30s" check:"positive"`        // default 30s
	Jitter *float64       `yaml:"jitter" default:"0.1"`                      // default 0.1
	Reset  time.Duration  `yaml:"reset" default:"60s" check:"positive"`      // default 60s
}

// Limit bounds how often a service may be restarted within a time. Past it the service is tried again every RetryEvery
// (+-20 %), or is FATAL for good where that is set to 0.
type Limit struct {
	Starts     int            `yaml:"starts" default:"5" check:"positive"`          // default 5
	Within     time.Duration  `yaml:"within" default:"10m" check:"positive"`        // default 10m
	RetryEvery *time.Duration `yaml:"retry_every" default:"5m" check:"notnegative"` // default 5m
	// UncountedCodes are exit codes that do not count when the service was RUNNING: it works, and only the back-off
	// holds it up (default none; java and tomcat 3, which is what -XX:+ExitOnOutOfMemoryError makes of a full heap).
	UncountedCodes []int `yaml:"uncounted_codes" check:"exitcodes"`
}

// Stop says how a service is ended.
type Stop struct {
	Signal string `yaml:"signal" default:"TERM" check:"signal"` // default TERM
	// Command is run instead of the signal. Where it fails, the signal is sent. It gets the process's id as STOKER_PID.
	Command []string `yaml:"command" check:"command"`
	// Drain is the time between the stop request, from which on the container is
	// not ready, and the signal or command (default 0). It is not part of Timeout.
	Drain time.Duration `yaml:"drain" check:"notnegative"`
	// Requests is the longest time, within Timeout, for requests under way to end before the stop signal, in a service that can be asked to
	// accept no more (default for tomcat: half of Timeout, and at most Timeout less 4 s; 0s: it is not asked).
	Requests *time.Duration `yaml:"requests" check:"notnegative"`
	Timeout  time.Duration  `yaml:"timeout" check:"positive"` // before KILL; default the container's less 2s: 6s
	// ThreadDump sends QUIT to a JVM that catches it before it is killed (default: true for java and tomcat).
	ThreadDump *bool `yaml:"thread_dump"`
}

// How a service's output is passed on to the container's.
const (
	OutputRaw    = "raw"    // byte for byte
	OutputPrefix = "prefix" // each line behind the service's name
	OutputJSON   = "json"   // each line as a JSON object
	OutputNone   = "none"   // not at all
)

// What follows when the container's output is not read fast enough.
const (
	OverflowDrop  = "drop"  // the oldest lines are dropped, counted and marked
	OverflowBlock = "block" // the service waits
)

// Output says what becomes of what a service writes.
type Output struct {
	Keep     string     `yaml:"keep" default:"256KiB" check:"size"`                      // in memory, for `stoker logs`; default 256KiB
	Format   string     `yaml:"format" default:"raw" check:"oneof raw prefix json none"` // raw (default), prefix, json, none
	Overflow string     `yaml:"overflow" default:"drop" check:"oneof drop block"`        // drop (default), block
	Merge    bool       `yaml:"merge" change:"restart"`                                  // stderr goes through the pipe of stdout, in order
	File     OutputFile `yaml:"file" default:"-"`
}

// OutputFile writes a service's output to files too. The file at Path is
// renamed to Path.1, Path.1 to Path.2 and so on when it is full.
type OutputFile struct {
	Path  string        `yaml:"path" check:"absolute"`              // empty: to none
	Size  string        `yaml:"size" default:"10MiB" check:"size"`  // at which it is full; default 10MiB
	Every time.Duration `yaml:"every" check:"atleast 1s"`           // after which it is full, whatever its size; default never
	Files int           `yaml:"files" default:"5" check:"positive"` // how many full ones are kept; default 5
	Total string        `yaml:"total" check:"size"`                 // of all of them together; default no more than Size and Files allow
}

// ProcessConfig are what a process of a service is started with.
type ProcessConfig struct {
	// User is "name", "uid", "name:group" or "uid:gid"; empty: stoker's own.
	User string `yaml:"user" check:"user"`
	// Groups are the supplementary groups; absent: those of the user's entry in the group file; an empty list: none.
	Groups []string `yaml:"groups" empty:"counts" check:"group"`
	// Dir is the working directory; empty: stoker's own.
	Dir string `yaml:"dir" check:"absolute"`
	// Env is added to stoker's own environment and wins over it and over EnvFiles.
	Env map[string]string `yaml:"env"`
	// EnvFiles hold NAME=VALUE lines, read at each start; a later one wins. A path that begins with "-" may be missing.
	EnvFiles []string `yaml:"env_files" check:"envfile"`
	// Secrets are variables whose value is the content of a file, read at each start, less one newline at its end.
	Secrets map[string]string `yaml:"secrets" secret:"files"`
	// Umask is octal ("0027"); empty: stoker's own.
	Umask string `yaml:"umask" check:"umask"`
	// Rlimits are resource limits by name ("nofile"): "1024", "1024:4096" (soft and hard) or "unlimited".
	Rlimits map[string]string `yaml:"rlimits" check:"rlimits"`
	// Nice is -20 to 19; absent: stoker's own.
	Nice *int `yaml:"nice" check:"between -20 19"`
	// IONice is "idle", "best-effort", "best-effort:0" to ":7" or "realtime:0" to ":7"; empty: stoker's own.
	IONice string `yaml:"ionice" check:"ionice"`
	// OOMScoreAdj is -1000 to 1000; absent: above stoker's own.
	OOMScoreAdj *int `yaml:"oom_score_adj" check:"between -1000 1000"`
	// DropCapabilities are taken from the process for good: "NET_RAW", or "ALL".
	DropCapabilities []string `yaml:"drop_capabilities" check:"capability"`
	// NoNewPrivileges keeps set-user-ID programs from giving any.
	NoNewPrivileges bool   `yaml:"no_new_privileges"`
	Cgroup          Cgroup `yaml:"cgroup"`
}

// Cgroup asks for a cgroup of the service's own, with limits below the container's. Where the cgroup file system cannot
// be written the service runs without, and the status says so.
type Cgroup struct {
	// Own makes one also without limits: its processes are then found and ended whatever they do.
	Own    bool    `yaml:"own"`
	CPUs   float64 `yaml:"cpus"`                // 0: no limit of its own
	Memory string  `yaml:"memory" check:"size"` // "512MiB"; empty: no limit of its own
}
