// Package access decides who may use the API: it knows the grants, and checks the processes at the unix socket, and the tokens,
// certificates and tickets that requests over TCP come with. It serves no routes of the supervisor and knows nothing of what they do.
package access

import (
	"context"
	"fmt"
	"strings"

	"github.com/stoker-init/stoker/internal/suggest"
)

// Grants is a set of what a client may do. Each route asks for one of them, or for none.
type Grants uint8

const (
	// View is status, output, events and metrics.
	View Grants = 1 << iota
	// Admin is everything that changes a service, and what may hold secrets, such as memory.
	Admin
	// Job is to submit and stop jobs, and to read what they were given and have written.
	Job
	// Exec is to open console sessions.
	Exec
)

// All is what root and stoker's own user have.
const All = View | Admin | Job | Exec

// grantNames are the names of the grants, in the order of their bits.
func grantNames() []string { return []string{"view", "admin", "job", "exec"} }

// Has reports whether the set holds all of want; Known is not one of a set.
func (g Grants) Has(want Grants) bool { return want&^Known&^g == 0 }

// Names lists the grants by name.
func (g Grants) Names() []string {
	names := []string{}
	for k, name := range grantNames() {
		if g.Has(1 << k) {
			names = append(names, name)
		}
	}
	return names
}

// String lists the grants by name; "none" is the empty set.
func (g Grants) String() string {
	if g == 0 {
		return "none"
	}
	return strings.Join(g.Names(), ", ")
}

// ParseGrants returns the set of the named grants. An error names the first that is none.
func ParseGrants(names []string) (g Grants, err error) {
	for _, name := range names {
		found := false
		for k, known := range grantNames() {
			if name == known {
				g, found = g|1<<k, true
			}
		}
		if !found {
			hint := "they are " + strings.Join(grantNames(), ", ")
			if near, ok := suggest.Nearest(name, grantNames()); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			return 0, fmt.Errorf("there is no grant %q (%s)", name, hint)
		}
	}
	return g, nil
}

// Known is asked for by routes of every client that has a credential, whatever its grants are. No set has it.
const Known Grants = 1 << 7

// Identity is the client that sent a request.
type Identity struct {
	// Name is "uid 0", "uid 0 (service app)", "token ops", "certificate agent-7": audit, sessions and command lists name it by this.
	Name     string
	Grants   Grants
	UID, Pid int    // of a process at the unix socket; else -1
	Address  string // of a TCP client; else empty
	Confined bool   `json:",omitzero"` // a process of a service, or with fewer rights, that so has fewer grants than its uid

	proof *proof // what Check looks at; nil: a process at the unix socket, or a client without a credential
}

// identityKey is the context key of an Identity.
type identityKey struct{}

// Of returns the identity that the guard of the API put into the context of a request; without one it is unknown and has no grants.
func Of(ctx context.Context) Identity {
	if id, ok := ctx.Value(identityKey{}).(Identity); ok {
		return id
	}
	return Identity{Name: "unknown", UID: -1, Pid: -1}
}

// With returns a context with an identity.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// Checker tells long sessions whether their client still has its grants.
type Checker interface {
	// Check reports why an identity no longer has the grants that it needs: its token was removed or changed, its certificate has
	// expired, the login of its page is over. Nil: it has them.
	Check(id Identity, need Grants) error
	// Changed returns a channel that is closed when the result of Check may be another one.
	Changed() <-chan struct{}
}
