package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// targets are the links of the kernel that the links of a plan are: the indexes in the order of the plan. 0: absent.
type targets []int

// resolve finds the links of a plan. missing describes those that are absent and not optional. known are the indexes that were found
// before; record is that of the last run.
func resolve(plan *netinit.Plan, s *state, known targets, record *Record) (found targets, missing []string, err error) {
	found = make(targets, len(plan.Links))
	for i := range plan.Links {
		l := &plan.Links[i]
		switch {
		case l.VLAN != nil:
			parent := position(plan, l.VLAN.Parent)
			found[i] = s.findVLAN(found[parent], l.VLAN.ID)
			if found[parent] == 0 && plan.Links[parent].Optional && !l.Optional {
				missing = append(missing, fmt.Sprintf("%q (parent of %q)", l.VLAN.Parent, l.ID))
			}
			continue
		case known != nil && s.link(known[i]) != nil:
			found[i] = known[i]
			continue
		}
		fits := s.fits(l, record)
		switch {
		case len(fits) > 1:
			return nil, nil, fmt.Errorf("link %q (%s): %w: %s", l.ID, describeMatch(l), ErrAmbiguous, strings.Join(fits, ", "))
		case len(fits) == 1:
			found[i] = s.linkNamed(fits[0]).index
			if other := slices.Index(found, found[i]); other < i {
				return nil, nil, fmt.Errorf("links %q and %q are both %q of the kernel", plan.Links[other].ID, l.ID, fits[0])
			}
		case !l.Optional:
			missing = append(missing, fmt.Sprintf("%q (%s)", l.ID, describeMatch(l)))
		}
	}
	return found, missing, nil
}

// position returns the place of a link in a plan. The IDs of parents are checked when the plan is made.
func position(plan *netinit.Plan, id string) int {
	return slices.IndexFunc(plan.Links, func(l netinit.Link) bool { return l.ID == id })
}

// fits returns the names of the links that match. A MAC address means a link of its own: VLANs, macvlans and ipvlans in this namespace
// have that of their parent, and a member of a bridge or bond has no addresses. Of a link with the name and one with the name that the
// plan gives it, the latter counts only if an earlier run has renamed it. One that was to be renamed has a name for the time being if that
// run was killed.
func (s *state) fits(l *netinit.Link, record *Record) []string {
	var names, named []string
	renamed := false
	for i := range s.links {
		have := &s.links[i]
		if l.Match.MAC != "" && (have.mac != l.Match.MAC || !have.ethernet || have.parent != 0 || have.master != 0) {
			continue
		}
		switch {
		case have.name == l.Rename:
			named = append(named, have.name)
			renamed = renamed || record.hasRenamed(have)
		case l.Match.MAC != "" && have.name == temporaryName(have.index):
			named = append(named, have.name)
		case l.Match.Name == "", l.Match.Name == have.name:
			names = append(names, have.name)
		}
	}
	switch {
	case l.Match.Name == "":
		return append(named, names...)
	case len(named) > 0 && (renamed || len(names) == 0):
		return named
	}
	return names
}

func (s *state) findVLAN(parent, id int) int {
	for _, l := range s.links {
		if parent != 0 && l.kind == "vlan" && l.parent == parent && l.vlan == id {
			return l.index
		}
	}
	return 0
}

// describeMatch says how a link is found.
func describeMatch(l *netinit.Link) string {
	var parts []string
	if l.Match.MAC != "" {
		parts = append(parts, "MAC address "+l.Match.MAC)
	}
	if l.Match.Name != "" {
		parts = append(parts, "name "+l.Match.Name)
	}
	return strings.Join(parts, " and ")
}

// begin takes the lock when the links of the plan are there: while one is absent another process may change the network.
func (a *applier) begin(ctx context.Context) (unlock func(), err error) {
	for {
		switch unlock, err = lock(ctx, a.o.StateDir); {
		case errors.Is(err, ErrLocked), errors.Is(err, ErrInterrupted):
			return nil, err
		case err != nil:
			a.unrecorded = true
			a.warn("cannot record what is applied: %v", err)
		}
		if a.readRecord(); a.superseded() {
			return unlock, nil
		}
		a.found = nil
		missing, err := a.load()
		if err == nil && len(missing) == 0 {
			return unlock, nil
		}
		unlock()
		if err == nil {
			err = a.findLinks(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}

// superseded reports whether another run has applied another plan than the one to be repaired.
func (a *applier) superseded() bool {
	return a.o.Repair && a.record.Plan != nil && !samePlan(a.record.Plan, a.plan)
}

// findLinks waits for the links of the plan. The optional ones are not waited for. A link that is not there yet has to be changed, so the
// capability is needed.
func (a *applier) findLinks(ctx context.Context) error {
	absent := "" // at the last look
	err := await(ctx, func() (bool, error) {
		if a.readRecord(); a.superseded() {
			return true, nil
		}
		missing, err := a.load()
		if len(missing) > 0 && !capable(unix.CAP_NET_ADMIN) {
			return false, notPermitted("configure links that are still absent: " + strings.Join(missing, ", "))
		}
		if names := strings.Join(missing, ", "); names != absent {
			if absent = names; names != "" && a.o.OnMissing != nil {
				a.o.OnMissing(names)
			}
		}
		return len(missing) == 0, err
	})
	switch {
	case absent != "" && errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%w while waiting for link %s", ErrInterrupted, absent)
	case absent != "" && ctx.Err() != nil:
		return fmt.Errorf("%w: %s did not appear in time", ErrNoLink, absent)
	}
	return err
}
