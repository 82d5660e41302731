package supervisor

import (
	"encoding/json"
	"syscall"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// savedState is the state of a service for the next supervisor. Times are CLOCK_BOOTTIME, ns.
type savedState struct {
	State     State      `json:"state"`
	Gen       uint64     `json:"gen"`        // number of the latest attempt
	Restarts  int        `json:"restarts"`   // by policy, since the latest requested start
	InARow    int        `json:"in_a_row"`   // of them, without a stable time between
	Starts    startTimes `json:"starts"`     // by policy, for the limit
	PastLimit bool       `json:"past_limit"` // past the limit, and not stable since
	Fatal     bool       `json:"fatal"`      // fatal has occurred, and it was not stable since
	Since     int64      `json:"since"`      // in this state
	UpSince   int64      `json:"up_since"`   // of the process
	Deadline  int64      `json:"deadline"`   // 0: none
	Then      State      `json:"then"`       // STOPPING: what follows
	Phase     Phase      `json:"phase"`      // STARTING, STOPPING
	Dumped    bool       `json:"dumped"`     // STOPPING: a thread dump was requested; there is only one
	KillBy    int64      `json:"kill_by"`    // STOPPING: the end of the limit that came with the request; 0: none

	Exit     *incident.Exit `json:"exit"`      // of the latest process
	Previous *incident.Exit `json:"previous"`  // how the process before the latest ended
	Reason   string         `json:"reason"`    // why it is not up
	Notes    []string       `json:"notes"`     // what the latest attempt found
	LogStart int64          `json:"log_start"` // where the latest process's output begins

	EndsContainer bool              `json:"ends_container"`         // the container ends because of it
	Removed       bool              `json:"removed"`                // not configured any more: it goes when it is STOPPED
	RemovedStop   *Stop             `json:"removed_stop,omitempty"` // how it is stopped when its configuration is gone
	OOM           incident.OOMCount `json:"oom"`                    // of its cgroup when the latest process was started
	Failure       *incident.Failure `json:"failure"`                // the latest; it may not be recorded yet

	Start       uint64                 `json:"start"`                 // number of the first attempt of the present start
	Attempt     int                    `json:"attempt"`               // consecutive starts without a stable time, from 1
	Reached     []lifecycle.Event      `json:"reached,omitempty"`     // of this start, in order
	Unpublished []lifecycle.Occurrence `json:"unpublished,omitempty"` // may not be published yet
	Awaited     *lifecycle.Occurrence  `json:"awaited,omitempty"`     // STARTING, STOPPING: its hooks come first; nil: none do
	NextVariant string                 `json:"next_variant"`          // why the next start is another variant; empty: it is not
	Variant     string                 `json:"variant"`               // the same of the present one
	EarlyExits  int                    `json:"early_exits"`           // in a row, without a stable time between

	attemptState
}

// attemptState is the part of the state that every attempt begins without.
type attemptState struct {
	Pid        int    `json:"pid"`         // of this start's process; 0: there was none
	Port       int    `json:"port"`        // Launch.Port
	ConfigHash string `json:"config_hash"` // fingerprint of what the process was started with
	Sources    string `json:"sources"`     // Launch.Sources
	AttachData string `json:"attach_data"` // Launch.AttachData
	Permanent  bool   `json:"permanent"`   // it failed with a PermanentError
	Uncounted  bool   `json:"uncounted"`   // its end does not count for the limit
	OOMKilled  bool   `json:"oom_killed"`  // the kernel's OOM killer ended the process

	LiveFailures  int           `json:"live_failures"`           // RUNNING: consecutive failed liveness checks
	LiveSuccesses int           `json:"live_successes"`          // RUNNING: successful checks since it was reported
	LiveError     string        `json:"live_error"`              // of the latest failed check
	Reported      bool          `json:"reported"`                // RUNNING: it does not count as healthy
	HealthIssues  []HealthIssue `json:"health_issues,omitempty"` // what was found wrong while it ran
	Debugging     Debugging     `json:"debugging"`
	StartLeft     int64         `json:"start_left"` // what the start timeout has left when the debugger is gone, ns

	StopRequestedBy string         `json:"stop_requested_by"` // empty: the stop was not requested
	StopSig         syscall.Signal `json:"stop_sig"`          // instead of the configured signal; 0: none
	Budget          int64          `json:"budget"`            // of the container's stop that the stop belongs to, ns; 0: of none
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
	state, err := json.Marshal(s.saved)
	if err != nil {
		s.log.Error("cannot save the state of a service", "error", err)
		return
	}
	s.env.saveState(s.name, state)
}
