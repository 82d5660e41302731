package pid1

import (
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// tickCounter counts steps of the init's own running time: one that comes late, because
// the container was paused or the machine suspended, starts the count again.
type tickCounter struct {
	at time.Time
	n  int
}

// tick counts a step that is due; gap: the count began again.
func (t *tickCounter) tick(now time.Time, step time.Duration) (due, gap bool) {
	since := now.Sub(t.at)
	if since < step {
		return false, false
	}
	t.at = now
	if gap = since > 3*step; gap {
		t.n = -1
	}
	t.n++
	return true, gap
}

// watchdogLimits: after quiet without a message the watchdog sends CHECK, and after limit
// further steps it kills.
type watchdogLimits struct {
	quiet, step time.Duration
	limit       int
}

// A supervisor pings every 30 s, and every 250 ms while the container stops. One that adopts
// may have to wait 10 s for a child between clone and exec.
func (s *supervisorProc) watchdogLimits(stopping bool) watchdogLimits {
	switch {
	case stopping:
		return watchdogLimits{500 * time.Millisecond, 100 * time.Millisecond, 5}
	case !s.hello || s.onTrial && !s.healthy:
		return watchdogLimits{time.Second, time.Second, 9}
	case !s.healthy:
		return watchdogLimits{20 * time.Second, time.Second, 10}
	default:
		return watchdogLimits{40 * time.Second, time.Second, 10}
	}
}

// noteAlive notes a message. If a certain one is awaited others do not count.
func (s *supervisorProc) noteAlive(now time.Time) {
	if s.awaitAck || s.onTrial && !s.healthy {
		return
	}
	s.aliveAt, s.expectedSince, s.checking, s.checkTicks = now, time.Time{}, false, tickCounter{}
}

// activityTime is how long a supervisor that has something to do, an exit to acknowledge or
// output to read, may be silent before CHECK.
const activityTime = 5 * time.Second

// expectActivity notes that the supervisor has something to do.
func (s *supervisorProc) expectActivity(now time.Time) {
	if s.healthy && s.expectedSince.IsZero() {
		s.expectedSince = now
	}
}

// stopRequested demands an acknowledgement from now on.
func (s *supervisorProc) stopRequested(now time.Time) {
	s.noteAlive(now)
	s.awaitAck = s.pid != 0
	if s.pid == 0 {
		s.nextStart = now
	}
}

// checkAt is when a silent supervisor gets CHECK.
func (s *supervisorProc) checkAt(l watchdogLimits) time.Time {
	t := s.aliveAt.Add(l.quiet)
	if early := s.expectedSince.Add(activityTime); !s.expectedSince.IsZero() && early.Before(t) {
		return early
	}
	return t
}

// due is when supervise must run next.
func (s *supervisorProc) due(stopping bool) time.Time {
	l := s.watchdogLimits(stopping)
	switch {
	case s.pid == 0:
		return s.nextStart
	case !s.exitBy.IsZero():
		return s.exitBy
	case s.checking:
		return s.checkTicks.at.Add(l.step)
	default:
		return s.checkAt(l)
	}
}

// watchdog reports whether CHECK must be sent, or the supervisor hangs.
func (s *supervisorProc) watchdog(now time.Time, stopping bool) (check, hangs bool) {
	l := s.watchdogLimits(stopping)
	if !s.checking {
		if now.Before(s.checkAt(l)) {
			return false, false
		}
		s.checking, s.checkTicks = true, tickCounter{at: now}
		return true, false
	}
	due, gap := s.checkTicks.tick(now, l.step)
	return due && gap, due && s.checkTicks.n >= l.limit
}

// watchDelay is how long after a supervisor's first ping the init begins to watch the log
// pipes: the services have started then.
const watchDelay = time.Second

// pipesWritten handles the report that a service writes: the supervisor has output to read.
func (i *initState) pipesWritten() {
	now := time.Now()
	if i.store.Watch.Take(now) {
		i.supervisor.expectActivity(now)
	}
	i.store.Watch.Resume()
}

// pipesDue is when the log pipes must be watched again; zero: they are, or need not be.
func (i *initState) pipesDue() time.Time {
	w, s := i.store.Watch, &i.supervisor
	switch {
	case !s.healthy || !i.store.HasPipes() || !s.expectedSince.IsZero():
		return time.Time{}
	case w == nil:
		return s.watchAt
	case w.Fired().IsZero():
		return time.Time{}
	}
	return w.Fired().Add(activityTime)
}

// watchPipes watches the log pipes again when that is due.
func (i *initState) watchPipes(now time.Time) {
	due := i.pipesDue()
	if due.IsZero() || now.Before(due) {
		return
	}
	if i.store.Watch != nil {
		i.store.Watch.Rearm()
		return
	}
	if !i.store.StartWatching() {
		i.supervisor.watchAt = now.Add(activityTime)
	}
}

// How long a stopped supervisor stays stopped, and how often its resumption is logged.
const (
	resumeAfter    = time.Second
	resumeLogEvery = time.Minute
)

// resumeStopped continues a supervisor that a signal has stopped: meanwhile the services'
// output is not read. One that is traced is left to its tracer.
func (i *initState) resumeStopped(now time.Time) {
	s := &i.supervisor
	if s.stoppedAt.IsZero() || i.stops == 0 && now.Before(s.stoppedAt.Add(resumeAfter)) {
		return
	}
	s.stoppedAt = time.Time{}
	if stat, err := procfs.ReadStat(s.pid); err != nil || stat.State != 'T' {
		return // it runs again
	}
	unix.Kill(s.pid, unix.SIGCONT)
	if s.resumes++; now.Sub(s.resumeLoggedAt) >= resumeLogEvery {
		i.log.printf("supervisor (pid %d) was stopped by a signal; resumed it (%d times so far)", s.pid, s.resumes)
		s.resumeLoggedAt = now
	}
}
