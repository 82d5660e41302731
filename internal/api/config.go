// Package api serves the supervisor's HTTP API on a unix socket: one table of
// routes, authorised by the peer's uid and by what the peer is. It decides nothing
// about services; it asks the supervisor.
package api

// Config is the api section of the configuration.
type Config struct {
	// Socket is the path of the unix socket; empty: the first writable of
	// the list in Candidates.
	Socket string `yaml:"socket" change:"container" check:"socket"`
	// Admins are the services whose processes have the grants of their uid; processes of other
	// services have view at most, also as root.
	Admins []string `yaml:"admins"`
}
