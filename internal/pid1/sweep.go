package pid1

import (
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// sweep is the end of the container: what is left gets TERM, then KILL.
type sweep struct {
	code     int
	grace    time.Duration
	phase    int // 0 the supervisor leaves, 1 TERM was sent, 2 KILL was sent, which PID 1 need not
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
	left := i.anyLeft()
	switch {
	case !left && i.keeper.pid == 0:
		s.done = true
	case s.phase == 0:
		s.phase, s.deadline = 1, now.Add(s.grace)
		if s.grace > 0 {
			i.signalAll(unix.SIGTERM)
			i.signalAll(unix.SIGCONT)
		}
	case now.Before(s.deadline):
	case i.pid1:
		s.done = true // the kernel kills what is left of our namespace, all at once
	case s.phase == 1:
		s.phase, s.deadline = 2, now.Add(2*time.Second)
	default:
		i.log.printf("%d processes cannot be killed; leaving them", len(i.others()))
		s.done = true
	}
	if s.phase == 2 {
		i.freeze()
		i.signalAll(unix.SIGKILL) // also those that became ours when their parent died
	}
}

// anyLeft says whether there is a process to end. PID 1 asks the kernel: a look through
// /proc takes long where a fork bomb has the processors, and may not be possible.
func (i *initState) anyLeft() bool {
	if i.pid1 {
		return unix.Kill(-1, 0) != unix.ESRCH
	}
	return len(i.others()) > 0
}

// signalAll signals what is left: as PID 1 the whole namespace, where every
// process is ours to end; else only the init's own descendants.
func (i *initState) signalAll(sig unix.Signal) {
	if i.pid1 {
		unix.Kill(-1, sig) // all at once: no process forks on meanwhile
		return
	}
	for _, pid := range i.others() {
		if pid != i.keeper.pid {
			unix.Kill(pid, sig)
		}
	}
}

// freezeRounds bounds the rounds of one freeze; the next step of the sweep goes on.
const freezeRounds = 16

// freeze stops our descendants until a look finds no new one: where each is killed by
// itself, one that forks is quicker.
func (i *initState) freeze() {
	stopped := map[int]bool{}
	for fresh, round := true, 0; fresh && round < freezeRounds; round++ {
		fresh = false
		for _, pid := range i.others() {
			if !stopped[pid] && pid != i.keeper.pid {
				stopped[pid], fresh = true, true
				unix.Kill(pid, unix.SIGSTOP)
			}
		}
	}
}

// others lists the living descendants of the init, itself and zombies left out.
func (i *initState) others() []int {
	parents := map[int]int{}
	var all []int
	for pid, stat := range procfs.TakeSnapshot().Stats {
		if pid == os.Getpid() {
			continue
		}
		parents[pid] = stat.Parent
		if stat.Alive() {
			all = append(all, pid)
		}
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
