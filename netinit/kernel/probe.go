package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/netinit/neighbor"
	"golang.org/x/sys/unix"
)

// An address is probed as RFC 5227 (2.1.1) says, by 3 probes, but with shorter waits, since a container should start quickly: the first
// one at once instead of within 1 s, 250 ms between two instead of 1 to 2 s, and 500 ms after the last one instead of 2 s.
const (
	probeGap  = 250 * time.Millisecond
	probeLast = 500 * time.Millisecond
)

// probe asks the neighbours of an Ethernet link for 1 s whether one of them has an IPv4 address, or is about to take it: then the error is
// ErrDuplicate and has its MAC address. Before, it waits for the link's carrier, for at most 10 s. The error is a warning if the question
// cannot be asked: without CAP_NET_RAW, or without a carrier. own are the MAC addresses of all links of this namespace, which may have
// the address as well.
func probe(ctx context.Context, linkIndex int, mac net.HardwareAddr, addr netip.Addr, own ...net.HardwareAddr) error {
	c, err := dial()
	if err != nil {
		return fmt.Errorf("cannot probe: %w", err)
	}
	defer c.socket.Close()
	if err := c.waitCarrier(ctx, linkIndex); err != nil {
		return fmt.Errorf("cannot probe: %w", err)
	}
	socket, err := neighbor.OpenARP(linkIndex)
	if err != nil {
		return fmt.Errorf("cannot probe: %w", rawError(err))
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })() // ends a read
	question := neighbor.ARPFrame(neighbor.ARPRequest, mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), addr)
	for _, wait := range [...]time.Duration{probeGap, probeGap, probeLast} {
		_, err := socket.Write(question)
		if err == nil {
			err = listenARP(socket, wait, addr, own)
		}
		switch {
		case errors.Is(err, ErrDuplicate):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("cannot probe: %w", untrusted.Cause(err))
		}
	}
	return nil
}

// listenARP reads ARP packets for a time. The error is ErrDuplicate if one of them comes from a host that has addr, or probes for it.
func listenARP(socket *os.File, wait time.Duration, addr netip.Addr, own []net.HardwareAddr) error {
	if err := socket.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	var frame [1514]byte
	for {
		n, err := socket.Read(frame[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		if other := neighbor.ARPConflict(frame[:n], addr, own...); other != nil {
			return fmt.Errorf("%w: its MAC address is %s", ErrDuplicate, other)
		}
	}
}

// rawError is the warning that a socket for raw packets cannot be opened.
func rawError(err error) error {
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (the capability NET_RAW is missing)", err)
	}
	return warning{err}
}
