package supervisor

import "time"

// Config says how one service is kept running. It is the part of a service's
// configuration that does not depend on what the service is.
type Config struct {
	// Command is the argument list of a service of kind process. It is never
	// given to a shell. Empty for the kinds that build their own.
	Command []string `yaml:"command"`
	// User is "name", "uid", "name:group" or "uid:gid"; empty: stoker's own.
	User string `yaml:"user"`
	// Dir is the working directory; empty: stoker's own.
	Dir string `yaml:"dir"`
	// Env is added to stoker's own environment and wins over it.
	Env map[string]string `yaml:"env"`
	// Umask is octal ("0027"); empty: stoker's own.
	Umask string `yaml:"umask"`
	// Autostart false leaves the service STOPPED until it is asked for.
	Autostart *bool `yaml:"autostart"`
	// Essential ends the container with the service's code when it ends for good.
	Essential bool `yaml:"essential"`
	// SuccessCodes are the exit codes that count as success (default 0; java
	// and tomcat also 143, which is what a JVM makes of SIGTERM).
	SuccessCodes []int `yaml:"success_codes"`

	Ready   Ready   `yaml:"ready"`
	Restart Restart `yaml:"restart"`
	Stop    Stop    `yaml:"stop"`
}

// Ready says when a started service is RUNNING. With several kinds of proof
// set, all must hold. With none set a service of kind process is ready as soon
// as it runs.
type Ready struct {
	// HTTP is an http:// URL that must answer with one of Status.
	HTTP string `yaml:"http"`
	// Status are the accepted codes; empty: 200 to 399.
	Status []int `yaml:"status"`
	// TCP is a "host:port" that must accept a connection.
	TCP string `yaml:"tcp"`
	// Exec is a command that must exit with 0.
	Exec []string `yaml:"exec"`
	// Log is a regular expression that one line of the output must match.
	Log string `yaml:"log"`
	// Within is the start timeout (default 120s).
	Within time.Duration `yaml:"within"`
	// Every is the longest time between two looks (default 1s); the first
	// looks follow each other faster.
	Every time.Duration `yaml:"every"`
}

// Restart policies.
const (
	Always    = "always"
	OnFailure = "on-failure"
	Never     = "never"
)

// Restart says what follows the end of a service that nobody asked to stop.
type Restart struct {
	Policy  string  `yaml:"policy"` // always (default), on-failure, never
	Backoff Backoff `yaml:"backoff"`
	Limit   Limit   `yaml:"limit"`
}

// Backoff is the wait before a restart: First, then times Factor up to Max,
// with up to Jitter (a fraction) added. A service that ran for Reset starts
// again at First.
type Backoff struct {
	First  *time.Duration `yaml:"first"`  // default 500ms
	Factor float64        `yaml:"factor"` // default 2
	Max    time.Duration  `yaml:"max"`    // default 30s
	Jitter *float64       `yaml:"jitter"` // default 0.1
	Reset  time.Duration  `yaml:"reset"`  // default 60s
}

// Limit bounds how often a service may be started anew within a time. Past it
// the service is tried again every RetryEvery (+-20 %), or is FATAL for good
// where that is set to 0.
type Limit struct {
	Starts     int            `yaml:"starts"`      // default 5
	Within     time.Duration  `yaml:"within"`      // default 10m
	RetryEvery *time.Duration `yaml:"retry_every"` // default 5m
}

// Stop says how a service is ended.
type Stop struct {
	Signal  string        `yaml:"signal"`  // default TERM
	Timeout time.Duration `yaml:"timeout"` // before KILL; default the container's less 2s: 6s
	// ThreadDump sends QUIT to a JVM that catches it before it is killed
	// (default: true for java and tomcat).
	ThreadDump *bool `yaml:"thread_dump"`
}
