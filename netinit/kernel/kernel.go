// Package kernel compares a plan with the network of the kernel, applies the differences, and watches for drift. It removes only what it
// has added.
package kernel

import (
	"errors"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/netinit"
)

// Options say how a plan is applied.
type Options struct {
	netinit.Files
	StateDir string // holds the record of what was applied; empty: none is kept
	DAD      netinit.DAD
	Probe    bool // ask for IPv4 addresses before they are added
	Log      hclog.Logger
	Repair   bool // the plan is that of the record: nothing is changed if another run has applied another one meanwhile
	// OnMissing gets the links that Apply waits for, whenever they are others than before; nil: it is not needed.
	OnMissing func(links string)
}

// Change is a difference between a plan and the kernel.
type Change struct {
	Verb   string `json:"verb"`   // add, remove, set
	Object string `json:"object"` // link, address, route, rule, file, hostname, sysctl
	Link   string `json:"link,omitempty"`
	Detail string `json:"detail"` // such as "192.0.2.10/24", or "mtu 1450 (was 1500)"
}

func (c Change) String() string {
	s := c.Verb + " " + c.Object + " " + c.Detail
	if c.Link != "" && c.Link != c.Detail {
		s += " of " + c.Link
	}
	return s
}

// Result is what Apply did.
type Result struct {
	Changes  []Change `json:"changes"`
	Warnings []string `json:"warnings,omitempty"`
	// Announce are the addresses that others should learn of, for Announce.
	Announce []Announcement `json:"-"`
}

// Errors of Apply; errors.Is finds them. The error of a link that did not appear is ErrNoLink, of two that match ErrAmbiguous, and
// of a wait that the cancellation of ctx ends ErrInterrupted.
var (
	ErrNotPermitted = errors.New("not permitted")
	ErrNoLink       = errors.New("no such link")
	ErrInterrupted  = errors.New("interrupted")
	ErrAmbiguous    = errors.New("more than one link matches")
)

// HintError is an error with a remedy.
type HintError struct {
	Err  error
	Hint string // may be empty
}

func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *HintError) Unwrap() error { return e.Err }

// Compare returns the differences between the plan and the kernel, in the order in which Apply would change them. It changes nothing and
// needs no privileges.
func Compare(plan *netinit.Plan, o Options) ([]Change, error) {
	a, err := newApplier(plan, o)
	if err != nil {
		return nil, err
	}
	defer a.close()
	a.readRecord()
	if _, err := a.load(); err != nil {
		return nil, err
	}
	var list []Change
	for _, c := range diff(plan, a.found, a.state, a.record, o).changes {
		list = append(list, c.Change)
	}
	return list, nil
}
