package executor

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
)

// An adapter finds the jobs whose end it has not reported, also in the next life.
func TestReported(t *testing.T) {
	e, h := newExecutor(t, nil)
	from := Origin{Engine: "nats", Data: "reply"}
	var jobs []Job
	for _, key := range []string{"a", "b", "c"} {
		job, created, err := e.SubmitFrom(t.Context(), Spec{Key: key, Command: []string{key}}, "nats", from)
		if err != nil || !created || job.Origin != from {
			t.Fatalf("%+v, %v, %v", job, created, err)
		}
		jobs = append(jobs, job)
	}
	submit(t, e, Spec{Command: []string{"other"}})
	other := from
	other.Data = "another reply"
	if job, created, err := e.SubmitFrom(t.Context(), Spec{Key: "a", Command: []string{"a"}}, "nats", other); err != nil || created ||
		job.Origin != from {
		t.Errorf("second delivery: %+v, %v, %v", job, created, err)
	}
	if err := e.Reported(jobs[2].ID); !errors.Is(err, ErrNotFinal) {
		t.Errorf("of a job that runs: %v", err)
	}
	for range 4 {
		if p := h.next(t); p.spec.Argv[0] != "c" {
			p.end(proc.Exit{})
		}
	}
	for _, job := range jobs[:2] {
		await(t, e, job.ID)
	}
	if err := e.Reported(jobs[0].ID); err != nil {
		t.Error(err)
	}
	unreported := func(e *Executor) (keys string) {
		list, err := e.Jobs(Filter{Engine: "nats", Unreported: true})
		if err != nil {
			t.Error(err)
		}
		for _, job := range list {
			keys += job.Spec.Key
			if job.Origin != from {
				t.Errorf("%+v", job.Origin)
			}
		}
		return keys
	}
	if got := unreported(e); got != "cb" {
		t.Errorf("unreported: %s, want c and b", got)
	}
	die(e)
	e, _ = openExecutor(t, e.opts.Config, newFakeHost(), fdstore.NewItems(), nil)
	want(t, await(t, e, jobs[2].ID), Lost)
	if got := unreported(e); got != "cb" {
		t.Errorf("unreported in the next life: %s, want c and b", got)
	}
	if job, err := e.Job(jobs[0].ID.String()); err != nil || job.State != Succeeded || !job.Reported {
		t.Errorf("%+v, %v", job, err)
	}
	_, _, err := e.SubmitFrom(t.Context(), Spec{Command: []string{"a"}}, "", Origin{"nats", strings.Repeat("x", maxOrigin+1)})
	if bad := (*SpecError)(nil); !errors.As(err, &bad) || bad.Fields[0].Field != "origin" {
		t.Errorf("a large origin: %v", err)
	}
}

// Free counts what would start at once, and its channel is closed when that differs.
func TestFree(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 2 })
	expect := func(when string, want int) <-chan struct{} {
		t.Helper()
		slots, changed := e.Free()
		if slots != want {
			t.Errorf("%s: %d free slots, want %d", when, slots, want)
		}
		return changed
	}
	control := func(v Verb) {
		if err := e.ControlExecutor(v, "test"); err != nil {
			t.Error(err)
		}
	}
	expect("at first", 2)
	submit(t, e, Spec{NotBefore: time.Now().Add(time.Hour)})
	changed := expect("with a job for later", 2)
	submit(t, e, Spec{})
	p := h.next(t)
	receive(t, changed, "the change when one starts")
	submit(t, e, Spec{})
	h.next(t)
	changed = expect("with two", 0)
	submit(t, e, Spec{})
	expect("with one that waits", 0)
	p.end(proc.Exit{})
	p = h.next(t)
	expect("when the last has started", 0)
	p.end(proc.Exit{})
	receive(t, changed, "the change when one has ended")
	changed = expect("with one", 1)
	control(Pause)
	receive(t, changed, "the change when it is paused")
	changed = expect("paused", 0)
	control(Resume)
	receive(t, changed, "the change when it goes on")
	expect("resumed", 1)
	control(Drain)
	expect("drained", 0)
}

// An engine that takes no more than Free brings the job that is tried when the pause of the brake is over.
func TestFreeBraked(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Brake = 1 })
	h.set(func() { h.startErr = syscall.ENOSPC })
	want(t, await(t, e, submit(t, e, Spec{}).ID), Failed)
	slots, changed := e.Free()
	if slots != 0 {
		t.Errorf("%d free slots while it brakes", slots)
	}
	h.set(func() { h.startErr = nil })
	e.mu.Lock()
	e.brake.until = time.Now().Add(-time.Millisecond)
	e.mu.Unlock()
	e.dispatch()
	receive(t, changed, "the end of the pause")
	if slots, changed = e.Free(); slots != 1 {
		t.Errorf("%d free slots for one that is tried", slots)
	}
	submit(t, e, Spec{})
	h.next(t)
	receive(t, changed, "the end of the brake")
	poll(t, "all other slots are free", func() bool { slots, _ = e.Free(); return slots == 3 })
}

// Without slots after a reload what runs goes on, what waits stays, and nothing is accepted.
func TestNoSlots(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	runs := submit(t, e, Spec{})
	p := h.next(t)
	waits := submit(t, e, Spec{Key: "k"})
	c := e.config()
	c.Slots = 0
	e.Configure(c)
	if _, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}}, ""); !errors.Is(err, ErrDraining) {
		t.Errorf("a submit: %v", err)
	}
	if _, created, err := e.Submit(t.Context(), Spec{Key: "k", Command: []string{"a"}}, ""); created || err != nil {
		t.Errorf("a submit of one that is there: %v, %v", created, err)
	}
	if s := e.ExecutorStatus(); s.Running != 1 || s.Waiting != 1 || !strings.Contains(s.Draining, "slots") ||
		!strings.Contains(s.Paused, "slots") {
		t.Errorf("%+v", s)
	}
	p.end(proc.Exit{})
	want(t, await(t, e, runs.ID), Succeeded)
	die(e)
	items := life(e)
	if !Had(items) || Had(fdstore.NewItems()) {
		t.Error("it is unknown whether there was an executor")
	}
	e, h = openExecutor(t, c, newFakeHost(), items, nil)
	if job, err := e.Job(waits.ID.String()); err != nil || job.State != Queued || !strings.Contains(job.Waiting, "slots") || h.starts("") > 0 {
		t.Errorf("%+v, %v", job, err)
	}
	c.Slots = 1
	e.Configure(c)
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, waits.ID), Succeeded)
}

// Free loses no change for another caller.
func TestFreeForTwo(t *testing.T) {
	e, h := newExecutor(t, nil)
	submit(t, e, Spec{})
	p := h.next(t)
	_, changed := e.Free()
	e.mu.Lock()
	c := e.config()
	c.Slots++
	e.cfg.Store(&c) // a change of which nobody was told yet
	e.mu.Unlock()
	e.Free()
	receive(t, changed, "the change")
	p.end(proc.Exit{})
}

// A repetition finds its job also when such a job would be refused now.
func TestRepetitionAfterReload(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Classes = map[string]Class{"night": {}} })
	spec := Spec{Key: "k", Command: []string{"a"}, Class: "night"}
	job := submit(t, e, spec)
	p := h.next(t)
	c := e.config()
	c.Classes = nil
	e.Configure(c)
	repeat := func(when string) {
		t.Helper()
		if again, created, err := e.Submit(t.Context(), spec, ""); err != nil || created || again.ID != job.ID {
			t.Errorf("%s: %+v, %v, %v", when, again, created, err)
		}
	}
	repeat("while it runs")
	p.end(proc.Exit{})
	await(t, e, job.ID)
	repeat("when it has ended")
	other := spec
	other.Key = "other"
	if _, _, err := e.Submit(t.Context(), other, ""); !errors.As(err, new(*SpecError)) {
		t.Errorf("another job: %v", err)
	}
}

// What the executor and the host find wrong is named at once, each field once.
func TestAllThatIsWrong(t *testing.T) {
	e, _ := newExecutor(t, nil)
	e.opts.Check = func(*Spec) []FieldError { return []FieldError{{"context", "unknown"}, {"class", "by the host"}} }
	_, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}, Class: "none"}, "")
	bad := (*SpecError)(nil)
	if !errors.As(err, &bad) || len(bad.Fields) != 2 || bad.Fields[0].Field != "class" || bad.Fields[1].Field != "context" {
		t.Errorf("%v", err)
	}
}
