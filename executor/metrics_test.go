package executor

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// TestMetrics counts each answer, each end, and what waits.
func TestMetrics(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots, c.Queue = 1, 1 })
	first := submit(t, e, Spec{Key: "k", Retry: Retry{Max: 1, Backoff: Duration(time.Millisecond)}})
	p := h.next(t)
	waits := submit(t, e, Spec{})
	for _, spec := range []Spec{{}, {Command: []string{"a"}, Key: "k", Priority: 1}, {Command: []string{"a"}}} {
		if _, _, err := e.Submit(t.Context(), spec, ""); err == nil {
			t.Errorf("%+v is accepted", spec)
		}
	}
	same := Spec{Key: "k", Command: []string{"a"}, Retry: Retry{Max: 1, Backoff: Duration(time.Millisecond)}}
	if _, created, err := e.Submit(t.Context(), same, ""); created || err != nil { // neither accepted nor refused
		t.Error(created, err)
	}
	for _, verb := range []Verb{Drain, Pause} {
		if err := e.ControlExecutor(verb, "tester"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}}, ""); err == nil {
		t.Error("accepted while drained")
	}
	poll(t, "a job waits", func() bool { return e.Metrics().Oldest > 0 })
	m := e.Metrics()
	if m.Accepted != 2 || m.Running != 1 || m.Waiting != 1 || m.Slots != 1 || !m.Held || m.Draining == "" || m.Braked {
		t.Errorf("%+v", m)
	}
	if got := fmt.Sprint(m.Refused); got != "map[bad-spec:1 draining:1 key-conflict:1 no-space:0 queue-full:1 unavailable:0]" {
		t.Errorf("refused %s", got)
	}
	if err := e.ControlExecutor(Resume, "tester"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(p.files[1], "out")
	p.end(proc.Exit{Code: 1})
	second := h.next(t)
	fmt.Fprint(second.files[2], "err")
	second.end(proc.Exit{})
	third := h.next(t)
	third.end(proc.Exit{})
	await(t, e, first.ID)
	await(t, e, waits.ID)
	m = e.Metrics()
	count := int64(0)
	for _, n := range m.Starts.Counts {
		count += n
	}
	if m.Retries != 1 || m.Output != 6 || count != 3 || m.Starts.Sum <= 0 || m.Oldest != 0 || m.Held || m.Ended[Succeeded] != 2 {
		t.Errorf("%+v", m)
	}
	die(e)
	if _, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}}, ""); err == nil {
		t.Error("accepted without a journal")
	}
	if m := e.Metrics(); m.Unavailable == "" || m.Refused[CodeUnavailable] != 1 {
		t.Errorf("%+v", m)
	}
}

// TestMetricsOfTheBrake: the brake is not what an operator does.
func TestMetricsOfTheBrake(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Brake = 2 })
	h.set(func() { h.startErr = syscall.EAGAIN })
	for range 2 {
		await(t, e, submit(t, e, Spec{}).ID)
	}
	if m := e.Metrics(); !m.Braked || m.Held || m.Ended[Failed] != 2 {
		t.Errorf("%+v", m)
	}
}

// TestDue: what waits for its time is not late before.
func TestDue(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		job  Job
		want time.Duration
	}{
		{Job{Accepted: now}, 0},
		{Job{Accepted: now, Spec: Spec{NotBefore: now.Add(time.Hour)}}, time.Hour},
		{Job{Accepted: now, Spec: Spec{NotBefore: now.Add(-time.Hour)}}, 0},
		{Job{Accepted: now, NextAttempt: now.Add(time.Minute), Spec: Spec{NotBefore: now.Add(time.Second)}}, time.Minute},
	} {
		if got := tc.job.due().Sub(now); got != tc.want {
			t.Errorf("%+v: due after %v, want %v", tc.job, got, tc.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	h := newHistogram(time.Millisecond, time.Second)
	for _, d := range []time.Duration{-time.Hour, 0, time.Millisecond, time.Millisecond + 1, time.Second, time.Hour} {
		h.add(d)
	}
	if got := fmt.Sprint(h.Counts, h.Sum); got != "[3 2 1] 1h0m1.002000001s" {
		t.Error(got)
	}
}
