package api

import (
	"fmt"
	"slices"
	"strings"
)

// grants is a set of what a peer may do. Each route asks for one of them, or for none.
type grants uint8

const (
	// view: status, output, events and metrics.
	view grants = 1 << iota
	// admin: everything that changes a service, and what may hold secrets, such as memory.
	admin
	// job: submit jobs, and see one's own.
	job
	// execute: open a console session.
	execute
)

// everything is what root and stoker's own user have.
const everything = view | admin | job | execute

// has says whether the set holds all of want.
func (g grants) has(want grants) bool { return g&want == want }

// String lists the grants by name; "none" is the empty set.
func (g grants) String() string {
	var names []string
	for k, name := range []string{"view", "admin", "job", "exec"} {
		if g.has(1 << k) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// grantsOf is the one place that decides what a peer may do, with who it is, for people. A
// process of a service has what the users of services have, also if it is root's.
func (s *Server) grantsOf(p peer) (have grants, description string) {
	description = fmt.Sprintf("uid %d", p.uid)
	switch {
	case p.uid == -1:
		return 0, "an unknown process"
	case p.ownUser():
		return everything, description
	case ownUID(p.uid):
		return view, description + " (" + p.confined + ")"
	case s.opts.Viewers != nil && slices.Contains(s.opts.Viewers(), p.uid):
		return view, description
	}
	return 0, description
}
