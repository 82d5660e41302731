package probe

import (
	"context"
	"fmt"
	"net"
)

// TCP is a "host:port" that must accept a connection; empty: not checked.
type TCP string

// Key is the key in the configuration.
func (TCP) Key() string { return "tcp" }

// IsSet reports whether an address is set.
func (t TCP) IsSet() bool { return t != "" }

// New returns the probe.
func (t TCP) New(Runner) Checker { return t }

// Check connects once.
func (t TCP) Check(ctx context.Context, _ Process) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", string(t))
	if err != nil {
		return fmt.Errorf("tcp %s: %s", t, networkError(err))
	}
	return conn.Close()
}
