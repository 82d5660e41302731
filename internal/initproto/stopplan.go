package initproto

import (
	"bufio"
	"bytes"
	"fmt"
	"syscall"
	"time"
)

// StopPlan is the name of the one item in the fd store that the init understands.
const StopPlan = "stop-plan"

// PlanStep ends one process group.
type PlanStep struct {
	Pgid   int
	Start  uint64 // of the leader, clock ticks since boot: a re-used pid has another
	Signal syscall.Signal
	Wait   time.Duration
}

// PlanLine is a line of the stop plan: the group pgid, whose leader started at start, gets
// signal and, after wait, KILL. The groups are stopped one after the other.
func PlanLine(pgid int, start uint64, signal syscall.Signal, wait time.Duration) string {
	return fmt.Sprintf("%d %d %d %d\n", pgid, start, signal, wait.Milliseconds())
}

// BudgetLine is the line of the stop plan with the time for a stop of the container. The init
// ends the container then, whatever the supervisor has done.
func BudgetLine(budget time.Duration) string {
	return fmt.Sprintf("budget %d\n", budget.Milliseconds())
}

// PlanBudget returns the time of the BudgetLine; 0: there is none.
func PlanBudget(body []byte) time.Duration {
	var ms int
	if n, _ := fmt.Sscanf(string(body[:min(len(body), 40)]), "budget %d\n", &ms); n != 1 || ms < 0 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// ParsePlan parses the stop plan. It skips a line that it does not understand: the rest
// must still be stopped.
func ParsePlan(body []byte) []PlanStep {
	var plan []PlanStep
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		var st PlanStep
		var sig, ms int
		if n, _ := fmt.Sscanf(s.Text(), "%d %d %d %d", &st.Pgid, &st.Start, &sig, &ms); n != 4 ||
			st.Pgid <= 1 || sig < 1 || sig > 64 || ms < 0 {
			continue
		}
		st.Signal, st.Wait = syscall.Signal(sig), time.Duration(ms)*time.Millisecond
		plan = append(plan, st)
	}
	return plan
}
