package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// Errors of addresses; errors.Is finds them.
var (
	ErrDuplicate = errors.New("another host has the address")
	ErrTentative = errors.New("it is still tentative")
)

// waitLimit bounds the wait for a carrier where it is not needed, and duplicate address detection, which takes 1 to 2 s, from the time that
// the link has its carrier.
const waitLimit = 10 * time.Second

// linkAddr is an address of a link.
type linkAddr struct {
	Index   int
	Link    string // the name, for messages
	Address netip.Addr
}

// key is the address without what is for messages.
func (a linkAddr) key() linkAddr { return linkAddr{Index: a.Index, Address: a.Address.WithZone("")} }

// waitDAD returns nil when the IPv6 addresses of the list can be used: a bind(2) to an address whose duplicate address detection is not
// over fails. IPv4 addresses can be used at once. With DADWait it also waits for the link-local addresses of the same links. With DADNone
// and DADOptimistic there should be nothing to wait for.
//
// The error is ErrDuplicate for an address that another host has, and ErrTentative if ctx ends, or 10 s after the link has its carrier. It
// names the address and the link. It is a warning if only the kernel's link-local address is a duplicate.
func waitDAD(ctx context.Context, c *conn, list []linkAddr, policy netinit.DAD) error {
	d := detection{conn: c, policy: policy, limits: map[int]time.Time{}}
	for _, a := range list {
		if a.Address.Is6() {
			d.list = append(d.list, a)
		}
	}
	if len(d.list) == 0 {
		return nil
	}
	switch err := await(ctx, d.check); {
	case err == nil:
		return d.warning
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%w while waiting for address %s of %s", ErrInterrupted, d.pending.Address, d.pending.Link)
	case ctx.Err() != nil:
		return d.late()
	default:
		return err
	}
}

// detection is a wait for the end of duplicate address detection.
type detection struct {
	conn    *conn
	list    []linkAddr
	policy  netinit.DAD
	limits  map[int]time.Time // of the links that have their carrier
	pending linkAddr          // one that was not usable at the last check
	warning error             // nil, or a warning
}

// check reports whether all addresses can be used.
func (d *detection) check() (done bool, err error) {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0] = unix.AF_INET6
	messages, err := d.conn.dump(unix.RTM_GETADDR, header)
	if err != nil {
		return false, fmt.Errorf("cannot list the IPv6 addresses: %w", err)
	}
	var now state
	for _, m := range messages {
		now.parseAddress(m)
	}
	flags := map[linkAddr]uint32{} // by index and address
	for _, a := range now.addresses {
		flags[linkAddr{Index: a.index, Address: a.prefix.Addr()}] = a.flags
	}
	done, d.warning = true, nil
	for _, a := range d.list { // which may have an address twice
		of, there := flags[a.key()]
		switch {
		case !there:
			if _, err := d.conn.link(a.Index); err != nil {
				return false, fmt.Errorf("cannot use address %s: %w: %s has disappeared", a.Address, ErrNoLink, a.Link)
			}
			return false, fmt.Errorf("cannot use address %s of %s: it was removed during duplicate address detection", a.Address, a.Link)
		case of&unix.IFA_F_DADFAILED != 0:
			return false, fmt.Errorf("cannot use address %s of %s: %w (duplicate address detection failed)", a.Address, a.Link, ErrDuplicate)
		case !d.usable(of):
			done, d.pending = false, a
		}
	}
	if d.policy == netinit.DADWait {
		for _, a := range d.list {
			delete(flags, a.key())
		}
		done = d.checkLinkLocal(flags) && done
	}
	if done {
		return true, nil
	}
	return false, d.checkLimit()
}

// usable interprets the flags of an address.
func (d *detection) usable(flags uint32) bool {
	return flags&unix.IFA_F_TENTATIVE == 0 || d.policy != netinit.DADWait && flags&unix.IFA_F_OPTIMISTIC != 0
}

// checkLinkLocal reports whether the link-local addresses that are not in the list can be used, or never will be.
func (d *detection) checkLinkLocal(flags map[linkAddr]uint32) bool {
	done := true
	for _, a := range d.list {
		for other, of := range flags {
			switch {
			case other.Index != a.Index || !other.Address.IsLinkLocalUnicast():
			case of&unix.IFA_F_DADFAILED != 0:
				d.warning = warning{fmt.Errorf("link-local address %s of %s: %w", other.Address, a.Link, ErrDuplicate)}
			case !d.usable(of):
				done, d.pending = false, linkAddr{a.Index, a.Link, other.Address}
			}
		}
	}
	return done
}

// checkLimit returns an error when the link of the pending address has had its carrier for too long.
func (d *detection) checkLimit() error {
	up, err := d.conn.hasCarrier(d.pending.Index)
	if err != nil {
		return fmt.Errorf("cannot use address %s of %s: %w", d.pending.Address, d.pending.Link, err)
	}
	limit, known := d.limits[d.pending.Index]
	switch {
	case !up:
		delete(d.limits, d.pending.Index)
	case !known:
		d.limits[d.pending.Index] = time.Now().Add(waitLimit)
	case time.Now().After(limit):
		return d.late()
	}
	return nil
}

// late is the error of an address that takes too long.
func (d *detection) late() error {
	reason := "duplicate address detection has not ended"
	if up, err := d.conn.hasCarrier(d.pending.Index); err == nil && !up {
		reason = "the link has no carrier (dad: nodad does not wait for it)"
	}
	return fmt.Errorf("cannot use address %s of %s: %w: %s", d.pending.Address, d.pending.Link, ErrTentative, reason)
}

// hasCarrier reports whether packets can pass through a link.
func (c *conn) hasCarrier(index int) (bool, error) {
	l, err := c.link(index)
	if err != nil {
		return false, fmt.Errorf("cannot read the state of the link: %w", err)
	}
	return l.running, nil
}

var errNoCarrier = errors.New("the link has no carrier")

// waitCarrier waits until a link has its carrier. The error is a warning if it has none in 10 s.
func (c *conn) waitCarrier(ctx context.Context, index int) error {
	limited, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	err := await(limited, func() (bool, error) { return c.hasCarrier(index) })
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		return warning{errNoCarrier}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", errNoCarrier, err)
	}
	return err
}
