package api

import "time"

// NetworkStatus is the state of the container's network, where netinit configures it.
type NetworkStatus struct {
	From    string     `json:"from"`              // the source, without its secrets
	Applied *time.Time `json:"applied,omitempty"` // when a description of it was applied; nil: none was
	// Described is when the source gave that description, Stale why it was not asked for a newer one with success; empty: it was.
	Described *time.Time `json:"described,omitempty"`
	Stale     string     `json:"stale,omitempty"`
	Doing     string     `json:"doing,omitempty"` // what is under way
	// Error is why the network could not be configured or repaired; empty: it could.
	Error string `json:"error,omitempty"`
	// Differences between the network and what was applied, at the last check.
	Differences    []string `json:"differences,omitempty"`
	Repairs        uint64   `json:"repairs"`
	RepairFailures uint64   `json:"repair_failures"`
}

func networkMetrics(x *exposition, n *NetworkStatus) {
	x.single("stoker_network_differences", "gauge", "Differences between the network and what netinit has configured, at the last check.",
		float64(len(n.Differences)))
	x.single("stoker_network_repairs_total", "counter", "Repairs of the network that changed something.", float64(n.Repairs))
	x.single("stoker_network_repair_failures_total", "counter", "Repairs of the network that failed.", float64(n.RepairFailures))
}
