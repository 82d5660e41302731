package hooks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lazyregexp"
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

// Hook is a program or a request that runs at an event: exactly one of Command, File and URL is set.
type Hook struct {
	// Name is unique among the hooks of an event. It is optional with File.
	Name string `yaml:"name"`
	// Command is an argument list. It is never given to a shell.
	Command []string `yaml:"command" check:"command"`
	// File is the name of a file in EVENT.d; the other fields are its settings.
	File string `yaml:"file" check:"hookfile"`
	// URL of a request: http://, https:// or unix:///path/of/socket:/http/path. URL, Headers and
	// Body may have ${NAME} for variables of the hook's environment.
	URL string `yaml:"url" check:"remoteurl"`
	// Method of the request (default POST).
	Method string `yaml:"method" check:"method"`
	// Headers of the request. The Content-Type of a body defaults to application/json.
	Headers map[string]string `yaml:"headers" check:"headers"`
	// Body of the request; values are escaped for its Content-Type.
	Body string `yaml:"body"`
	// Status are the HTTP statuses of success (default 200 to 299).
	Status []int `yaml:"status" check:"statuses"`
	// CAFile has PEM certificates that are trusted besides the system's.
	CAFile string `yaml:"ca_file" check:"absolute"`

	// Services whose events run the hook; empty: all.
	Services []string `yaml:"services"`
	// When is the condition for running it.
	When When `yaml:"when"`
	// Timeout of one try: then its group gets TERM, and KILL (default 30s).
	Timeout time.Duration `yaml:"timeout" check:"positive"`
	// OnFailure is ignore (default), fail, "retry N" or "retry N, fail".
	OnFailure string `yaml:"on_failure"`
	// RetryEvery is the pause before another try (default 1s).
	RetryEvery time.Duration `yaml:"retry_every" check:"positive"`
	// RunAs is the user, as that of a service (default stoker's own).
	RunAs string `yaml:"run_as"`
	// AllowEnv are patterns of variables that it may set by STOKER_OUT although they decide what programs load or execute.
	AllowEnv []string `yaml:"allow_env" check:"envpattern"`
	// Env is added to its environment.
	Env map[string]string `yaml:"env"`
	// Parallel hooks that follow each other run at the same time.
	Parallel bool `yaml:"parallel"`
	// Share is the largest part of a stop's budget that it may take, above 0 and up to 1 (default 0.5).
	Share float64 `yaml:"share" check:"share"`
}

// When is a condition on the container and on how a service ended.
type When struct {
	// End is EndExpected or EndUnexpected, of exited and stopped; empty: every end.
	End      string `yaml:"end,short"`
	jvm.When `yaml:",inline"`
}

// Ends of a service. An end is expected if a stop was requested, or if the service succeeded and is not restarted.
const (
	EndExpected   = "expected"
	EndUnexpected = "unexpected"
)

// Defaults of a Hook.
const (
	DefaultTimeout    = 30 * time.Second
	DefaultRetryEvery = time.Second
	DefaultShare      = 0.5
	DefaultMethod     = "POST"
	DefaultOnFailure  = "ignore"
)

// WithDefaults returns the hook with its defaults filled in.
func (h Hook) WithDefaults() Hook {
	h.Timeout = cmp.Or(h.Timeout, DefaultTimeout)
	h.RetryEvery = cmp.Or(h.RetryEvery, DefaultRetryEvery)
	h.Share = cmp.Or(h.Share, DefaultShare)
	h.OnFailure = cmp.Or(h.OnFailure, DefaultOnFailure)
	if h.URL != "" {
		h.Method = cmp.Or(h.Method, DefaultMethod)
	}
	return h
}

// Policy is the effect of a failed hook.
type Policy struct {
	Retries int  // further tries
	Fail    bool // what waits for the hook fails too
}

// maxRetries bounds Policy.Retries.
const maxRetries = 100

var retryPolicy = lazyregexp.New(`^retry +([0-9]+) *(?:, *(fail|ignore))?$`)

// ParsePolicy parses "ignore", "fail", "retry N" or "retry N, fail". Empty is ignore.
func ParsePolicy(text string) (Policy, error) {
	switch text = strings.TrimSpace(text); text {
	case "", "ignore":
		return Policy{}, nil
	case "fail":
		return Policy{Fail: true}, nil
	}
	m := retryPolicy().FindStringSubmatch(text)
	if m == nil {
		return Policy{}, fmt.Errorf("%q is not ignore, fail, retry N, or retry N, fail", text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n < 1 || n > maxRetries {
		return Policy{}, fmt.Errorf("%s is not a number of tries from 1 to %d", m[1], maxRetries)
	}
	return Policy{Retries: n, Fail: m[2] == "fail"}, nil
}
