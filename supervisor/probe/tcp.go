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

// Port returns the port of the address; 0: none.
func (t TCP) Port() int {
	_, port, err := net.SplitHostPort(string(t))
	if err != nil {
		return 0
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return 0
	}
	return n
}

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
