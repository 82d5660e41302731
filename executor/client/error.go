package client

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// Error is an answer that is no success. It wraps the error of package executor that it stands for, if there is one, with what
// the answer has of it: errors.Is(err, executor.ErrNoJob), errors.As(err, &conflict).
type Error struct {
	Status  int
	Code    string // such as executor.CodeFull
	Message string
	Hint    string // what to try; may be empty
	// RetryAfter is how long to wait before another request; 0: unknown.
	RetryAfter time.Duration

	cause error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the error of package executor; nil: there is none.
func (e *Error) Unwrap() error { return e.cause }

func readError(resp *http.Response) error {
	var body struct {
		Error struct {
			Code, Message, Hint string
			Fields              []executor.FieldError
			Job                 string
			Diff                []string
		}
	}
	const maxError = 1 << 20
	if json.NewDecoder(io.LimitReader(resp.Body, maxError)).Decode(&body) != nil || body.Error.Message == "" {
		return &Error{Status: resp.StatusCode, Message: "the answer is " + resp.Status}
	}
	got := body.Error
	e := &Error{Status: resp.StatusCode, Code: got.Code, Message: got.Message, Hint: got.Hint}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	switch e.Code {
	case executor.CodeNoJob:
		e.cause = executor.ErrNoJob
	case executor.CodeEnded:
		e.cause = executor.ErrFinal
	case executor.CodeDraining, executor.CodeStopping:
		e.cause = executor.ErrDraining
	case executor.CodeBadSpec:
		e.cause = &executor.SpecError{Fields: got.Fields}
	case executor.CodeConflict:
		conflict := &executor.ConflictError{Diff: got.Diff}
		_ = conflict.ID.UnmarshalText([]byte(got.Job)) // 0: a server that does not name it
		e.cause = conflict
	case executor.CodeFull:
		e.cause = &executor.FullError{RetryAfter: e.RetryAfter}
	case executor.CodeUnavailable, executor.CodeNoSpace:
		e.cause = &executor.UnavailableError{Why: e.Message, NoSpace: e.Code == executor.CodeNoSpace}
	}
	return e
}
