package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// maxRounds bounds how often the state is read and the differences are removed.
const maxRounds = 6

// applier applies a plan.
type applier struct {
	plan       *netinit.Plan
	o          Options
	conn       *conn
	namespace  string
	record     *Record // of the last run; not nil
	owned      *Record // the same, and what this run adds
	unrecorded bool    // the record cannot be written
	found      targets
	first      *state // before the first change
	state      *state
	done       []change
	lost       []object        // what the changes have removed as a side effect
	skipped    map[Change]bool // those that ended with a warning
	unready    map[int]bool    // optional links whose addresses stay tentative
	result     Result
}

func newApplier(plan *netinit.Plan, o Options) (*applier, error) {
	a := &applier{plan: plan, o: o, skipped: map[Change]bool{}, unready: map[int]bool{}}
	var err error
	if a.namespace, err = namespace(); err != nil {
		return nil, err
	}
	if a.conn, err = dial(); err != nil {
		return nil, err
	}
	return a, nil
}

// readRecord reads what the last run has added.
func (a *applier) readRecord() {
	a.record = &Record{}
	switch r, err := ReadRecord(a.o.StateDir); {
	case err != nil:
		a.warn("cannot read what was applied before: %v", err)
	case r != nil:
		a.record = r
	}
	a.owned = a.record
}

func (a *applier) close() { a.conn.socket.Close() }

func (a *applier) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(a.result.Warnings, text) {
		a.result.Warnings = append(a.result.Warnings, text)
	}
}

// warned reports whether an error is a warning, which it adds to the result.
func (a *applier) warned(err error) bool {
	_, is := errors.AsType[warning](err)
	if is {
		a.warn("%v", err)
	}
	return is
}

// load reads the state, and finds the links of the plan.
func (a *applier) load() (missing []string, err error) {
	if a.state, err = a.conn.read(); err != nil {
		return nil, err
	}
	if a.found, missing, err = resolve(a.plan, a.state, a.found, a.record); err != nil {
		return nil, err
	}
	a.state.readSettings(wantedSettings(a.plan, a.found, a.o))
	return missing, a.state.readFiles(a.plan, a.o)
}

// Apply makes the kernel what the plan says, or leaves it as it was. ctx bounds the wait for links and addresses.
func Apply(ctx context.Context, plan *netinit.Plan, o Options) (*Result, error) {
	a, err := newApplier(plan, o)
	if err != nil {
		return nil, err
	}
	defer a.close()
	unlock, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if a.superseded() {
		return &a.result, nil
	}
	a.first = a.state
	if err := a.rounds(ctx); err != nil {
		return nil, a.rollback(err)
	}
	if len(a.done) > 0 || a.record.Plan == nil || !samePlan(a.record.Plan, plan) {
		a.writeRecord(a.final())
	}
	a.report()
	return &a.result, nil
}

// rounds removes the differences, until there are none.
func (a *applier) rounds(ctx context.Context) error {
	for n := 0; ; n++ {
		d := diff(a.plan, a.found, a.state, a.owned, a.o)
		d.changes = slices.DeleteFunc(d.changes, func(c change) bool { return a.skipped[c.Change] })
		for _, w := range d.warnings {
			a.warn("%s", w)
		}
		if len(d.refusals) > 0 {
			return &HintError{errors.Join(d.refusals...), strings.Join(d.hints, "; ")}
		}
		switch {
		case len(d.changes) == 0:
			return a.waitDAD(ctx, a.tentative())
		case n == maxRounds:
			return fmt.Errorf("after %d attempts the kernel still differs: %s", n, summary(d.changes))
		case n == 0:
			if err := mayChange(d.changes); err != nil {
				return err
			}
			a.owned = a.pending(d.changes)
			a.writeRecord(a.owned)
		}
		if err := a.execute(ctx, d.changes); err != nil {
			return err
		}
		if _, err := a.load(); err != nil {
			return err
		}
	}
}

// mayChange checks the capability for the changes of the kernel.
func mayChange(changes []change) error {
	kernel := slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return c.stage == fileStage || c.Object == "sysctl" })
	if len(kernel) == 0 || capable(unix.CAP_NET_ADMIN) {
		return nil
	}
	return notPermitted(summary(kernel))
}

// notPermitted is the error of a missing CAP_NET_ADMIN.
func notPermitted(todo string) error {
	e := &HintError{Err: fmt.Errorf("%w: needs CAP_NET_ADMIN to %s", ErrNotPermitted, todo)}
	bounding, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_NET_ADMIN, 0, 0, 0)
	if os.Geteuid() != 0 && err == nil && bounding == 1 {
		e.Hint = "run stoker as root: the container has the capability NET_ADMIN, but another user does not get it"
	}
	return e
}

func capable(capability int) bool {
	var data [2]unix.CapUserData
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
	return err != nil || data[capability/32].Effective&(1<<(capability%32)) != 0
}

func summary(changes []change) string {
	var list []string
	for _, c := range changes {
		list = append(list, c.String())
	}
	return strings.Join(list, "; ")
}

// execute makes the changes of a round, stage by stage.
func (a *applier) execute(ctx context.Context, changes []change) error {
	for at := linkStage; at <= removeStage; at++ {
		var list []change
		for _, c := range changes {
			if c.stage == at && !c.later {
				list = append(list, c)
			}
		}
		if at == addressStage && a.o.Probe {
			if err := a.probe(ctx, list); err != nil {
				return err
			}
		}
		var added []linkAddr
		for _, c := range list {
			if err := a.make(c); err != nil {
				return err
			}
			if c.prefix.IsValid() && a.o.DAD != netinit.DADNone {
				added = append(added, linkAddr{c.index, c.Link, c.prefix.Addr()})
			}
		}
		// A route with an address as its source needs that to be usable.
		if at == addressStage {
			if err := a.waitDAD(ctx, append(added, a.tentative()...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// make makes a change. It is left to the next round if others have changed the same meanwhile.
func (a *applier) make(c change) error {
	switch err := c.do.run(a); {
	case err == nil:
		a.done = append(a.done, c)
		if a.o.Log != nil {
			a.o.Log.Debug("network changed", "change", c.String())
		}
	case c.Object == "route" && a.unready[c.index] && errors.Is(err, unix.EINVAL): // a tentative address is no source
		a.warn("cannot %s yet: %v", c, err)
		a.skipped[c.Change] = true
	case a.warned(err):
		a.skipped[c.Change] = true
	case c.Verb == "add" && errors.Is(err, unix.EEXIST), c.Verb == "remove" && isAbsent(err):
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("cannot %s: %w: %w", c, ErrNotPermitted, err)
	default:
		if _, partial := c.do.(sequence); partial {
			a.done = append(a.done, c)
		}
		if c.Object == "link" && errors.Is(err, unix.EOPNOTSUPP) {
			err = &HintError{err, "the kernel has no 802.1Q: load the module 8021q"}
		}
		return fmt.Errorf("cannot %s: %w", c, err)
	}
	return nil
}

// isAbsent reports whether the error of a removal says that there is nothing to remove.
func isAbsent(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ENXIO) // the link has no IPv6
}

// probe asks for all IPv4 addresses that will be added, at the same time.
func (a *applier) probe(ctx context.Context, changes []change) error {
	var wg sync.WaitGroup
	errs := make([]error, len(changes))
	var own []net.HardwareAddr
	for _, l := range a.state.links {
		if l.ethernet {
			own = append(own, macBytes(l.mac))
		}
	}
	for i, c := range changes {
		l := a.state.link(c.index)
		if !c.prefix.IsValid() || !c.prefix.Addr().Is4() || l == nil || !l.ethernet {
			continue
		}
		// It ends with the probe, which ctx bounds.
		wg.Go(func() { errs[i] = probe(ctx, l.index, macBytes(l.mac), c.prefix.Addr(), own...) })
	}
	wg.Wait()
	for i, err := range errs {
		if a.warned(err) {
			errs[i] = nil
		} else if err != nil {
			errs[i] = fmt.Errorf("cannot %s: %w", changes[i], err)
		}
	}
	return errors.Join(errs...)
}

// optionalDAD bounds the wait for the addresses of optional links. Duplicate address detection takes 1 to 2 s.
const optionalDAD = 3 * time.Second

// waitDAD waits until IPv6 addresses can be used. An optional link whose addresses cannot is a warning, and is not waited for again.
func (a *applier) waitDAD(ctx context.Context, list []linkAddr) error {
	var needed, optional []linkAddr
	for _, x := range list {
		switch i := slices.Index(a.found, x.Index); {
		case i < 0 || !a.plan.Links[i].Optional:
			needed = append(needed, x)
		case !a.unready[x.Index]:
			optional = append(optional, x)
		}
	}
	short, cancel := context.WithTimeout(ctx, optionalDAD)
	defer cancel()
	if err := waitDAD(ctx, a.conn, needed, a.o.DAD); err != nil && !a.warned(err) {
		return err
	}
	err := waitDAD(short, a.conn, optional, a.o.DAD)
	if errors.Is(err, ErrTentative) {
		err = warning{err}
		for _, x := range optional {
			a.unready[x.Index] = true
		}
	}
	if a.warned(err) {
		return nil
	}
	return err
}

// tentative returns the addresses of the plan that an earlier run has added and whose duplicate address detection is not over.
func (a *applier) tentative() []linkAddr {
	var list []linkAddr
	for i, l := range a.plan.Links {
		for _, x := range a.state.addresses {
			if x.index == a.found[i] && x.flags&unix.IFA_F_TENTATIVE != 0 && slices.Contains(l.Addresses, x.prefix) {
				list = append(list, linkAddr{x.index, a.state.link(x.index).name, x.prefix.Addr()})
			}
		}
	}
	return list
}

// report fills the result.
func (a *applier) report() {
	for _, c := range a.done {
		a.result.Changes = append(a.result.Changes, c.Change)
		if l := a.state.link(c.index); c.prefix.IsValid() && l != nil && l.ethernet {
			a.result.Announce = append(a.result.Announce, Announcement{l.index, l.name, macBytes(l.mac), c.prefix.Addr()})
		}
	}
}

// rollback undoes what was done, in reverse, and returns err with what could not be undone.
func (a *applier) rollback(err error) error {
	if len(a.done) == 0 && len(a.lost) == 0 {
		if a.owned != a.record {
			a.restoreRecord()
		}
		return err
	}
	slices.Reverse(a.done)
	failed, _ := a.undo(a.done)
	a.lost = a.create(a.lost)
	_, left := a.undo(failed) // a VLAN may need the MTU of its parent
	for _, o := range a.create(a.lost) {
		left = append(left, o.lost())
	}
	if len(left) > 0 {
		return fmt.Errorf("%w; this could not be undone: %s", err, strings.Join(left, "; "))
	}
	a.restoreRecord()
	return fmt.Errorf("%w; all changes have been undone", err)
}

// undo takes changes back, and returns those that fail, and why.
func (a *applier) undo(changes []change) (failed []change, why []string) {
	for _, c := range changes {
		if c.undo == nil {
			continue
		}
		if err := c.undo.run(a); err != nil && !isAbsent(err) && !errors.Is(err, unix.EEXIST) {
			failed, why = append(failed, c), append(why, fmt.Sprintf("%s (%v)", c, err))
		}
	}
	return failed, why
}

// restoreRecord makes the record what it was.
func (a *applier) restoreRecord() {
	if a.record.Plan != nil {
		a.writeRecord(a.record)
	} else if a.o.StateDir != "" && !a.unrecorded {
		_ = os.Remove(recordFile(a.o.StateDir).Path) // one that stays is harmless: it names addresses that are not there
	}
}
