package hooks

import (
	"encoding/json"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// Config is the hooks section of the configuration.
type Config struct {
	// Dir holds hooks as files: EVENT.d/NN-name (default /etc/stoker/hooks).
	Dir     string `yaml:"dir" default:"/etc/stoker/hooks" check:"absolute"`
	ByEvent `yaml:",inline"`
}

// ByEvent has a list of hooks for each lifecycle event.
type ByEvent struct {
	Lists Lists `yaml:",inline"`
}

// Of returns the hooks of an event in the order in which they run.
func (b *ByEvent) Of(e lifecycle.Event) []Hook { return b.Lists[e.Index()] }

// Lists are in the order of lifecycle.Events.
type Lists [lifecycle.Count][]Hook

// Keys are the names of the lists in the configuration: those of the events.
func (Lists) Keys() []string { return lifecycle.Names() }

// MarshalJSON writes an object by event: a supervisor of another version may have more events.
func (l Lists) MarshalJSON() ([]byte, error) {
	byEvent := map[lifecycle.Event][]Hook{}
	for k, e := range lifecycle.Events() {
		if len(l[k]) > 0 {
			byEvent[e] = l[k]
		}
	}
	return json.Marshal(byEvent)
}

// UnmarshalJSON reads that object and skips unknown events.
func (l *Lists) UnmarshalJSON(data []byte) error {
	var byEvent map[lifecycle.Event][]Hook
	err := json.Unmarshal(data, &byEvent)
	for k, e := range lifecycle.Events() {
		l[k] = byEvent[e]
	}
	return err
}

// Hook is one thing to be done at an event: exactly one of Command, File and URL.
type Hook struct {
	// Name tells it apart from the others of its event. With File it may be absent.
	Name string `yaml:"name"`
	// Command is an argument list. It is never given to a shell.
	Command []string `yaml:"command" check:"command"`
	// File is the name of a file in EVENT.d beside which this stands; what else is
	// set here counts for it.
	File string `yaml:"file"`
	// URL is asked: http://, https:// or unix:///path/of/socket:/http/path, with
	// ${NAME} for what the hook's environment has.
	URL string `yaml:"url"`
	// Method of the request (default POST).
	Method string `yaml:"method" check:"method"`
	// Headers of the request, with ${NAME}. The Content-Type of a body is
	// application/json where none is given.
	Headers map[string]string `yaml:"headers" check:"headers"`
	// Body with ${NAME}, whose values are quoted as the Content-Type wants it.
	Body string `yaml:"body"`
	// Status are the answers that count as success (default 200 to 299).
	Status []int `yaml:"status" check:"statuses"`
	// CAFile holds PEM certificates that count beside the system's.
	CAFile string `yaml:"ca_file" check:"absolute"`

	// Services are those of whose events it is a hook; none: of all.
	Services []string `yaml:"services"`
	// When says in which containers it counts, and at which ends.
	When When `yaml:"when"`
	// Timeout of one try: then TERM to its group, and KILL (default 30s).
	Timeout time.Duration `yaml:"timeout" check:"positive"`
	// OnFailure is ignore (default), fail, "retry N" or "retry N, fail".
	OnFailure string `yaml:"on_failure"`
	// RetryEvery is the wait before another try (default 1s).
	RetryEvery time.Duration `yaml:"retry_every" check:"positive"`
	// RunAs is the user, as that of a service (default stoker's own).
	RunAs string `yaml:"run_as"`
	// AllowEnv are patterns of the variables that it may set by STOKER_OUT although they
	// decide what other programs load or execute.
	AllowEnv []string `yaml:"allow_env"`
	// Env is added to its environment.
	Env map[string]string `yaml:"env"`
	// Parallel hooks that stand together run at the same time.
	Parallel bool `yaml:"parallel"`
	// Share is the part of a stop's budget, above 0 and up to 1, that it may take at
	// most when it runs in a stop (default 0.5).
	Share float64 `yaml:"share"`
}

// When is a condition that may also be about how the service has ended.
type When struct {
	// End is EndExpected or EndUnexpected, of exited and stopped; empty: every end.
	End      string `yaml:"end,short"`
	jvm.When `yaml:",inline"`
}

// Ends of a service. One is expected if a stop was asked for, or if it ended
// well and is not started again.
const (
	EndExpected   = "expected"
	EndUnexpected = "unexpected"
)
