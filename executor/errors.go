package executor

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of requests.
var (
	// ErrNoJob means that there is no such job, or none any more.
	ErrNoJob = errors.New("there is no such job")
	// ErrFinal means that the job has ended already.
	ErrFinal = errors.New("the job has ended")
	// ErrNotFinal means that the job has not ended yet.
	ErrNotFinal = errors.New("the job has not ended")
	// ErrDraining means that no job is accepted: the executor is drained, or the container stops.
	ErrDraining = errors.New("no jobs are accepted")
)

// SpecError lists what is wrong with a Spec.
type SpecError struct {
	Fields []FieldError
}

// FieldError is what is wrong with one field.
type FieldError struct {
	Field string `json:"field"` // its path in the JSON form
	Why   string `json:"why"`
}

func (e *SpecError) Error() string {
	var lines []string
	for _, f := range e.Fields {
		lines = append(lines, f.Field+": "+f.Why)
	}
	return strings.Join(lines, "\n")
}

// ConflictError means that another job has the key.
type ConflictError struct {
	Key  string
	ID   ID       // of the other job
	Diff []string // the fields that differ, a line each: "command: [a] is not [b]"
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the key %q belongs to job %s, which is another: %s", e.Key, e.ID, strings.Join(e.Diff, "; "))
}

// FullError means that the queue, or that of the class, is full.
type FullError struct {
	Class      string // empty: the whole queue
	Length     int
	RetryAfter time.Duration // when a place may be free
}

func (e *FullError) Error() string {
	if e.Class != "" {
		return fmt.Sprintf("the queue of the class %s is full (%d jobs wait)", e.Class, e.Length)
	}
	return fmt.Sprintf("the queue is full (%d jobs wait)", e.Length)
}

// UnavailableError means that the journal cannot be used.
type UnavailableError struct {
	Why     string
	NoSpace bool // for want of space
}

func (e *UnavailableError) Error() string { return "the executor is not available: " + e.Why }
