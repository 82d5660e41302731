package pid1

import (
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// killAll is the end of the container: what is left gets TERM, then KILL.
type killAll struct {
	code     int
	grace    time.Duration
	phase    killPhase
	deadline time.Time // of the phase
	done     bool
}

type killPhase int

const (
	supervisorExits killPhase = iota
	termSent
	killSent // PID 1 needs no such phase
)

// finalTime is how long a supervisor that said Final may take to exit.
const finalTime = 300 * time.Millisecond

// step does what is due.
func (k *killAll) step(now time.Time, i *initState) {
	if k.deadline.IsZero() && k.phase == supervisorExits {
		k.deadline = now.Add(finalTime)
	}
	if i.supervisor.pid != 0 && k.phase == supervisorExits {
		if now.Before(k.deadline) {
			return
		}
		unix.Kill(i.supervisor.pid, unix.SIGKILL)
	}
	left := i.anyLeft()
	switch {
	case !left && i.supervisor.pid == 0:
		k.done = true
	case k.phase == supervisorExits:
		k.phase, k.deadline = termSent, now.Add(k.grace)
		if k.grace > 0 {
			i.signalAll(unix.SIGTERM)
			i.signalAll(unix.SIGCONT)
		}
	case now.Before(k.deadline):
	case i.isPID1:
		k.done = true // the kernel kills what is left of our namespace, all at once
	case k.phase == termSent:
		k.phase, k.deadline = killSent, now.Add(2*time.Second)
	default:
		i.log.printf("%d processes cannot be killed; leaving them", len(i.descendants()))
		k.done = true
	}
	if k.phase == killSent {
		i.freeze()
		i.signalAll(unix.SIGKILL) // also those that became ours when their parent died
	}
}

// anyLeft reports whether there is a process to end. PID 1 asks the kernel: a snapshot of
// /proc takes long while a fork bomb has the processors, and may not be possible.
func (i *initState) anyLeft() bool {
	if i.isPID1 {
		return unix.Kill(-1, 0) != unix.ESRCH
	}
	return len(i.descendants()) > 0
}

// signalAll signals what is left: as PID 1 the whole namespace, else only the init's own
// descendants.
func (i *initState) signalAll(sig unix.Signal) {
	if i.isPID1 {
		unix.Kill(-1, sig) // all at once: no process forks meanwhile
		return
	}
	for _, pid := range i.descendants() {
		if pid != i.supervisor.pid {
			unix.Kill(pid, sig)
		}
	}
}

// freezeRounds bounds the rounds of one freeze; the next step goes on.
const freezeRounds = 16

// freeze stops the init's descendants until a snapshot has no new one, so that none forks.
func (i *initState) freeze() {
	stopped := map[int]bool{}
	for fresh, round := true, 0; fresh && round < freezeRounds; round++ {
		fresh = false
		for _, pid := range i.descendants() {
			if !stopped[pid] && pid != i.supervisor.pid {
				stopped[pid], fresh = true, true
				unix.Kill(pid, unix.SIGSTOP)
			}
		}
	}
}

// descendants are the living descendants of the init.
func (i *initState) descendants() []int { return procfs.TakeSnapshot().Descendants(os.Getpid()) }
