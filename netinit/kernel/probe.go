package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// probe asks the neighbours of a link whether one of them has an IPv4 address: then the error is ErrDuplicate and has its MAC address.
// A warning says that the question could not be asked.
func probe(ctx context.Context, linkIndex int, mac net.HardwareAddr, addr netip.Addr) error {
	return errors.New("not written yet")
}
