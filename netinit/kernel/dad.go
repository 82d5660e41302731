package kernel

import (
	"context"
	"errors"
	"net/netip"

	"github.com/stoker-init/stoker/netinit"
	"github.com/vishvananda/netlink"
)

// Errors of addresses; errors.Is finds them.
var (
	ErrDuplicate = errors.New("another host has the address")
	ErrTentative = errors.New("the address did not become usable in time")
)

// linkAddr is an address of a link.
type linkAddr struct {
	Index   int
	Link    string // the name, for messages
	Address netip.Addr
}

// waitDAD returns when the addresses can be used.
func waitDAD(ctx context.Context, h *netlink.Handle, list []linkAddr, policy netinit.DAD) error {
	return errors.New("not written yet")
}
