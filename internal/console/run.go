package console

import (
	"fmt"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

const (
	firstClient   = 30 * time.Second       // how long a session waits for its first client
	adoptedClient = 5 * time.Second        // and, at least, for its client after the death of a supervisor
	holderTime    = 5 * time.Second        // how long output waits for a holder whose link is lost
	killAfter     = 2 * time.Second        // between HUP and TERM, and KILL
	outputTime    = 2 * time.Second        // how long background processes may go on after the end of the first one
	shortTime     = 200 * time.Millisecond // and if the session was ended
	killTime      = 5 * time.Second        // how long killed processes are waited for
	readTime      = 30 * time.Second       // how long a link to a session that has ended may take nothing
	checkPeriod   = 30 * time.Second       // of the authorisation of clients
	watchPeriod   = time.Second            // between looks at the processes of a session that is active
	pollPeriod    = 20 * time.Millisecond  // of the processes that are left
)

// run enforces the limits of the session until its process ends, and then ends it.
func (s *Session) run() {
	timer := time.NewTimer(checkPeriod)
	defer timer.Stop()
	var killAt, watched time.Time
	for {
		changed := s.m.changed()
		s.checkClients()
		next := s.enforce(&killAt)
		timer.Reset(min(time.Until(next), s.watch(&watched)))
		select {
		case <-s.proc.Exited():
			s.finish(killAt)
			s.linger()
			return
		case <-s.wake:
		case <-timer.C:
		case <-changed:
		}
	}
}

// enforce ends the processes if a limit is reached, or End was called. It returns when to look again.
func (s *Session) enforce(killAt *time.Time) time.Time {
	now := time.Now()
	next := now
	s.mu.Lock()
	if s.ending == "" {
		s.ending, next = s.limit(s.m.config(), now)
	}
	next = s.expect(now, next)
	ending := s.ending != ""
	s.mu.Unlock()
	switch {
	case !ending:
		return next
	case killAt.IsZero():
		*killAt = now.Add(killAfter)
		s.hangUp()
	case !now.Before(*killAt):
		*killAt = now.Add(time.Second)
		s.signal(unix.SIGKILL)
	}
	return *killAt
}

// watch looks which processes the session has: one that hides, with no parent and no trace of the session, is known later only if it was
// seen here. It returns when to look again: the longer the session is idle, the later.
func (s *Session) watch(last *time.Time) time.Duration {
	if time.Since(*last) >= watchPeriod {
		s.proc.Members()
		*last = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(max(time.Since(s.active), watchPeriod), checkPeriod)
}

// touch notes input or output; mu is held.
func (s *Session) touch() {
	now := time.Now()
	if now.Sub(s.active) > watchPeriod {
		poke(s.wake)
	}
	s.active = now
}

// expect gives up a holder that has not come back in time, or moves up when to look again; mu is held.
func (s *Session) expect(now, next time.Time) time.Time {
	switch {
	case s.awaited.IsZero():
	case now.Before(s.awaited):
		if s.awaited.Before(next) {
			return s.awaited
		}
	default:
		s.awaited, s.ring.h.held = time.Time{}, 0
		for _, c := range s.room {
			poke(c)
		}
	}
	return next
}

// hangUp asks all processes of the session to end. They are stopped for that moment: then all of them are found before the parents end
// that they are known by.
func (s *Session) hangUp() { s.signal(unix.SIGSTOP, unix.SIGHUP, unix.SIGTERM, unix.SIGCONT) }

// signal sends signals to all processes of the session. An error means that they are gone, or that stoker may not.
func (s *Session) signal(sigs ...syscall.Signal) {
	for _, sig := range sigs {
		_ = s.proc.SignalGroup(sig)
	}
}

// limit returns why the session has to end now, or when to ask again; mu is held.
func (s *Session) limit(c Config, now time.Time) (why string, next time.Time) {
	if !c.Enabled {
		return "the console was switched off", now
	}
	next = now.Add(checkPeriod)
	for _, l := range []struct {
		since time.Time
		most  time.Duration
		on    bool
		why   string
	}{
		{s.saved.Started, c.MaxTime, c.MaxTime > 0, "it ran for %v (console.max_time)"},
		{s.active, c.Idle, c.Idle > 0, "idle for %v (console.idle)"},
		{s.alone, s.patience, !s.alone.IsZero(), "no client for %v"},
	} {
		if !l.on {
			continue
		}
		at := l.since.Add(l.most)
		if !now.Before(at) {
			return fmt.Sprintf(l.why, l.most), now
		}
		if at.Before(next) {
			next = at
		}
	}
	return "", next
}

// checkClients ends the links of clients that may no longer use the console. With the right of who opened it, the session ends.
func (s *Session) checkClients() {
	checker := s.m.opts.Checker
	if checker == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	need := access.Exec
	if s.saved.Admin {
		need |= access.Admin
	}
	for l := range s.links {
		if err := checker.Check(l.by, need); err != nil {
			s.drop(l, fmt.Errorf("%w: %w", ErrRevoked, err))
		}
	}
	if err := checker.Check(s.saved.Identity.Identity, need); err != nil && s.ending == "" {
		for l := range s.links {
			s.drop(l, fmt.Errorf("%w: %w", ErrRevoked, err))
		}
		s.end("who opened it is no longer authorised")
	}
}

// finish takes the rest of the output, ends all processes that are left, and records the end.
func (s *Session) finish(killAt time.Time) {
	s.mu.Lock()
	s.exited = true
	ended := s.ending != ""
	s.changed()
	s.mu.Unlock()
	until := time.Now().Add(outputTime)
	if ended {
		until = time.Now().Add(max(shortTime, min(outputTime, time.Until(killAt))))
	}
	for _, c := range s.sources {
		if c != nil {
			_ = c.file.SetReadDeadline(until) // pumps end then; fails if it is closed
		}
	}
	pumped := make(chan struct{})
	go func() { s.pumps.Wait(); close(pumped) }() // ends with the output, or its time
	rest := time.NewTimer(time.Until(until))
	defer rest.Stop()
	select {
	case <-pumped:
		if len(s.proc.Members()) > 0 {
			s.hangUp()
			s.await(until)
		}
	case <-rest.C:
	}
	s.kill()
	s.mu.Lock()
	s.forced = true
	s.changed()
	s.mu.Unlock()
	<-pumped
	s.drain()
	s.close()
}

// kill ends all processes that are left.
func (s *Session) kill() {
	if len(s.proc.Members()) == 0 {
		return
	}
	s.signal(unix.SIGKILL)
	if !s.await(time.Now().Add(killTime)) {
		s.m.opts.Log.Warn("processes of a session cannot be killed", "session", s.id, "pids", s.proc.Members())
	}
}

// await waits for the end of all processes until a time.
func (s *Session) await(until time.Time) (gone bool) {
	tick := time.NewTicker(pollPeriod)
	defer tick.Stop()
	for {
		switch {
		case len(s.proc.Members()) == 0:
			return true
		case !time.Now().Before(until):
			return false
		}
		<-tick.C
	}
}

// maxRest bounds the output that is taken after the end of all processes: it is on its way in the kernel.
const maxRest = 1 << 20

// drain takes what is left of the output; the pumps have ended.
func (s *Session) drain() {
	for k, c := range s.sources {
		if c == nil {
			continue
		}
		left := maxRest
		_ = c.raw.Control(func(fd uintptr) { // fails if it is closed
			for left > 0 {
				n, err := s.move(c, k, int(fd))
				if left -= n; n == 0 || err != nil && err != unix.EINTR {
					return
				}
				s.record(k)
			}
		})
	}
}

// close records the end of the session, whose processes are gone.
func (s *Session) close() {
	x, _ := s.proc.Exit() // it has ended
	s.mu.Lock()
	exit := &Exit{Code: x.Status(), Why: s.ending}
	if x.Signal != 0 {
		exit.Signal = proc.SignalName(x.Signal)
	}
	exit.OOM = s.killedByOOM(exit)
	now := time.Now()
	s.saved.Exit, s.saved.Ended = exit, &now
	s.count(&s.saved.Info)
	info, opener := s.info(), s.saved.Identity.Identity
	s.mu.Unlock()
	if s.recording != nil {
		s.recording.Close(*exit)
	}
	s.m.audit(Entry{Info: info, Identity: opener})
	s.mu.Lock()
	var err error
	if s.saved.Keep > 0 { // only what a client may still want is kept
		s.saved.Files = []string{ringFile}
		err = s.m.opts.Store.PutJSON(itemPrefix+s.id, s.saved, s.ring.fd)
	}
	if s.saved.Keep == 0 || err != nil {
		s.m.opts.Store.Delete(itemPrefix + s.id) // its clients are here, or will not learn of the exit
	}
	for _, c := range s.sources {
		if c != nil {
			c.close()
		}
	}
	s.ring.closeFile()
	s.ended = true
	for l := range s.links {
		l.end()
	}
	pipe := s.in.pipe
	s.changed()
	s.mu.Unlock()
	if pipe != nil {
		pipe.Close() // wakes feed, which waits for room in it
	}
	s.proc.Done() // before the end is seen: it closes the terminal
	s.m.free(s.saved.By)
	s.m.isOver(s)
	close(s.done)
}

// killedByOOM reports whether the kernel's OOM killer is what ended the process; mu is held.
func (s *Session) killedByOOM(exit *Exit) bool {
	if exit.Signal != "KILL" || exit.Why != "" || s.saved.OOMKills == nil {
		return false
	}
	count, known := s.m.opts.Host.OOMKills()
	return known && count > *s.saved.OOMKills
}

// linger keeps the output of a session that has ended until its client has read it, at most for its Keep. Links that read it then may
// finish, unless it has to make room.
func (s *Session) linger() {
	over := s.saved.Keep == 0
	timer := time.NewTimer(time.Duration(s.saved.Keep))
	if over {
		timer.Reset(readTime)
	}
	defer timer.Stop()
	for {
		s.mu.Lock()
		if s.unwanted || len(s.links) == 0 && (over || s.read) {
			break
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-timer.C:
			over = true
			s.dropStuck()
			timer.Reset(readTime)
		}
	}
	s.count(&s.saved.Info)
	s.ring.release()
	s.ring = nil
	s.mu.Unlock()
	s.m.opts.Store.Delete(itemPrefix + s.id)
	s.m.forget(s)
}

// dropStuck ends the links that have taken nothing since the last time.
func (s *Session) dropStuck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		if l.seen == l.next {
			s.drop(l, fmt.Errorf("%w: it has ended, and its output was not read", ErrNoSession))
		}
		l.seen = l.next
	}
}
