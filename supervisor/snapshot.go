package supervisor

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// Snapshot is what can be said of a service at one moment: a value that others
// may keep.
type Snapshot struct {
	Name      string      `json:"name"`
	Kind      string      `json:"kind"`
	State     State       `json:"state"`
	Main      bool        `json:"main"`
	Essential bool        `json:"essential,omitempty"`
	Pid       int         `json:"pid,omitempty"` // 0: no process
	Since     time.Time   `json:"since"`         // in this state
	UpSince   *time.Time  `json:"up_since,omitempty"`
	Restarts  int         `json:"restarts"`                // by policy, since it was last asked for
	Reason    string      `json:"reason,omitempty"`        // why it is not up, or failed last
	Waiting   string      `json:"waiting_for,omitempty"`   // STARTING: what the last look at readiness found
	Exit      *ExitInf    `json:"exit,omitempty"`          // how the latest process ended
	Previous  *ExitInf    `json:"previous_exit,omitempty"` // how the one before ended
	Next      *time.Time  `json:"next_start,omitempty"`    // BACKOFF, FATAL: when it is tried again
	Deadline  *time.Time  `json:"deadline,omitempty"`      // STARTING, STOPPING: when patience ends
	Left      []int       `json:"left,omitempty"`          // STOPPING: members of its group that live on without their leader
	Notes     []string    `json:"notes,omitempty"`         // what the start found
	Output    *proc.Stats `json:"output,omitempty"`
	// Settled says that STOPPED, EXITED or FATAL will not change by itself.
	Settled bool `json:"-"`
	gen     uint64
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
		Exit: k.Exit, Previous: k.Previous, Notes: k.Notes, Essential: s.cfg.Essential, gen: k.Gen}
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
	case Stopping:
		if s.proc != nil && k.UpSince == 0 {
			snap.Left = s.proc.Members()
		}
	case Stopped, Exited:
		snap.Settled = true
	case Fatal:
		snap.Settled = k.Deadline == 0
	}
	s.snap.Store(snap)
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

// keep puts the state into the bag and makes it readable.
func (s *Service) keep() {
	s.publish()
	if state, err := json.Marshal(s.kept); err == nil {
		s.world.Keep(s.name, state)
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
	if s.kept.Deadline != 0 {
		s.deadline = time.Now().Add(max(time.Duration(s.kept.Deadline-s.world.Now()), 0))
	}
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

// attach asks the launcher for what belongs to a process that runs already.
func (s *Service) attach() {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	l, err := s.launcher.Attach(ctx)
	if err != nil {
		s.log.Warn("cannot find out everything about a running service", "error", err)
	}
	if l == nil {
		l = &Launch{}
	}
	s.launch = l
}

// pickUp goes on from the resumed state, in the service's own goroutine.
func (s *Service) pickUp() {
	switch s.kept.State {
	case Starting:
		if s.proc == nil { // the start came to nothing: the same one again
			left := time.Until(s.deadline)
			s.enterStarting()
			s.setDeadline(max(left, 0))
			s.keep()
			return
		}
		s.attach()
		s.attend()
	case Running:
		if s.proc == nil { // its end is dealt with, but not in the bag: as if it ended now
			s.kept.UpSince, s.kept.Exit = 0, nil
			s.blame("ended while no supervisor worked; nobody knows how")
			s.settle(false)
			return
		}
		s.attach()
	case Stopping:
		if s.proc == nil {
			s.followStop()
			return
		}
		s.attach()
		if !s.kept.Signaled {
			s.signalStop()
		}
		if s.leaderGone() {
			s.awaitGroup()
		}
	case Exited, Fatal:
		s.world.Rested() // nobody may have heard it
	case Stopped, Delayed:
	}
	s.publish()
}
