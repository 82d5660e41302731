package initproto

import (
	"reflect"
	"syscall"
	"testing"
	"time"
)

func TestParsePlan(t *testing.T) {
	body := PlanLine(10, 5, syscall.SIGTERM, 2*time.Second) + "garbage\n1 2 15 4\n9 9 99 9\n-5 1 15 1\n" + PlanLine(11, 6, syscall.SIGINT, 0)
	got := ParsePlan([]byte(body))
	want := []PlanStep{{10, 5, syscall.SIGTERM, 2 * time.Second}, {11, 6, syscall.SIGINT, 0}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPlanBudget(t *testing.T) {
	for body, want := range map[string]time.Duration{
		BudgetLine(8*time.Second) + PlanLine(10, 5, syscall.SIGTERM, 0): 8 * time.Second,
		PlanLine(10, 5, syscall.SIGTERM, 0):                             0, // of an older supervisor
		"":                                                              0,
		"budget -1\n":                                                   0,
		"budget x\n":                                                    0,
	} {
		if got := PlanBudget([]byte(body)); got != want {
			t.Errorf("%q: got %v, want %v", body, got, want)
		}
	}
	plan := BudgetLine(time.Second) + PlanLine(10, 5, syscall.SIGTERM, 0)
	if got := ParsePlan([]byte(plan)); len(got) != 1 {
		t.Errorf("got the steps %v, want one", got)
	}
}
