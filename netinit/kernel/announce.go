package kernel

import (
	"context"
	"net"
	"net/netip"

	"github.com/hashicorp/go-hclog"
)

// Announcement is an address that is new on a link.
type Announcement struct {
	Index   int    // of the link
	Link    string // its name, for messages
	MAC     net.HardwareAddr
	Address netip.Addr
}

// Announce sends the addresses to the neighbours of the links: three times, a second apart. It ends with ctx.
func Announce(ctx context.Context, list []Announcement, log hclog.Logger) {}
