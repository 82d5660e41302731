// Package exit has the exit codes of stoker, and the error that carries one with a
// hint for the user.
package exit

import "fmt"

// Exit codes of stoker itself; docs/reference/exit-codes.md is their table.
const (
	Failed        = 1
	Usage         = 2
	Refused       = 3  // not permitted
	NotFound      = 4  // no such service or job
	BadInput      = 65 // a description was refused
	NoSource      = 68 // no description could be had
	Unavailable   = 69 // no stoker answers, or it runs no jobs
	CannotWrite   = 73 // a file cannot be written there
	InitFailed    = 70 // no supervisor worked
	KernelRefused = 71 // the kernel refused a change of the network, or it conflicts with what is there
	TryLater      = 75 // it may work later
	Taken         = 76 // another client has, or took, the keyboard of a session
	BadConfig     = 78 // the configuration was refused

	Signalled = 128 // plus the number of the signal that ended a job, or that had a command leave one alone
)

// Meanings explain the codes, for the manual page.
var Meanings = []struct {
	Code int
	Text string
}{
	{0, "success"},
	{Failed, "failure, and no other code fits"},
	{Usage, "the command line is wrong, or there is nothing to run"},
	{Refused, "not permitted"},
	{NotFound, "there is no such service, plugin or job, or nothing is known of it"},
	{BadInput, "the description of a network is refused"},
	{NoSource, "no description of a network could be had"},
	{Unavailable, "no stoker answers, it runs no jobs, or the end of a job is unknown"},
	{KernelRefused, "the kernel refused a change of the network, or it conflicts with what is there"},
	{CannotWrite, "a file cannot be written there"},
	{TryLater, "not now: it may work later"},
	{Taken, "another client has, or took, the keyboard of the session"},
	{BadConfig, "the configuration, or a JVM option, is rejected"},
}

// Error is an error with a hint and an exit code.
type Error struct {
	Err  error  // nil: there is nothing to say, and Code is that of a command
	Hint string // what to try; may be empty
	Code int    // 0: that of Err
}

// Error is the text of Err.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// UsageError returns the error for a wrong command line.
func UsageError(hint, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), Hint: hint, Code: Usage}
}
