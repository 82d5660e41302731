package lifecycle

import "time"

// Occurrence is an event that happened. Event, Service and Start identify it: a supervisor
// that takes over may publish it again.
type Occurrence struct {
	Event   Event  `json:"event"`
	Service string `json:"service,omitempty"` // or the name of the job; empty: of the container
	// Start numbers the starts of the service. A start that one supervisor began and the next
	// one completed is one start.
	Start    uint64 `json:"start,omitempty"`
	Attempt  int    `json:"attempt,omitempty"` // consecutive starts without a stable time, from 1
	Pid      int    `json:"pid,omitempty"`     // 0: there is or was no process
	Port     int    `json:"port,omitempty"`    // of the readiness probe; 0: unknown
	ExitCode *int   `json:"exit_code,omitempty"`
	Signal   string `json:"signal,omitempty"` // that ended the process, such as "KILL"
	OOM      bool   `json:"oom,omitempty"`    // the kernel's OOM killer ended it
	Reason   string `json:"reason,omitempty"`
	// Expected is set for exited and stopped: a stop was requested, or the process ended
	// successfully and is not restarted. nil: another event, or unknown.
	Expected *bool     `json:"expected,omitempty"`
	At       time.Time `json:"at"`
	// Until is the deadline for the hooks of the occurrence; zero: each has its own timeout only.
	Until time.Time `json:"until,omitzero"`
	// Budget is that of the stop that the occurrence belongs to; 0: none.
	Budget time.Duration `json:"budget,omitempty"`
}
