package pid1

import (
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// planRun carries out the stop plan when a stop was requested and no supervisor works.
type planRun struct {
	steps    []initproto.PlanStep
	started  bool
	killed   bool
	deadline time.Time
	log      logger
}

// step does what is due and reports whether the plan is done.
func (p *planRun) step(now time.Time) bool {
	for len(p.steps) > 0 {
		st := p.steps[0]
		switch {
		case !p.started && foreign(st):
			p.log.printf("stop plan: the number of group %d was given to another process; leaving it alone", st.Pgid)
		case groupEmpty(st.Pgid):
		case !p.started:
			p.log.printf("stop plan: %s to group %d", st.Signal, st.Pgid)
			p.started, p.killed, p.deadline = true, false, now.Add(st.Wait)
			unix.Kill(-st.Pgid, st.Signal)
			unix.Kill(-st.Pgid, unix.SIGCONT)
			return false
		case now.Before(p.deadline):
			return false
		case !p.killed:
			p.log.printf("stop plan: KILL to group %d", st.Pgid)
			p.killed, p.deadline = true, now.Add(time.Second)
			unix.Kill(-st.Pgid, unix.SIGKILL)
			return false
		}
		p.steps, p.started = p.steps[1:], false
	}
	return true
}

// foreign reports whether the group's number was given to another process. The kernel does
// not give out a pid that is still the number of a group, so a missing leader means that
// the group is the one of the plan, or empty.
func foreign(st initproto.PlanStep) bool {
	stat, err := procfs.ReadStat(st.Pgid)
	return err == nil && stat.Start != st.Start
}

// groupEmpty reports whether a group has no process. A zombie counts: to tell it apart takes a
// snapshot of /proc, which a fork bomb makes last seconds.
func groupEmpty(pgid int) bool { return unix.Kill(-pgid, 0) == unix.ESRCH }
