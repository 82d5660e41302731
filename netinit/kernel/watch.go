package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The shortest time between two checks of await grows to awaitPause, since each has a cost and others may change the network all the time.
// The longest is awaitEvery, for what the kernel sends no notifications of.
const (
	awaitPause = 200 * time.Millisecond
	awaitEvery = time.Second
)

// watchGroups are the changes that notifications are about.
func watchGroups() (mask uint32) {
	for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
		unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE} {
		mask |= 1 << (group - 1)
	}
	return mask
}

// Watch returns a channel that receives after links, addresses, routes or rules of the kernel have changed. It holds one value, which
// stands for all changes since the last receive. It is closed after ctx ends, or if the kernel's notifications end.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	socket, err := openNotifications()
	if err != nil {
		return nil, err
	}
	return follow(ctx, socket), nil
}

// openNotifications opens a socket that receives the kernel's notifications of changes.
func openNotifications() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: watchGroups()}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot subscribe to changes of the network: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// follow is the channel of Watch for an open socket, which it closes.
func follow(ctx context.Context, socket *os.File) <-chan struct{} {
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	changed := make(chan struct{}, 1)
	// It ends when ctx ends, which closes the socket.
	go func() {
		defer close(changed)
		defer socket.Close()
		defer stop()
		var message [4096]byte // a longer one is cut: only its arrival counts
		for {
			// ENOBUFS: there were more notifications than the socket's buffer could hold.
			if _, err := socket.Read(message[:]); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed
}

// await calls done until it returns true or an error, or ctx ends: at once, after changes of the network, and every second. Without its own
// error, that of ctx is returned.
func await(ctx context.Context, done func() (bool, error)) error {
	if ok, err := done(); ok || err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, _ := Watch(ctx) // without notifications, as in gVisor, the timer remains
	for pause := awaitPause / 16; ; pause = min(2*pause, awaitPause) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case _, open := <-changes:
			if !open {
				changes = nil // the timer goes on
			}
		case <-time.After(awaitEvery - pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
