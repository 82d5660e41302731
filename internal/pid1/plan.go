package pid1

import (
	"bufio"
	"bytes"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// planStep ends one process group.
type planStep struct {
	pgid   int
	start  uint64 // of the leader, clock ticks since boot: tells a re-used pid
	signal syscall.Signal
	wait   time.Duration
}

// PlanLine is a line of the stop plan: the group pgid, whose leader started at
// start, gets signal and, after wait, KILL. The lines are obeyed in order, one
// group after the other.
func PlanLine(pgid int, start uint64, signal syscall.Signal, wait time.Duration) string {
	return fmt.Sprintf("%d %d %d %d\n", pgid, start, signal, wait.Milliseconds())
}

// BudgetLine is the line of the stop plan that says how long a stop of the container may
// take. The init ends it then, whatever the supervisor has got done.
func BudgetLine(budget time.Duration) string {
	return fmt.Sprintf("budget %d\n", budget.Milliseconds())
}

// planBudget reads that line; 0: there is none.
func planBudget(body []byte) time.Duration {
	var ms int
	if n, _ := fmt.Sscanf(string(body[:min(len(body), 40)]), "budget %d\n", &ms); n != 1 || ms < 0 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// parsePlan reads the stop plan. A line that it does not understand is passed
// over: the rest must still be stopped.
func parsePlan(body []byte) []planStep {
	var plan []planStep
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		var st planStep
		var sig, ms int
		if n, _ := fmt.Sscanf(s.Text(), "%d %d %d %d", &st.pgid, &st.start, &sig, &ms); n != 4 ||
			st.pgid <= 1 || sig < 1 || sig > 64 || ms < 0 {
			continue
		}
		st.signal, st.wait = syscall.Signal(sig), time.Duration(ms)*time.Millisecond
		plan = append(plan, st)
	}
	return plan
}

// planRun is the stop plan at work: the last resort when a stop was asked for
// and no supervisor works.
type planRun struct {
	steps    []planStep
	started  bool
	killed   bool
	deadline time.Time
	log      *logger
}

func newPlanRun(steps []planStep, now time.Time, log *logger) *planRun {
	return &planRun{steps: steps, deadline: now, log: log}
}

// step does what is due and says whether the plan is done.
func (p *planRun) step(now time.Time) bool {
	for len(p.steps) > 0 {
		st := p.steps[0]
		switch {
		case !p.started && foreign(st):
			p.log.printf("stop plan: group %d is another one by now; left alone", st.pgid)
		case groupGone(st.pgid):
		case !p.started:
			p.log.printf("stop plan: %s to group %d", st.signal, st.pgid)
			p.started, p.killed, p.deadline = true, false, now.Add(st.wait)
			unix.Kill(-st.pgid, st.signal)
			unix.Kill(-st.pgid, unix.SIGCONT)
			return false
		case now.Before(p.deadline):
			return false
		case !p.killed:
			p.log.printf("stop plan: KILL to group %d", st.pgid)
			p.killed, p.deadline = true, now.Add(time.Second)
			unix.Kill(-st.pgid, unix.SIGKILL)
			return false
		}
		p.steps, p.started = p.steps[1:], false
	}
	return true
}

// foreign says whether the group's number was given to another process. The
// kernel does not give out a pid that is still the number of a group, so a
// missing leader means that the group is the one we know, or empty.
func foreign(st planStep) bool {
	b, err := ReadBirth(st.pgid)
	return err == nil && b.Start != st.start
}

// groupGone says whether a group is empty. A zombie counts until it is reaped: to tell it
// apart takes a look through /proc, which a fork bomb makes last seconds.
func groupGone(pgid int) bool { return unix.Kill(-pgid, 0) == unix.ESRCH }
