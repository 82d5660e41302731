// Package source fetches the description of a container's network from a file or a service, and keeps the last good one.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/netinit"
)

// tryTime bounds one request.
const tryTime = 10 * time.Second

// Options say what to fetch, and how.
type Options struct {
	// Config has the source, its format, the total deadline Wait, of which half is used if there is a last good description, and the
	// folder for that (StateDir; empty: none is kept).
	netinit.Config
	Lookup remote.Lookup // of the variables in Source
	// OnRetry gets the error of each try after which there is another one; nil: it is not needed.
	OnRetry func(error)
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

// Warnings returns those of the plan and of how the description was had.
func (d *Description) Warnings() []string {
	var out []string
	if d.Stale != nil {
		age := layout.Duration(time.Since(d.Time))
		out = append(out, fmt.Sprintf("the network description of %s from %s ago is used: %v", d.From, age, d.Stale))
	}
	if d.Unkept != nil {
		out = append(out, fmt.Sprintf("the network description is not kept for a start without %s: %v", d.From, d.Unkept))
	}
	return append(out, d.Plan.Warnings...)
}

// UnreachableError means that no description could be had, fresh or kept. Another error of Fetch is about its content.
type UnreachableError struct {
	Err    error
	Waited bool // until the deadline; false: another try would be of no use
}

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// RefusedError means that a description is not accepted. Err has all its problems, one a line.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string {
	return "cannot accept the network description:\n" + e.Err.Error()
}
func (e *RefusedError) Unwrap() error { return e.Err }

// Parse is netinit.Parse with a RefusedError.
func Parse(format netinit.Format, name string, data []byte) (*netinit.Plan, error) {
	plan, err := netinit.Parse(format, name, data)
	if err != nil {
		return nil, &RefusedError{err}
	}
	return plan, nil
}

// Fetch returns the plan of a description. It retries until the deadline, and then uses the last good description. One that was
// fetched and is refused is an error (not replaced by the last good one).
func Fetch(ctx context.Context, o Options) (*Description, error) {
	f := &remote.Fetcher[*netinit.Plan]{Accept: func(_ string, body []byte) (*netinit.Plan, error) {
		return netinit.Parse(o.Format, redact.URL(o.Source), body)
	}}
	if o.StateDir != "" {
		f.Dir = filepath.Join(o.StateDir, "sources")
	}
	began := time.Now()
	what := toFetch(o.Config)
	what.OnRetry = o.OnRetry
	doc, err := f.Fetch(ctx, what, o.Lookup)
	var refused *remote.RefusedError
	switch {
	case errors.As(cmp.Or(err, doc.Stale), &refused):
		return nil, &RefusedError{refused.Err}
	case err != nil:
		return nil, &UnreachableError{err, time.Since(began) >= o.Wait}
	}
	d := &Description{Plan: doc.Value, From: doc.URL, Time: doc.Time, Stale: doc.Stale}
	if o.StateDir != "" {
		d.Unkept = doc.Unkept
	}
	return d, nil
}

// Check validates the form of a source. absolute: a file needs an absolute path.
func Check(from string, absolute bool) error {
	s := toFetch(netinit.Config{Source: from})
	switch {
	case s.File == "":
		return remote.Check(s.URL)
	case absolute && !strings.HasPrefix(s.File, "/"):
		return errors.New("it is neither an absolute path nor a URL")
	}
	_, err := remote.Names(s.File)
	return err
}

// toFetch returns what package remote fetches.
func toFetch(c netinit.Config) remote.Source {
	s := remote.Source{Timeout: tryTime, Deadline: c.Wait, KeptDeadline: c.Wait / 2, RequireFresh: c.RequireFresh, Headers: c.Headers,
		Accept: "application/json, application/yaml, text/plain", CAFile: c.CAFile}
	socket, isSocket := strings.CutPrefix(c.Source, "unix:")
	switch {
	case isSocket && !strings.HasPrefix(socket, "//"):
		s.URL = "unix://" + socket
		if !strings.Contains(socket, ":/") {
			s.URL += ":/"
		}
	case strings.Contains(c.Source, "://"):
		s.URL = c.Source
	default:
		s.File = c.Source
	}
	return s
}
