package console

import (
	"errors"
	"fmt"
)

var (
	// ErrOff refuses everything while the console is not enabled.
	ErrOff = errors.New("the console is off")
	// ErrNoSession says that there is no session of that ID, or that nothing of it is left to attach to.
	ErrNoSession = errors.New("there is no such session")
	// ErrNotAllowed refuses what an identity may not do.
	ErrNotAllowed = errors.New("not allowed")
	// ErrUnavailable says that no session can be opened now: the container stops, or what has to be written of it cannot be.
	ErrUnavailable = errors.New("no session can be opened now")
	// ErrHeld says that another client has the keyboard.
	ErrHeld = errors.New("another client has the keyboard")
	// ErrTaken is the end of a link whose keyboard another client has taken.
	ErrTaken = errors.New("the keyboard was taken")
	// ErrRevoked is the end of a link whose client may no longer use the console.
	ErrRevoked = errors.New("no longer authorised")
	// ErrReadOnly refuses what only the holder of the keyboard may do.
	ErrReadOnly = errors.New("only the holder of the keyboard may do that")
	// ErrClosed says that the link is closed.
	ErrClosed = errors.New("the link is closed")
)

// SpecError is what is wrong with a Spec.
type SpecError struct {
	Field string // as in JSON
	Why   string
}

func (e *SpecError) Error() string {
	return fmt.Sprintf("cannot open a session: %s: %s", e.Field, e.Why)
}

// LimitError says which limit refuses a session.
type LimitError struct {
	Limit string // "console.sessions"
	Why   string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("cannot open a session: %s (%s)", e.Why, e.Limit)
}

// CommandError is the ErrNotAllowed of a command that an identity may not run. It has no arguments, which may be secrets.
type CommandError struct {
	By      string
	Program string
	Allowed [][]string // patterns of console.commands
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("%v: %s may not run %.200q with these arguments (console.commands)", ErrNotAllowed, e.By, e.Program)
}

// Unwrap has it be an ErrNotAllowed.
func (e *CommandError) Unwrap() error { return ErrNotAllowed }

// Hint says what it may run, as a list of at most 500 bytes.
func (e *CommandError) Hint() string {
	const most = 500
	out := e.By + " may run"
	for k, p := range e.Allowed {
		next := fmt.Sprintf(" %q", p)
		if len(out)+len(next) > most {
			return fmt.Sprintf("%s and %d more", out, len(e.Allowed)-k)
		}
		out += next
	}
	if len(e.Allowed) == 0 {
		out += " nothing"
	}
	return out
}
