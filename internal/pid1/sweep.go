package pid1

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sweep is the end of the container: what is left gets TERM, then KILL.
type sweep struct {
	code     int
	grace    time.Duration
	phase    int // 0 the supervisor leaves, 1 TERM was sent, 2 KILL was sent
	deadline time.Time
	done     bool
}

// leaveTime is how long a supervisor that said Final may take to end.
const leaveTime = 300 * time.Millisecond

// hurry skips what is left of the present phase.
func (s *sweep) hurry() { s.deadline = time.Time{} }

// step does what is due.
func (s *sweep) step(now time.Time, i *initState) {
	if s.deadline.IsZero() && s.phase == 0 {
		s.deadline = now.Add(leaveTime)
	}
	if i.keeper.pid != 0 && s.phase == 0 {
		if now.Before(s.deadline) {
			return
		}
		unix.Kill(i.keeper.pid, unix.SIGKILL)
	}
	left := i.others()
	switch {
	case len(left) == 0 && i.keeper.pid == 0:
		s.done = true
	case s.phase == 0:
		s.phase, s.deadline = 1, now.Add(s.grace)
		if s.grace > 0 {
			i.signalAll(left, unix.SIGTERM)
			i.signalAll(left, unix.SIGCONT)
		}
	case now.Before(s.deadline):
	case s.phase == 1:
		s.phase, s.deadline = 2, now.Add(2*time.Second)
		i.signalAll(left, unix.SIGKILL)
	case i.pid1:
		s.done = true // the kernel kills what is left of our namespace
	default:
		i.log.printf("%d processes cannot be killed; leaving them", len(left))
		s.done = true
	}
	if !i.pid1 && s.phase == 2 {
		i.signalAll(left, unix.SIGKILL) // those that became ours when their parent died
	}
}

// signalAll signals what is left: as PID 1 the whole namespace, where every
// process is ours to end; else only the init's own descendants.
func (i *initState) signalAll(left []int, sig unix.Signal) {
	if i.pid1 {
		unix.Kill(-1, sig)
		return
	}
	for _, pid := range left {
		if pid != i.keeper.pid {
			unix.Kill(pid, sig)
		}
	}
}

// others lists the living processes that the init must end, itself and zombies
// left out.
func (i *initState) others() []int {
	parents := map[int]int{}
	var all []int
	for _, pid := range pids() {
		b, err := ReadBirth(pid)
		if err != nil || pid == os.Getpid() {
			continue
		}
		parents[pid] = b.Parent
		if b.State != 'Z' && b.State != 'X' {
			all = append(all, pid)
		}
	}
	if i.pid1 {
		return all
	}
	var ours []int
	for _, pid := range all {
		for p, hops := parents[pid], 0; p > 1 && hops < 1000; p, hops = parents[p], hops+1 {
			if p == os.Getpid() {
				ours = append(ours, pid)
				break
			}
		}
	}
	return ours
}
