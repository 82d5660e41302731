// Package source fetches the description of a container's network from a file or a service, and keeps the last good one.
package source

import (
	"context"
	"errors"
	"time"

	"github.com/stoker-init/stoker/netinit"
)

// Options say what to fetch, and how.
type Options struct {
	From         string // a file, a URL (http, https, unix:///SOCKET:/PATH) or unix:SOCKET
	Format       netinit.Format
	Wait         time.Duration // total deadline
	RequireFresh bool          // forbids the last good description
	Headers      map[string]string
	CAFile       string
	StateDir     string // for the last good description; empty: none is kept
	// Lookup returns the value of a variable in From; nil: there are none.
	Lookup func(name string) (string, bool)
}

// Description is a plan, and where it came from.
type Description struct {
	Plan *netinit.Plan
	From string // masked
	Time time.Time
	// Stale is why this is the last good description; nil: it is current.
	Stale error
	// Unkept is why it could not be kept; nil: it was.
	Unkept error
}

// UnreachableError means that no description could be had, fresh or kept. Another error of Fetch is about its content.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// Fetch returns the plan of a description. It retries until the deadline, and then uses the last good description. One that was
// fetched and is refused is an error (not replaced by the last good one).
func Fetch(ctx context.Context, o Options) (*Description, error) {
	return nil, errors.New("not written yet")
}
