package supervisor

import (
	"encoding/json"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Snapshot is the state of a service at one moment: a value that others may keep.
type Snapshot struct {
	Name         string         `json:"name"`
	Kind         string         `json:"kind"`
	State        State          `json:"state"`
	Main         bool           `json:"main"`
	Essential    bool           `json:"essential,omitempty"`
	Pid          int            `json:"pid,omitempty"` // 0: no process
	Since        time.Time      `json:"since"`         // in this state
	UpSince      *time.Time     `json:"up_since,omitempty"`
	Restarts     int            `json:"restarts"`               // by policy, since it was last asked for
	Reason       string         `json:"reason,omitempty"`       // why it is not up, or failed last
	Waiting      string         `json:"waiting_for,omitempty"`  // STARTING, STOPPING: what comes first, or the last readiness error
	Phase        string         `json:"phase,omitempty"`        // STOPPING: how far it is
	Unhealthy    string         `json:"unhealthy,omitempty"`    // RUNNING: the last liveness error; empty: healthy
	LiveFailures int            `json:"failed_looks,omitempty"` // at liveness, in a row
	Debugger     string         `json:"debugger,omitempty"`     // STARTING, RUNNING: "waits for a debugger on port 5005"; empty: there is none
	Issue        string         `json:"issue,omitempty"`        // RUNNING: the health issues that make it unhealthy
	Degraded     string         `json:"degraded,omitempty"`     // RUNNING: what part of it does not work
	Reported     bool           `json:"reported,omitempty"`     // it does not count as healthy any more
	Removed      bool           `json:"leaving,omitempty"`      // not configured any more
	Requires     []string       `json:"requires,omitempty"`
	After        []string       `json:"after,omitempty"`
	Oneshot      bool           `json:"oneshot,omitempty"`
	Exit         *incident.Exit `json:"exit,omitempty"`          // how the latest process ended
	Previous     *incident.Exit `json:"previous_exit,omitempty"` // how the one before ended
	Next         *time.Time     `json:"next_start,omitempty"`    // BACKOFF, FATAL: when it is tried again
	Deadline     *time.Time     `json:"deadline,omitempty"`      // STARTING, STOPPING: when its time is over
	Left         []int          `json:"left,omitempty"`          // STOPPING: its processes that live on without their leader
	Notes        []string       `json:"notes,omitempty"`         // what the start found
	Output       *logs.Stats    `json:"output,omitempty"`
	// Listen are the sockets that are kept open for it; the daemon adds them.
	Listen []Socket `json:"listen,omitempty"`
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
	Sources         string `json:"-"`
	start           uint64
	waitingForDeps  bool  // it waits for others
	then            State // STOPPING: what follows
	stopRequestedBy string
	endsContainer   bool // the container ends because of it
	// unproven says that nothing proves its readiness: RUNNING means that it runs.
	unproven    bool
	process     Process        // nil: none
	dumpSignal  syscall.Signal // of the process; 0: it makes no thread dumps
	stopSignal  syscall.Signal
	stopTimeout time.Duration
}

// Socket is a listening socket that is kept open for a service.
type Socket struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Waiting int    `json:"waiting"` // connections that the service has not accepted yet
	Backlog int    `json:"backlog"` // how many may wait
	// FullSince is when the queue was first seen full; nil: it is not.
	FullSince *time.Time `json:"full_since,omitempty"`
	Fills     uint64     `json:"fills,omitempty"` // how often it was seen to become full
}

// Snapshot is the state of a service at one moment: a value that others may keep.
func (s *Service) Snapshot() Snapshot {
	snap := *s.snap.Load()
	if log := s.env.Log(s.name); log != nil {
		stats := log.Stats()
		snap.Output = &stats
	}
	return snap
}

// publish makes the present state readable for others.
func (s *Service) publish() {
	k := &s.saved
	snap := &Snapshot{Name: s.name, State: k.State, Since: s.wall(k.Since), Restarts: k.Restarts, Reason: k.Reason,
		Exit: k.Exit, Previous: k.Previous, Notes: k.Notes, Essential: s.cfg.Essential,
		Requires: s.cfg.Requires, After: s.cfg.After, Oneshot: s.cfg.Oneshot, Removed: k.Removed,
		Sources: k.Sources, Starts: k.Gen, Start: k.comingStart(), start: k.Start, waitingForDeps: k.Phase == PhaseWaiting,
		then: k.Then, stopRequestedBy: k.StopRequestedBy, endsContainer: k.EndsContainer,
		process: s.proc, stopSignal: s.stopSignal(), stopTimeout: s.cfg.Stop.Timeout}
	if s.launch != nil {
		snap.unproven, snap.dumpSignal = s.launch.unproven(s.cfg.Ready), s.launch.DumpSignal
	}
	if s.proc != nil && k.UpSince != 0 {
		snap.Pid = s.proc.Pid()
	}
	snap.UpSince = s.wallOf(k.UpSince)
	switch k.State {
	case Starting:
		snap.Deadline, snap.Waiting = s.wallOf(k.Deadline), s.waiting
		if k.Phase == PhaseHooks {
			snap.Waiting = "pre-start hooks"
		}
		snap.Debugger = k.Debugging.Text
	case Running:
		if k.LiveFailures > 0 || k.Reported {
			snap.Unhealthy, snap.LiveFailures, snap.Reported = k.LiveError, k.LiveFailures, k.Reported
		}
		snap.Issue = k.texts(func(c HealthIssue) bool { return c.Unhealthy })
		snap.Degraded = k.texts(func(c HealthIssue) bool { return c.Degraded })
		snap.Debugger = k.Debugging.Text
	case Stopping:
		snap.Deadline, snap.Phase = s.wallOf(k.Deadline), k.Phase.String()
		if k.Phase == PhaseWaiting {
			snap.Waiting = s.waiting
		}
		if s.proc != nil && k.UpSince == 0 {
			snap.Left = s.proc.Members()
		}
	case Backoff, Fatal:
		snap.Next = s.wallOf(k.Deadline)
	}
	snap.Settled = k.State.rests(k.Deadline != 0)
	for _, text := range []*string{&snap.Waiting, &snap.Unhealthy, &snap.Issue, &snap.Degraded} { // Reason is clipped
		*text = redact.Text(*text)
	}
	old := s.snap.Swap(snap)
	if old == nil || old.State != snap.State || old.waitingForDeps != snap.waitingForDeps || (old.Pid == 0) != (snap.Pid == 0) ||
		old.start != snap.start || old.then != snap.then {
		s.env.wakeWaiters()
	}
}

// wall converts CLOCK_BOOTTIME to the time of day.
func (s *Service) wall(boot int64) time.Time {
	return time.Now().Add(time.Duration(boot - s.env.now()))
}

// wallOf is wall; nil: 0, which is no time.
func (s *Service) wallOf(boot int64) *time.Time {
	if boot == 0 {
		return nil
	}
	t := s.wall(boot)
	return &t
}

// resume takes over the state of an earlier supervisor, and its process out of processes.
func (s *Service) resume(state []byte, processes map[string]Process) error {
	if err := json.Unmarshal(state, &s.saved); err != nil {
		s.saved = savedState{State: Stopped, Since: s.env.now()}
		return err
	}
	s.isNew, s.poll = false, firstPoll
	if _, gone := s.launcher.(noLauncher); s.saved.Removed && !gone {
		s.saved.Removed, s.saved.RemovedStop, s.reconfigured = false, nil, true
	}
	if s.saved.Deadline != 0 {
		s.deadline = time.Now().Add(max(time.Duration(s.saved.Deadline-s.env.now()), 0))
	}
	switch s.saved.State {
	case Starting, Running, Stopping: // in another one its end was handled, but not acknowledged
		id := s.processID()
		s.proc = processes[id]
		delete(processes, id)
	}
	if s.proc != nil {
		s.saved.Pid = s.proc.Pid()
		// Either the pid was saved and our state was not, or its end was handled and only its group is left.
		if _, ended := s.proc.Exit(); s.saved.UpSince == 0 && (!ended || s.saved.State != Stopping) {
			s.saved.UpSince = s.env.now()
		}
	}
	s.publish()
	return nil
}

// continueState goes on from the resumed state, in the service's own goroutine.
func (s *Service) continueState() {
	s.republish()
	switch s.saved.State {
	case Starting:
		s.continueStart()
	case Running:
		if s.proc == nil { // its end was handled, but not saved: as if it ended now
			s.saved.UpSince, s.saved.Exit = 0, nil
			s.setReason("ended while no supervisor worked; how is unknown")
			s.record(s.failure("", s.saved.Reason, 0))
			s.applyRestartPolicy(false)
			return
		}
		s.attach()
		if s.saved.EndsContainer {
			s.env.checkEnd()
		}
	case Stopping:
		s.continueStop()
	case Exited, Fatal:
		s.env.checkEnd() // it may not have been noticed
	case Stopped:
		if s.saved.Removed {
			s.env.removeStopped(s.name)
		}
	case Backoff:
	}
	s.publish()
}

func (s *Service) continueStart() {
	switch {
	case s.proc != nil:
		s.attach()
	case s.saved.Phase == PhaseWaiting:
		s.unblockStart()
	case s.saved.Phase == PhaseHooks:
		s.awaitHooks()
	case s.occurred(lifecycle.Started): // there was a process, whose end is unknown
		s.enterStarting()
	default: // the start came to nothing: the same one again
		left := time.Until(s.deadline)
		s.attempt()
		if s.saved.Phase != PhaseWaiting {
			s.setDeadline(max(left, 0))
			s.save()
		}
	}
}

func (s *Service) continueStop() {
	if s.proc == nil {
		s.afterStop()
		return
	}
	s.attach()
	switch {
	case s.saved.Phase == PhaseWaiting:
		s.unblockStop()
	case s.saved.Phase == PhaseHooks:
		s.awaitHooks()
	case s.saved.Phase > PhaseHooks && s.saved.Phase != PhaseCommand:
	case len(s.cfg.Stop.Command) == 0: // else EvAttached brings the command
		s.terminate()
	case s.saved.Deadline == 0:
		s.setDeadline(s.stopTimeout())
	}
	if s.leaderEnded() {
		s.awaitGroup()
	}
}
