package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// environment is what a service needs of the rest, by role. Supervisor has the first three.
type environment struct {
	processHost
	coordinator
	stateStore
	failureRecorder
	listener Listener                                   // nil: none
	entered  func(service string, st State, rests bool) // Options.Entered; nil: none
}

// processHost starts processes and knows the system.
type processHost interface {
	// startProcess starts a process whose Spec has its ID and Log.
	startProcess(ctx context.Context, spec proc.Spec) (Process, error)
	// Log is the service's captured output; nil: none is captured.
	Log(name string) *logs.Log
	// logAfterOutput writes what is logged from now on after the service's output so far.
	logAfterOutput(name string)
	// oomCount reads the counter of OOM kills of these cgroups; without any: of the container's.
	// If fresh is false, that may be a reading of at most oomAge ago.
	oomCount(cgroups []string, fresh bool) incident.OOMCount
	// now is CLOCK_BOOTTIME in ns.
	now() int64
}

// coordinator orders the starts and stops of services.
type coordinator interface {
	// mayStart returns what a service must wait for before it starts; empty: nothing.
	mayStart(name string) (why string)
	// mayStop returns what must have stopped before a service is stopped.
	mayStop(name string) (why string)
	// wakeWaiters checks the services that wait for others.
	wakeWaiters()
	// checkEnd checks whether the end or failure of a service ends the container.
	checkEnd()
	// removeStopped removes a STOPPED service that is not configured any more.
	removeStopped(name string)
}

// stateStore keeps what outlives the supervisor.
type stateStore interface {
	saveState(name string, state any)
	updateStopPlan()
}

// failureRecorder records failures; *incident.Recorder is one.
type failureRecorder interface {
	Record(f *incident.Failure)
	AddThreadDump(service string, start uint64, text []byte)
}

// request is a command to a service and where its answer goes.
type request struct {
	event         Event
	by            string         // the requester, for the operator
	limit         time.Duration  // stop: at most this long; 0: as configured
	budget        time.Duration  // stop: that of the container's stop; 0: it is not one
	sig           syscall.Signal // stop: instead of the configured signal; 0: none
	def           *Definition    // changed: what it is now
	removed       bool           // stop: it is not configured any more
	accepted      bool           // stop: answered when it is accepted, not when the service is STOPPED
	secondRequest bool           // stop: its hooks have been waited for long enough
	pid           int            // restart: only while it is RUNNING with this process; 0: in any state
	after         *uint64        // start, restart: only while no start later than this one has begun; nil: in any case
	start         *uint64        // start, restart: takes the number of the start that it leads to; nil: not wanted
	reply         chan error
}

// event is an Event with its data. One of an earlier start than gen is dropped.
type event struct {
	kind      Event
	gen       uint64
	launch    *Launch
	err       error
	text      string    // failure found: the reason; hooks done: the lifecycle event
	exit      proc.Exit // exited
	debugging Debugging // debugger
	req       *request  // start, stop, restart, changed
	late      bool      // a reason that was found later: it may come in any state
}

// Service keeps one service running. One goroutine owns its state; others send requests or read a Snapshot.
type Service struct {
	name       string
	cfg        Config
	configHash string // fingerprint of what a process is started with
	launcher   Launcher
	env        environment
	log        hclog.Logger
	random     func() float64

	requests chan request
	events   chan event
	life     context.Context // of everything that is done for the service; over when run is
	end      context.CancelFunc
	over     chan struct{} // closed when run has ended
	output   func() output // what the service writes; nil: it is not captured
	snap     atomic.Pointer[Snapshot]
	dump     atomic.Pointer[threadDump]

	// Of the goroutine alone:
	saved        savedState // what survives us
	deadline     time.Time
	proc         Process
	launch       *Launch
	cancel       context.CancelFunc // ends Prepare and the probe of the present start
	stopWatching context.CancelFunc // ends the checks of the RUNNING service
	watcher      *watcher           // of the present start; nil: its output is not watched
	reasonOf     uint64             // the start that saved.Reason speaks of; 0: none
	oomAfter     incident.OOMCount  // when the process had ended; without Source: it was not read
	waiting      string
	askedBy      string        // of the start that has not begun; empty: it is logged
	poll         time.Duration // of a group that is ending
	stopWaiters  []chan error  // requests that wait for STOPPED
	unsaved      bool          // the fd store has occurrences as unpublished that are published
	isNew        bool          // nothing was resumed
	tracedSince  time.Time     // since when a tracer seems to keep it from being waited for; zero: it does not
	reconfigured bool          // it was leaving, and is configured again
}

// Times of a start and a run.
const (
	firstPause    = 20 * time.Millisecond // between the first two readiness checks; it doubles up to ready.every
	attachTime    = 5 * time.Second       // limit of Launcher.Attach
	verifyTime    = 5 * time.Second       // limit of Launch.Verify
	detailTime    = 3 * time.Second       // limit of HealthIssue.Detail
	reachTime     = time.Second           // limit of watcher.reach: an unfinished line at the end is not read
	liveOnTime    = time.Second           // an issue in the output belongs to the end of a service that ends within it
	earlyExitTime = 10 * time.Second      // within it the end of a process may be due to what it was started with
	provenAfter   = time.Second           // in RUNNING without a readiness probe: a program that ends at once is RUNNING too
)

func newService(d Definition, env environment, log hclog.Logger) *Service {
	s := &Service{name: d.Name, cfg: d.Config, configHash: d.ConfigHash, launcher: d.Launcher, env: env, log: log.With("name", d.Name),
		random: rand.Float64, requests: make(chan request), events: make(chan event, 16),
		cancel: func() {}, stopWatching: func() {}, over: make(chan struct{}), isNew: true}
	s.life, s.end = context.WithCancel(context.Background())
	s.output = func() output {
		if l := env.Log(s.name); l != nil {
			return l
		}
		return nil // not a *logs.Log that is nil within an interface
	}
	s.saved.State, s.saved.Since = Stopped, env.now()
	s.publish()
	return s
}

// run owns the service until ctx is done, or its end is asked for.
func (s *Service) run(ctx context.Context) {
	defer close(s.over)
	defer s.end()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if s.unsaved { // a later supervisor must not publish them again
			s.putState()
		}
		wait := time.Hour
		if !s.deadline.IsZero() {
			wait = time.Until(s.deadline)
		}
		timer.Reset(max(wait, 0))
		var exited <-chan struct{}
		if s.proc != nil && s.saved.UpSince != 0 {
			exited = s.proc.Exited()
		}
		select {
		case r := <-s.requests:
			s.handleExit()
			s.request(r)
		case h := <-s.events:
			s.handleExit()
			switch {
			case h.late:
				s.explained(h)
			case h.gen == s.saved.Gen:
				s.dispatch(h)
			}
		case <-exited:
			s.handleExit()
		case <-timer.C:
			s.handleExit()
			if !s.deadline.IsZero() && !time.Now().Before(s.deadline) {
				s.dispatch(event{kind: EvDeadline})
			}
		case <-ctx.Done():
			return
		case <-s.life.Done():
			return
		}
	}
}

// handleExit handles the end of the process before anything that was seen after it: a dead process does not become
// ready.
func (s *Service) handleExit() {
	if s.proc == nil || s.saved.UpSince == 0 {
		return
	}
	if x, ended := s.proc.Exit(); ended {
		s.dispatch(event{kind: EvExited, exit: x})
	}
}

func (s *Service) dispatch(h event) {
	if h.kind == EvPrepared && h.err != nil {
		h.kind = EvSpawnFailed
	}
	if s.saved.State == Stopping && h.kind == EvDeadline && s.leaderEnded() && len(s.proc.Members()) == 0 {
		h.kind = EvGroupEmpty
	}
	if do := ruleOf(s.saved.State, s.saved.Phase, h.kind).do; do != nil {
		do(s, h)
	}
}

// request obeys a command. A stop is answered when the service is STOPPED.
func (s *Service) request(r request) {
	if r.pid != 0 && (s.saved.State != Running || s.proc == nil || s.proc.Pid() != r.pid) {
		r.reply <- fmt.Errorf("cannot %s %q: it does not run as process %d any more", r.event, s.name, r.pid)
		return
	}
	if r.after != nil && s.saved.Gen > *r.after {
		*r.start = *r.after + 1
		r.reply <- nil
		return
	}
	switch r.event {
	case EvReconfigured:
		s.cfg, s.launcher, s.configHash = r.def.Config, r.def.Launcher, r.def.ConfigHash
		s.saved.Removed, s.saved.RemovedStop = false, nil // it is configured
	case EvStop:
		if r.removed {
			s.saved.Removed, s.saved.RemovedStop = true, &s.cfg.Stop
		}
	}
	s.dispatch(event{kind: r.event, req: &r})
	if r.start != nil {
		*r.start = s.saved.comingStart()
	}
	if r.event != EvStop || r.accepted || s.saved.State == Stopped {
		r.reply <- nil
		return
	}
	s.stopWaiters = append(s.stopWaiters, r.reply)
}

func (s *Service) start(h event) {
	s.askedBy = h.req.by
	s.resetCounters()
	s.saved.Restarts, s.saved.Removed = 0, false
	s.enterStarting()
}

// resetCounters forgets the failures that count for back-off and limits.
func (s *Service) resetCounters() {
	s.saved.InARow, s.saved.Starts, s.saved.PastLimit, s.saved.Fatal, s.saved.EarlyExits = 0, nil, false, false, 0
}

// enter is the only way into a state, which owns its deadline: a timer of one state cannot fire in another.
func (s *Service) enter(st State, limit time.Duration) {
	if st != s.saved.State {
		s.log.Debug("state", "from", s.saved.State, "to", st)
	}
	s.saved.State, s.saved.Since = st, s.env.now()
	s.setDeadline(limit)
	if st == Exited || st == Fatal {
		defer s.env.checkEnd()
	}
	if st != Starting && st != Running && st != Stopping {
		s.endStart()
	}
	if s.env.entered != nil {
		s.env.entered(s.name, st, st.rests(s.saved.Deadline != 0))
	}
	s.save()
	if st != Stopping {
		s.answer()
	}
	if st == Stopped && s.saved.Removed {
		s.env.removeStopped(s.name)
	}
}

func (s *Service) answer() {
	var err error
	if s.saved.State != Stopped {
		err = fmt.Errorf("cannot leave %q stopped: it was asked to start again meanwhile", s.name)
	}
	for _, w := range s.stopWaiters {
		w <- err
	}
	s.stopWaiters = nil
}

// setDeadline replaces the deadline; a negative limit: none.
func (s *Service) setDeadline(limit time.Duration) {
	s.deadline, s.saved.Deadline = time.Time{}, 0
	if limit >= 0 {
		s.deadline, s.saved.Deadline = time.Now().Add(limit), s.env.now()+int64(limit)
	}
}

// ask sends a request to the service's goroutine.
func (s *Service) ask(ctx context.Context, r request) error {
	r.reply = make(chan error, 1)
	for requests := s.requests; ; requests = nil { // sent once
		select {
		case requests <- r:
		case err := <-r.reply:
			return err
		case <-s.life.Done():
			return fmt.Errorf("cannot %s %q: the supervisor ends", r.event, s.name)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
