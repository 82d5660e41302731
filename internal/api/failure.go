package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
)

// Codes of errors that clients distinguish.
const (
	CodeNotNow     = "not-now"
	CodeTimeout    = "timeout"
	CodeNoRoom     = "no-room"
	CodeFileExists = "file-exists"
)

// StatusError is the error of an answer.
type StatusError struct {
	Status  int
	Code    string
	Message string
	Hint    string
}

func (e *StatusError) Error() string { return e.Message }

// Refuse returns the error of an answer.
func Refuse(status int, code, hint, format string, args ...any) error {
	return &StatusError{status, code, fmt.Sprintf(format, args...), hint}
}

// HintedError is an error whose answer has a hint of its own.
type HintedError struct {
	Err  error
	Hint string
}

func (e *HintedError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *HintedError) Unwrap() error { return e.Err }

// badRequest is the error for a request that cannot be read.
func badRequest(format string, args ...any) error {
	return Refuse(http.StatusBadRequest, "bad-request", "", format, args...)
}

// ErrNotNow is returned for what cannot be done at present.
var ErrNotNow = errors.New("it cannot be done now")

// refusal returns the error of an answer for an error of a handler or a Backend.
func refusal(err error) *StatusError {
	var status *StatusError
	var refused *access.Refusal
	var noPlugin *plugin.NotFoundError
	var param *plugin.ParamError
	var command *console.CommandError
	var spec *console.SpecError
	var limit *console.LimitError
	var start *program.StartError
	if job := jobRefusal(err); job != nil {
		if hinted := new(HintedError); errors.As(err, &hinted) {
			job.Hint = hinted.Hint
		}
		return job
	}
	switch {
	case errors.As(err, &status):
		return status
	case errors.As(err, &refused):
		return &StatusError{refused.Status, refused.Code, refused.Message, refused.Hint}
	case errors.As(err, &noPlugin):
		return &StatusError{http.StatusNotFound, "no-such-plugin", err.Error(), noPlugin.Hint}
	case errors.As(err, &param):
		return &StatusError{http.StatusUnprocessableEntity, "bad-parameter", err.Error(), param.Hint}
	case errors.As(err, &command):
		return &StatusError{http.StatusForbidden, "forbidden", err.Error(), command.Hint()}
	case errors.As(err, &spec):
		return &StatusError{http.StatusBadRequest, "bad-request", err.Error(), ""}
	case errors.As(err, &limit):
		return &StatusError{http.StatusTooManyRequests, "too-many", err.Error(), "stoker sessions list shows what runs"}
	case errors.As(err, &start):
		return &StatusError{http.StatusUnprocessableEntity, "cannot-start", err.Error(), ""}
	}
	for _, known := range []struct {
		err    error
		status int
		code   string
		hint   string
	}{
		{console.ErrOff, http.StatusNotFound, CodeConsoleOff, "set console.enabled: true, and reload"},
		{console.ErrNoSession, http.StatusNotFound, "no-such-session", "stoker sessions list shows those that run"},
		{console.ErrNotAllowed, http.StatusForbidden, "forbidden", ""},
		{console.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", ""}, // before its cause
		{console.ErrHeld, http.StatusConflict, "held", "attach with mode=view, or take the keyboard with mode=take"},
		{hooks.ErrNoHook, http.StatusNotFound, "no-such-hook", "stoker hook list lists them"},
		{hooks.ErrTooMany, http.StatusTooManyRequests, "too-many", "stoker hook list shows what runs"},
		{ErrNotNow, http.StatusConflict, CodeNotNow, "stoker plugin list and stoker status tell more"},
		{executor.ErrNoJob, http.StatusNotFound, executor.CodeNoJob, "stoker job list lists them; those that have ended are kept for a while"},
		{executor.ErrFinal, http.StatusConflict, executor.CodeEnded, ""},
		{executor.ErrDraining, http.StatusServiceUnavailable, executor.CodeDraining, "try another container, or later"},
		{proc.ErrStopping, http.StatusServiceUnavailable, "stopping", ""},
	} {
		if errors.Is(err, known.err) {
			return &StatusError{known.status, known.code, err.Error(), known.hint}
		}
	}
	return &StatusError{http.StatusInternalServerError, "failed", err.Error(), ""}
}
