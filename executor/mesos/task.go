package mesos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// taskInfo is what is used of a TaskInfo.
type taskInfo struct {
	taskHead
	Command       *command        `json:"command"`
	Kill          *killPolicy     `json:"kill_policy"`
	MaxCompletion *duration       `json:"max_completion_time"`
	Resources     []resource      `json:"resources"`
	Labels        labels          `json:"labels"`
	Data          []byte          `json:"data"`
	Container     json.RawMessage `json:"container"`
	HealthCheck   json.RawMessage `json:"health_check"`
	Check         json.RawMessage `json:"check"`
}

type labels struct {
	Labels []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"labels"`
}

type resource struct {
	Name   string `json:"name"`
	Scalar struct {
		Value float64 `json:"value"`
	} `json:"scalar"`
}

type command struct {
	Shell       *bool             `json:"shell"` // absent: true
	Value       string            `json:"value"`
	Arguments   []string          `json:"arguments"` // with argv[0]
	User        string            `json:"user"`
	URIs        []json.RawMessage `json:"uris"`
	Environment struct {
		Variables []variable `json:"variables"`
	} `json:"environment"`
}

type variable struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Type   string `json:"type"` // empty: VALUE
	Secret struct {
		Value *struct {
			Data []byte `json:"data"`
		} `json:"value"`
	} `json:"secret"`
}

// keyPrefix is that of the keys of jobs that are tasks.
const keyPrefix = "mesos/"

// parseHead reads what identifies a task.
func parseHead(text []byte) (taskHead, error) {
	var head taskHead
	if err := json.Unmarshal(text, &head); err != nil {
		return head, fmt.Errorf("cannot read a task: %w", err)
	}
	if head.ID.Value == "" {
		return head, errors.New("cannot read a task: it has no task_id")
	}
	return head, nil
}

// specOf returns the job that a TaskInfo describes: the Spec in its data, if there is one, with what its own fields say.
func specOf(text []byte) (spec executor.Spec, err error) {
	var t taskInfo
	if err := json.Unmarshal(text, &t); err != nil {
		return spec, fmt.Errorf("cannot read the task: %w", err)
	}
	if len(t.Data) > 0 {
		if spec, err = executor.ParseSpec(t.Data); err != nil {
			return spec, fmt.Errorf("data: it has to be a spec of stoker as JSON: %w", err)
		}
	}
	switch {
	case spec.Key != "":
		return spec, errors.New("data: the key is the task_id")
	case spec.RetryOnLost:
		return spec, errors.New("data: retry_on_lost is the framework's: it gets TASK_LOST or TASK_GONE")
	case isSet(t.Container):
		return spec, errors.New("container: a task is a process in the container of stoker, it cannot have another one")
	case isSet(t.HealthCheck), isSet(t.Check):
		return spec, errors.New("health_check, check: a task is not checked")
	}
	spec.Key = keyPrefix + t.ID.Value
	if t.Command != nil {
		if err := t.Command.addTo(&spec); err != nil {
			return spec, err
		}
	}
	if t.Kill != nil && t.Kill.Grace != nil {
		spec.StopGrace = executor.Duration(t.Kill.Grace.orLeast())
	}
	if t.MaxCompletion != nil {
		spec.Timeout = executor.Duration(t.MaxCompletion.orLeast())
	}
	if spec.Memory == "" {
		spec.Memory = t.memory()
	}
	for _, l := range t.Labels.Labels {
		if spec.Labels == nil {
			spec.Labels = map[string]string{}
		}
		spec.Labels[l.Key] = l.Value
	}
	return spec, nil
}

// memory is the sum of the resources mem, which come in MiB; empty: there are none.
func (t *taskInfo) memory() string {
	sum := 0.0
	for _, r := range t.Resources {
		if r.Name == "mem" {
			sum += r.Scalar.Value
		}
	}
	const most = 1 << 40
	if !(sum > 0) || sum > most {
		return ""
	}
	return strconv.FormatInt(int64(math.Ceil(sum*1024)), 10) + "KiB"
}

func isSet(field json.RawMessage) bool { return len(field) > 0 && !bytes.Equal(field, []byte("null")) }

// orLeast is a duration that is not zero, which a Spec takes for none.
func (d *duration) orLeast() time.Duration { return max(time.Duration(d.Nanoseconds), 1) }

func (c *command) addTo(spec *executor.Spec) error {
	switch {
	case len(c.URIs) > 0:
		return errors.New("command.uris: nothing is fetched for a task")
	case c.Value == "" && len(spec.Command) > 0: // user and environment only
	case c.Value == "":
		return errors.New("command.value: is missing")
	case c.Shell == nil || *c.Shell:
		spec.Command = []string{"/bin/sh", "-c", c.Value}
	default:
		spec.Command = []string{c.Value}
		if len(c.Arguments) > 0 {
			spec.Command = append(spec.Command, c.Arguments[1:]...)
		}
	}
	if c.User != "" {
		spec.User = c.User
	}
	for k, v := range c.Environment.Variables {
		text := v.Value
		if v.Type == "SECRET" {
			if v.Secret.Value == nil {
				return fmt.Errorf("command.environment.variables[%d]: %.60q is a reference to a secret, which cannot be resolved", k, v.Name)
			}
			text = string(v.Secret.Value.Data)
		}
		if spec.Env == nil {
			spec.Env = map[string]string{}
		}
		spec.Env[v.Name] = text
	}
	return nil
}

// Capabilities of a framework.
const (
	canKilling   = "TASK_KILLING_STATE"
	canPartition = "PARTITION_AWARE"
)

// States of a task.
const (
	taskStarting = "TASK_STARTING"
	taskRunning  = "TASK_RUNNING"
	taskKilling  = "TASK_KILLING"
	taskFinished = "TASK_FINISHED"
	taskFailed   = "TASK_FAILED"
	taskKilled   = "TASK_KILLED"
	taskError    = "TASK_ERROR"
	taskLost     = "TASK_LOST"
	taskDropped  = "TASK_DROPPED" // TASK_LOST that never ran, for a framework that knows of partitions
	taskGone     = "TASK_GONE"    // TASK_LOST that ran, for such a framework
)

// stateOf returns the state of a task for the one of its job, and the reason in the words of Mesos; empty: none fits.
func stateOf(j *executor.Job) (state, reason string) {
	switch {
	case j.State == executor.Failed && j.Exit != nil && j.Exit.OOMKilled:
		return taskFailed, "REASON_CONTAINER_LIMITATION_MEMORY"
	case j.State == executor.TimedOut:
		return taskFailed, "REASON_MAX_COMPLETION_TIME_REACHED"
	case j.State == executor.Rejected:
		return taskError, reasonInvalid
	}
	return map[executor.State]string{executor.Accepted: taskStarting, executor.Queued: taskStarting, executor.Starting: taskStarting,
		executor.Running: taskRunning, executor.Stopping: taskKilling, executor.Succeeded: taskFinished, executor.Failed: taskFailed,
		executor.Killed: taskKilled, executor.Skipped: taskDropped, executor.Lost: taskGone}[j.State], ""
}

const reasonInvalid = "REASON_TASK_INVALID"

// refusal returns the state of a task that was not accepted as a job.
func refusal(err error) (state, reason string) {
	var full *executor.FullError
	var unavailable *executor.UnavailableError
	if errors.As(err, &full) || errors.As(err, &unavailable) || errors.Is(err, executor.ErrDraining) {
		return taskDropped, ""
	}
	return taskError, reasonInvalid
}

// rank orders the states of a task.
func rank(state string) int {
	if k := slices.Index([]string{"", taskStarting, taskRunning, taskKilling}, state); k >= 0 {
		return k
	}
	return finalRank
}

// finalRank is that of the states in which a task stays.
const finalRank = 4

// describe says in one line what has become of a job.
func describe(j *executor.Job) string {
	text := "job " + j.ID.String()
	switch {
	case j.Waiting != "":
		text += " waits: " + j.Waiting
	case j.Reason != "":
		text += ": " + j.Reason
	case j.State == executor.Succeeded:
		text += ": exit code 0"
	}
	if j.By != "" {
		text += ", by " + j.By
	}
	return text
}
