package executor

import (
	"strconv"
	"time"

	"github.com/stoker-init/stoker/executor/output"
)

// State is where a job is in its life.
type State string

// States. A job goes through the first five, not always through each, and stays in one of the others.
const (
	Accepted State = "ACCEPTED" // on disk; also the pause before another attempt
	Queued   State = "QUEUED"   // waits for NotBefore or a slot
	Starting State = "STARTING" // its process is being started
	Running  State = "RUNNING"
	Stopping State = "STOPPING" // was asked to end

	Succeeded State = "SUCCEEDED" // exit code 0
	Failed    State = "FAILED"
	Killed    State = "KILLED"    // on request
	TimedOut  State = "TIMED_OUT" // ran longer than its timeout
	Rejected  State = "REJECTED"  // accepted, but it can never run: its service is not configured any more
	Lost      State = "LOST"      // the container or the machine died while it ran; how far it came is unknown
	Skipped   State = "SKIPPED"   // not begun within its start deadline
)

// States returns all of them, in the order of a life.
func States() []State {
	return []State{Accepted, Queued, Starting, Running, Stopping, Succeeded, Failed, Killed, TimedOut, Rejected, Lost, Skipped}
}

// Final reports whether a job stays in the state. One that this version does not know is not final.
func (s State) Final() bool {
	switch s {
	case Succeeded, Failed, Killed, TimedOut, Rejected, Lost, Skipped:
		return true
	}
	return false
}

// ID identifies a job. Later jobs have higher IDs.
type ID uint64

// String writes the ID as 16 hexadecimal digits.
func (id ID) String() string {
	const width = 16
	text := strconv.FormatUint(uint64(id), 16)
	for len(text) < width {
		text = "0" + text
	}
	return text
}

// MarshalText writes the ID as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what String writes.
func (id *ID) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 64)
	*id = ID(v)
	return err
}

// Job is the state of a job.
type Job struct {
	ID       ID        `json:"id"`
	Spec     Spec      `json:"spec"`
	State    State     `json:"state"`
	Accepted time.Time `json:"accepted"`
	// SubmittedBy is the submitter.
	SubmittedBy string `json:"submitted_by,omitempty"`
	Origin      Origin `json:"origin,omitzero"`
	// Reported means that Origin.Engine has the final state.
	Reported bool `json:"reported,omitempty"`
	// Attempt is the number of the present or latest attempt, from 1; 0: none has begun.
	Attempt int `json:"attempt,omitempty"`
	// Waiting is why the job does not run yet.
	Waiting string `json:"waiting,omitempty"`
	// NextAttempt is the earliest time of the next attempt.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// Reason says in one line why the job is in its state.
	Reason string `json:"reason,omitempty"`
	// By is the requester of the stop.
	By string `json:"by,omitempty"`
	// Exit are the facts of the latest attempt; nil: there is none, or it has not ended.
	Exit *Exit `json:"exit,omitempty"`
	// Notes are limits that could not be applied, and the like.
	Notes []string `json:"notes,omitempty"`
	// Ended is when the job reached its final state.
	Ended time.Time `json:"ended,omitzero"`

	// Life is the life of the container in which the job was accepted, or its latest attempt began.
	Life string `json:"life,omitempty"`
	// Pid is the process of a running attempt; 0: there is none.
	Pid int `json:"pid,omitempty"`
	// Started is when the latest attempt began.
	Started time.Time `json:"started,omitzero"`
	// Stdout and Stderr are the output of the latest attempt.
	Stdout output.Info `json:"stdout,omitzero"`
	Stderr output.Info `json:"stderr,omitzero"`
	// Artifacts are those that are kept.
	Artifacts []KeptArtifact `json:"artifacts,omitempty"`
}

// Exit says how an attempt ended.
type Exit struct {
	Code      int    `json:"code"`             // 0 to 255; -1: a signal ended it, or it was not started
	Signal    string `json:"signal,omitempty"` // without SIG
	Core      bool   `json:"core,omitempty"`
	OOMKilled bool   `json:"oom_killed,omitempty"` // by the kernel's OOM killer
	// Infrastructure means that it could not be started.
	Infrastructure bool   `json:"infrastructure,omitempty"`
	Errno          string `json:"errno,omitempty"` // of a failed start, such as ENOENT
	Error          string `json:"error,omitempty"` // of a failed start
	// Leftovers is the number of processes that the first one left behind and that were ended.
	Leftovers int           `json:"leftovers,omitempty"`
	Ended     time.Time     `json:"ended,omitzero"`
	CPU       time.Duration `json:"cpu_ns"`  // user and system time
	MaxRSS    int64         `json:"max_rss"` // bytes
}

// KeptArtifact is an artifact of a job that has ended.
type KeptArtifact struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
	Error  string `json:"error,omitempty"` // why it is not kept
}
