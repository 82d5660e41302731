package netinit

import "time"

// Config is the section netinit of the configuration. Without Source the network is left alone.
type Config struct {
	// Source is a file, a URL (http, https) or unix:SOCKET; it may contain ${NAME}.
	Source string `yaml:"source" secret:"url" check:"networksource"`
	Format Format `yaml:"format" default:"auto" check:"oneof auto openstack neutron netplan cni own"`
	// Wait bounds everything: the source, links that appear late, addresses that are checked for duplicates.
	Wait time.Duration `yaml:"wait" default:"60s" check:"positive"`
	// Required: without a network the container ends. Default true.
	Required     *bool             `yaml:"required" default:"true"`
	RequireFresh bool              `yaml:"require_fresh"` // forbids the last good description
	Headers      map[string]string `yaml:"headers" check:"headers"`
	CAFile       string            `yaml:"ca_file" check:"absolute"`
	// StateDir holds the last good description and what was applied; empty: the folder netinit of stoker's state folder.
	StateDir string `yaml:"state_dir" check:"absolute"`
	Files    `yaml:",inline"`
	// DAD says what happens to IPv6 addresses until duplicate address detection is over.
	DAD DAD `yaml:"dad" default:"wait" check:"oneof wait nodad optimistic"`
	// Probe asks whether another host has an IPv4 address before it is added (RFC 5227).
	Probe bool  `yaml:"probe"`
	Drift Drift `yaml:"drift"`
}

// Files are what is written beside the kernel.
type Files struct {
	ResolvConf string `yaml:"resolv_conf" default:"/etc/resolv.conf" check:"absolute"`
	HostsFile  string `yaml:"hosts_file" default:"/etc/hosts" check:"absolute"`
	// Hostname allows to set the hostname.
	Hostname bool `yaml:"hostname"`
}

// DAD is a policy of duplicate address detection for the IPv6 addresses of a plan.
type DAD string

// Values of DAD.
const (
	DADWait       DAD = "wait"       // apply returns when no address is tentative
	DADNone       DAD = "nodad"      // there is no detection
	DADOptimistic DAD = "optimistic" // the address is used meanwhile
)

// Drift says what follows when the kernel differs from what was applied.
type Drift struct {
	// Every is the time between two checks; notifications of the kernel cause more.
	Every time.Duration `yaml:"every" default:"1m" check:"atleast 1s"`
	Then  string        `yaml:"then" default:"repair" check:"oneof repair report ignore"`
}
