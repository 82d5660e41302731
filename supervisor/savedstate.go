package supervisor

import (
	"syscall"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// savedState is the state of a service for the next supervisor. Times are CLOCK_BOOTTIME, ns.
// Zero values are left out: the item is written several times a start.
type savedState struct {
	State     State      `json:"state,omitzero"`
	Gen       uint64     `json:"gen,omitzero"`        // number of the latest attempt
	Restarts  int        `json:"restarts,omitzero"`   // by policy, since the latest requested start
	InARow    int        `json:"in_a_row,omitzero"`   // of them, without a stable time between
	Starts    startTimes `json:"starts,omitzero"`     // by policy, for the limit
	PastLimit bool       `json:"past_limit,omitzero"` // past the limit, and not stable since
	Fatal     bool       `json:"fatal,omitzero"`      // fatal has occurred, and it was not stable since
	Since     int64      `json:"since,omitzero"`      // in this state
	UpSince   int64      `json:"up_since,omitzero"`   // of the process
	Deadline  int64      `json:"deadline,omitzero"`   // 0: none
	Then      State      `json:"then,omitzero"`       // STOPPING: what follows
	Phase     Phase      `json:"phase,omitzero"`      // STARTING, STOPPING
	Dumped    bool       `json:"dumped,omitzero"`     // STOPPING: a thread dump was requested; there is only one
	KillBy    int64      `json:"kill_by,omitzero"`    // STOPPING: the end of the limit that came with the request; 0: none

	Exit     *incident.Exit `json:"exit,omitzero"`      // of the latest process
	Previous *incident.Exit `json:"previous,omitzero"`  // how the process before the latest ended
	Reason   string         `json:"reason,omitzero"`    // why it is not up
	Notes    []string       `json:"notes,omitzero"`     // what the latest attempt found
	LogStart int64          `json:"log_start,omitzero"` // where the latest process's output begins

	EndsContainer bool              `json:"ends_container,omitzero"` // the container ends because of it
	Removed       bool              `json:"removed,omitzero"`        // not configured any more: it goes when it is STOPPED
	RemovedStop   *Stop             `json:"removed_stop,omitzero"`   // how it is stopped when its configuration is gone
	OOM           incident.OOMCount `json:"oom,omitzero"`            // of its cgroup when the latest process was started
	Failure       *incident.Failure `json:"failure,omitzero"`        // the latest; it may not be recorded yet

	Start       uint64                 `json:"start,omitzero"`        // number of the first attempt of the present start
	Attempt     int                    `json:"attempt,omitzero"`      // consecutive starts without a stable time, from 1
	Reached     []lifecycle.Event      `json:"reached,omitzero"`      // of this start, in order
	Unpublished []lifecycle.Occurrence `json:"unpublished,omitzero"`  // may not be published yet
	Awaited     *lifecycle.Occurrence  `json:"awaited,omitzero"`      // STARTING, STOPPING: its hooks come first; nil: none do
	NextVariant string                 `json:"next_variant,omitzero"` // why the next start is another variant; empty: it is not
	Variant     string                 `json:"variant,omitzero"`      // the same of the present one
	EarlyExits  int                    `json:"early_exits,omitzero"`  // in a row, without a stable time between

	attemptState
}

// attemptState is the part of the state that every attempt begins without.
type attemptState struct {
	Pid        int    `json:"pid,omitzero"`         // of this start's process; 0: there was none
	Port       int    `json:"port,omitzero"`        // Launch.Port
	ConfigHash string `json:"config_hash,omitzero"` // fingerprint of what the process was started with
	Sources    string `json:"sources,omitzero"`     // Launch.Sources
	AttachData string `json:"attach_data,omitzero"` // Launch.AttachData
	Permanent  bool   `json:"permanent,omitzero"`   // it failed with a PermanentError
	Uncounted  bool   `json:"uncounted,omitzero"`   // its end does not count for the limit
	OOMKilled  bool   `json:"oom_killed,omitzero"`  // the kernel's OOM killer ended the process

	LiveFailures  int           `json:"live_failures,omitzero"`  // RUNNING: consecutive failed liveness checks
	LiveSuccesses int           `json:"live_successes,omitzero"` // RUNNING: successful checks since it was reported
	LiveError     string        `json:"live_error,omitzero"`     // of the latest failed check
	Reported      bool          `json:"reported,omitzero"`       // RUNNING: it does not count as healthy
	HealthIssues  []HealthIssue `json:"health_issues,omitzero"`  // what was found wrong while it ran
	Debugging     Debugging     `json:"debugging,omitzero"`
	StartLeft     int64         `json:"start_left,omitzero"` // what the start timeout has left when the debugger is gone, ns

	StopRequestedBy string         `json:"stop_requested_by,omitzero"` // empty: the stop was not requested
	StopSig         syscall.Signal `json:"stop_sig,omitzero"`          // instead of the configured signal; 0: none
	Budget          int64          `json:"budget,omitzero"`            // of the container's stop that the stop belongs to, ns; 0: of none
}

// Bounds of the saved state: the whole must fit into one item of the fd store. Texts in bytes.
const (
	maxText             = 4 << 10
	maxAttachData       = 4 << 10
	maxOccurrenceReason = 512 // a start has several occurrences
	maxNotes            = 64
	maxDegraded         = 16 // health issues
	maxDegradedText     = 1 << 10
	maxHistory          = 1000 // starts that count for the limit; a limit above it is none
	maxStartCounts      = 500  // Supervisor.startCounts
)

// save makes the state readable, puts it into the fd store and publishes what occurred.
func (s *Service) save() {
	s.publish()
	s.putState()
	s.publishOccurrences()
}

func (s *Service) putState() {
	s.unsaved = false
	s.env.saveState(s.name, s.saved)
}
