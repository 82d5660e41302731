package supervisor

import (
	"encoding/json"
	"syscall"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// savedState is the state of a service that the next supervisor gets, possibly of another
// version. Times are CLOCK_BOOTTIME, ns.
type savedState struct {
	State           State          `json:"state"`
	Gen             uint64         `json:"gen"`               // number of the latest start
	Restarts        int            `json:"restarts"`          // by policy, since it was last asked for
	InARow          int            `json:"in_a_row"`          // of them, without a stable time between
	Starts          startTimes     `json:"starts"`            // by policy, for the limit
	PastLimit       bool           `json:"past_limit"`        // past the limit, and not stable since
	Fatal           bool           `json:"fatal"`             // fatal has occurred, and it was not stable since
	Uncounted       bool           `json:"uncounted"`         // the latest end does not count for the limit
	Since           int64          `json:"since"`             // in this state
	UpSince         int64          `json:"up_since"`          // of the process
	Deadline        int64          `json:"deadline"`          // 0: none
	Then            State          `json:"then"`              // STOPPING: what follows
	Phase           Phase          `json:"phase"`             // STARTING, STOPPING
	Dumped          bool           `json:"dumped"`            // STOPPING: a thread dump was requested; there is only one
	DumpAt          int64          `json:"dump_at"`           // where in the output the thread dump begins; 0: nowhere
	KillBy          int64          `json:"kill_by"`           // STOPPING: the end of the limit that came with the request; 0: none
	StopSig         syscall.Signal `json:"stop_sig"`          // instead of the configured signal; 0: none
	StopRequestedBy string         `json:"stop_requested_by"` // empty: the stop was not requested
	Exit            *incident.Exit `json:"exit"`              // of the latest process
	Previous        *incident.Exit `json:"previous"`          // how the process before the latest ended
	Reason          string         `json:"reason"`            // why it is not up
	Notes           []string       `json:"notes"`             // what the last start found
	LogStart        int64          `json:"log_start"`         // where the latest process's output begins
	ConfigHash      string         `json:"config_hash"`       // fingerprint of what the latest process was started with
	Sources         string         `json:"sources"`           // Launch.Sources of the latest process
	AttachData      string         `json:"attach_data"`       // Launch.AttachData of the latest process
	LiveFailures    int            `json:"live_failures"`     // RUNNING: consecutive failed liveness checks
	LiveSuccesses   int            `json:"live_successes"`    // RUNNING: successful checks since it was reported
	LiveError       string         `json:"live_error"`        // of the latest failed check
	// HealthIssues are what was found wrong with the latest process while it ran.
	HealthIssues  []HealthIssue     `json:"health_issues,omitempty"`
	Reported      bool              `json:"reported"`       // RUNNING: it does not count as healthy
	EndsContainer bool              `json:"ends_container"` // the container ends because of it
	Removed       bool              `json:"leaving"`        // not configured any more: it goes when it is STOPPED
	OOM           incident.OOMCount `json:"oom"`            // of its cgroup when the latest process was started
	// Start is the number of the first try of the present start; its events have this number.
	Start       uint64                 `json:"round"`
	Attempt     int                    `json:"attempt"`               // consecutive starts without a stable time, from 1
	Reached     []lifecycle.Event      `json:"reached,omitempty"`     // of this start, in order
	Unpublished []lifecycle.Occurrence `json:"unpublished,omitempty"` // may not be published yet
	Awaited     *lifecycle.Occurrence  `json:"awaited,omitempty"`     // STARTING, STOPPING: its hooks come first; nil: none do
	Pid         int                    `json:"pid"`                   // of this start's process; 0: there was none
	Port        int                    `json:"port"`                  // Launch.Port
	Budget      int64                  `json:"budget"`                // of the stop that the stop of the service belongs to, ns; 0: of none
	// OOMKilled says that the kernel's OOM killer ended the latest process.
	OOMKilled   bool   `json:"oom_killed"`
	NextVariant string `json:"next_variant"` // why the next start is another variant; empty: it is not
	Variant     string `json:"variant"`      // the same of the present one
	EarlyExits  int    `json:"early_exits"`  // in a row, without a stable time between
	Confirmed   bool   `json:"confirmed"`    // OnStable was called
	Permanent   bool   `json:"permanent"`    // the latest start failed with a PermanentError
	// Debugging is of the latest process; StartLeft what its start has left when the time
	// goes on, ns.
	Debugging Debugging         `json:"debugging"`
	StartLeft int64             `json:"start_left"`
	Failure   *incident.Failure `json:"failure"` // the latest; it may not be recorded yet
	// RemovedStop is how it is to be stopped when its configuration is gone.
	RemovedStop *Stop `json:"leaving_stop,omitempty"`
}

// maxAttachData bounds what a start may have learned, in bytes.
const maxAttachData = 4 << 10

// save makes the state readable, puts it into the fd store and publishes what occurred.
func (s *Service) save() {
	s.publish()
	s.putState()
	s.publishOccurrences()
}

// putState puts the state into the fd store.
func (s *Service) putState() {
	s.unsaved = false
	state, err := json.Marshal(s.saved)
	if err != nil {
		s.log.Error("cannot save the state of a service", "error", err)
		return
	}
	s.env.SaveState(s.name, state)
}
