package supervisor

import (
	"encoding/json"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Snapshot is what can be said of a service at one moment: a value that others
// may keep.
type Snapshot struct {
	Name      string         `json:"name"`
	Kind      string         `json:"kind"`
	State     State          `json:"state"`
	Main      bool           `json:"main"`
	Essential bool           `json:"essential,omitempty"`
	Pid       int            `json:"pid,omitempty"` // 0: no process
	Since     time.Time      `json:"since"`         // in this state
	UpSince   *time.Time     `json:"up_since,omitempty"`
	Restarts  int            `json:"restarts"`               // by policy, since it was last asked for
	Reason    string         `json:"reason,omitempty"`       // why it is not up, or failed last
	Waiting   string         `json:"waiting_for,omitempty"`  // STARTING, STOPPING: who comes first, or what the last look at readiness found
	Phase     string         `json:"phase,omitempty"`        // STOPPING: how far it is
	Unhealthy string         `json:"unhealthy,omitempty"`    // RUNNING: what the last look at liveness found; empty: all is well
	Looks     int            `json:"failed_looks,omitempty"` // at liveness, in a row
	Debugger  string         `json:"debugger,omitempty"`     // STARTING, RUNNING: "waits for a debugger on port 5005"; empty: there is none
	Ill       string         `json:"ill,omitempty"`          // RUNNING: what it said itself that makes it unhealthy
	Degraded  string         `json:"degraded,omitempty"`     // RUNNING: what part of it does not work
	Reported  bool           `json:"reported,omitempty"`     // it does not count as healthy any more
	Leaving   bool           `json:"leaving,omitempty"`      // not configured any more
	Requires  []string       `json:"requires,omitempty"`
	After     []string       `json:"after,omitempty"`
	Oneshot   bool           `json:"oneshot,omitempty"`
	Exit      *incident.Exit `json:"exit,omitempty"`          // how the latest process ended
	Previous  *incident.Exit `json:"previous_exit,omitempty"` // how the one before ended
	Next      *time.Time     `json:"next_start,omitempty"`    // BACKOFF, FATAL: when it is tried again
	Deadline  *time.Time     `json:"deadline,omitempty"`      // STARTING, STOPPING: when patience ends
	Left      []int          `json:"left,omitempty"`          // STOPPING: its processes that live on without their leader
	Notes     []string       `json:"notes,omitempty"`         // what the start found
	Output    *logs.Stats    `json:"output,omitempty"`
	// Incident is the number of its latest incident; 0: none is kept.
	Incident uint64 `json:"incident,omitempty"`
	// Settled says that STOPPED, EXITED or FATAL will not change by itself.
	Settled bool `json:"-"`
	// Start numbers the start that the service is in, or the one that follows the stop
	// that is under way; 0: there was none.
	Start uint64 `json:"start,omitempty"`
	// Starts numbers the latest start; 0: it was never started.
	Starts uint64 `json:"starts,omitempty"`
	// Sources is Launch.Sources of the latest process.
	Sources string `json:"-"`
	gen     uint64
	round   uint64
	held    bool  // it waits for others
	then    State // STOPPING: what follows
	asked   string
	ends    bool // the container ends because of it
	// unproven says that nothing proves its readiness: RUNNING means that it runs.
	unproven bool
}

// Snapshot gives the latest one.
func (s *Service) Snapshot() Snapshot {
	snap := *s.snap.Load()
	if log := s.world.Log(s.name); log != nil {
		stats := log.Stats()
		snap.Output = &stats
	}
	return snap
}

// publish makes the present state readable for others.
func (s *Service) publish() {
	k := &s.kept
	snap := &Snapshot{Name: s.name, State: k.State, Since: s.wall(k.Since), Restarts: k.Restarts, Reason: k.Reason,
		Exit: k.Exit, Previous: k.Previous, Notes: k.Notes, Essential: s.cfg.Essential,
		Requires: s.cfg.Requires, After: s.cfg.After, Oneshot: s.cfg.Oneshot, Leaving: k.Leaving,
		Sources: k.Sources, Starts: k.Gen, Start: k.comingStart(), gen: k.Gen, round: k.Round, held: k.Held,
		then: k.Then, asked: k.Asked, ends: k.Ends, unproven: s.launch != nil && s.launch.unproven(s.cfg.Ready)}
	if k.UpSince != 0 {
		t := s.wall(k.UpSince)
		snap.UpSince = &t
	}
	if s.proc != nil && k.UpSince != 0 {
		snap.Pid = s.proc.Pid()
	}
	if k.Deadline != 0 {
		t := s.wall(k.Deadline)
		switch k.State {
		case Delayed, Fatal:
			snap.Next = &t
		case Starting, Stopping:
			snap.Deadline = &t
		}
	}
	switch k.State {
	case Starting:
		snap.Waiting = s.probeErr
		if k.Awaited != nil {
			snap.Waiting = "pre-start hooks"
		}
		snap.Debugger = k.Debugging.Text
	case Running:
		if k.Sick > 0 || k.Reported {
			snap.Unhealthy, snap.Looks, snap.Reported = k.LiveErr, k.Sick, k.Reported
		}
		snap.Ill = k.texts(func(c Complaint) bool { return c.Ill })
		snap.Degraded = k.texts(func(c Complaint) bool { return c.Degraded })
		snap.Debugger = k.Debugging.Text
	case Stopping:
		snap.Phase = k.phase()
		if k.Held {
			snap.Waiting = s.probeErr
		}
		if s.proc != nil && k.UpSince == 0 {
			snap.Left = s.proc.Members()
		}
	case Stopped, Exited:
		snap.Settled = true
	case Fatal:
		snap.Settled = k.Deadline == 0
	}
	for _, text := range []*string{&snap.Waiting, &snap.Unhealthy, &snap.Ill, &snap.Degraded} { // Reason is clipped
		*text = redact.Text(*text)
	}
	old := s.snap.Swap(snap)
	if old == nil || old.State != snap.State || old.held != snap.held || (old.Pid == 0) != (snap.Pid == 0) ||
		old.round != snap.round || old.then != snap.then {
		defer s.world.Moved() // after the plan is there too
	}
	if s.proc == nil {
		s.plan.Store(nil)
		s.process.Store(nil)
		return
	}
	p := s.proc
	s.process.Store(&p)
	if s.launch != nil {
		s.dumpSignal.Store(int32(s.launch.DumpSignal))
	}
	s.plan.Store(&planEntry{s.proc.Pid(), s.proc.StartTicks(), s.stopSignal(), s.cfg.Stop.Timeout})
}

// wall converts CLOCK_BOOTTIME to the time of day.
func (s *Service) wall(boot int64) time.Time {
	return time.Now().Add(time.Duration(boot - s.world.Now()))
}

// phaseHooks is the phase of a stop that waits for hooks.
const phaseHooks = "pre-stop hooks"

// phase is how far a stop has come.
func (k *kept) phase() string {
	switch {
	case k.Held:
		return "waits"
	case k.Awaited != nil:
		return phaseHooks
	case k.Killed:
		return "killed"
	case k.Draining:
		return "drains"
	case k.Asking:
		return "stop command"
	case k.Dumped:
		return "thread dump"
	default:
		return "asked to end"
	}
}

// resume takes up the state of an earlier supervisor. p is its latest process;
// nil: there is none, or what the bag said of it was an intent that came to
// nothing.
func (s *Service) resume(state []byte, p Process) error {
	if err := json.Unmarshal(state, &s.kept); err != nil {
		s.kept = kept{State: Stopped, Since: s.world.Now()}
		return err
	}
	s.fresh = false
	if _, gone := s.launcher.(noLauncher); s.kept.Leaving && !gone {
		s.kept.Leaving, s.kept.LeavingStop, s.back = false, nil, true
	}
	if s.kept.Deadline != 0 {
		s.deadline = time.Now().Add(max(time.Duration(s.kept.Deadline-s.world.Now()), 0))
	}
	s.resumeRound(p)
	s.poll = firstPoll
	switch s.kept.State {
	case Starting, Running, Stopping:
		s.proc = p
	default:
		if p != nil { // its end had been dealt with; only the word of that was missing
			go endStray(p) // ends with the process
		}
	}
	if s.proc != nil && s.kept.UpSince == 0 {
		// Either the pid came into the bag and our state did not, or its end is dealt
		// with and only its group is still of interest.
		if _, ended := p.Exit(); !ended || s.kept.State != Stopping {
			s.kept.UpSince = s.world.Now()
		}
	}
	s.publish()
	return nil
}

// pickUp goes on from the resumed state, in the service's own goroutine.
func (s *Service) pickUp() {
	s.retell()
	switch s.kept.State {
	case Starting:
		s.pickUpStart()
	case Running:
		if s.proc == nil { // its end is dealt with, but not in the bag: as if it ended now
			s.kept.UpSince, s.kept.Exit = 0, nil
			s.blame("ended while no supervisor worked; how is unknown")
			s.recordFailure("", 0)
			s.settle(false)
			return
		}
		s.attach()
		if s.kept.Ends {
			s.world.Rested()
		}
	case Stopping:
		s.pickUpStop()
	case Exited, Fatal:
		s.world.Rested() // nobody may have heard it
	case Stopped:
		if s.kept.Leaving {
			s.world.Left(s.name)
		}
	case Delayed:
	}
	s.publish()
}

func (s *Service) pickUpStart() {
	switch {
	case s.proc != nil:
		s.attach()
	case s.kept.Held:
		s.releasedStart(happening{})
	case s.kept.Awaited != nil:
		s.awaitHooks()
	case s.reached(lifecycle.Started): // there was a process, of whose end nobody knows
		s.enterStarting()
	default: // the start came to nothing: the same one again
		left := time.Until(s.deadline)
		s.try()
		if !s.kept.Held {
			s.setDeadline(max(left, 0))
			s.keep()
		}
	}
}

func (s *Service) pickUpStop() {
	if s.proc == nil {
		s.followStop()
		return
	}
	s.attach()
	k := &s.kept
	switch {
	case k.Held:
		s.releasedStop(happening{})
	case k.Awaited != nil:
		s.awaitHooks()
	case k.Draining, k.Told, k.Signaled, k.Killed, k.Dumped:
	case len(s.cfg.Stop.Command) == 0: // else EvAttached brings the command
		s.askEnd()
	case k.Deadline == 0:
		s.setDeadline(s.patience())
	}
	if s.leaderGone() {
		s.awaitGroup()
	}
}
