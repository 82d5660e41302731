// Package schedule submits jobs at the times of cron expressions. It owns no process and keeps nothing on disk: each run is a job
// whose key has the time of the run, so the executor's journal knows what has been submitted.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stoker-init/stoker/executor"
)

const (
	// maxSleep bounds the time to the next look at the wall clock, which can jump while a timer runs.
	maxSleep = time.Minute
	// retryEvery is the pause after a refused submit.
	retryEvery = time.Second
	// lookBack bounds how many earlier runs are asked for after a restart.
	lookBack = 100
)

// Submitter is what a Scheduler needs of an executor.
type Submitter interface {
	Submit(ctx context.Context, spec executor.Spec, by string) (job executor.Job, created bool, err error)
	StopJob(ctx context.Context, id executor.ID, r executor.StopRequest) (executor.Job, error)
	// Job returns a job by its ID, or by "key:KEY".
	Job(name string) (executor.Job, error)
}

// Options are what a Scheduler needs besides.
type Options struct {
	Boot   string           // identifies the life of the container
	Booted time.Time        // when that began; zero: now
	Now    func() time.Time // the wall clock; nil: time.Now
	Log    hclog.Logger     // nil: none
}

// Status is the state of a schedule.
type Status struct {
	Name string `json:"name"`
	// Next is when the next run is due, with its jitter. Zero: there is none.
	Next time.Time `json:"next,omitzero"`
	// Waiting is why a run that is due has not been submitted yet.
	Waiting string `json:"waiting,omitempty"`
	// Last is the time of the latest run that was submitted or skipped, without jitter.
	Last time.Time `json:"last,omitzero"`
	// Job is that of the run; 0: it was skipped.
	Job executor.ID `json:"job,omitempty"`
	// State is that of the job, SKIPPED without a job, or empty if the job is not kept any more.
	State executor.State `json:"state,omitempty"`
	// Reason says why the run was skipped, or why the job is in its state.
	Reason string `json:"reason,omitempty"`
}

// Scheduler submits jobs. New makes it, Run works.
type Scheduler struct {
	submitter Submitter
	opts      Options
	wake      chan struct{}

	// Only Run's goroutine uses these.
	entries map[string]*entry
	seen    time.Time // the latest look at the clock

	mu     sync.Mutex
	wanted map[string]Config // nil: as it is
	status []Status
}

// entry is one schedule.
type entry struct {
	name     string
	cfg      Config
	rule     rule
	since    time.Time   // earlier runs are not made up; zero: those behind the newest job are, or behind the container's start
	restored bool        // newest is known
	planned  time.Time   // the run that is next; zero: none
	due      time.Time   // planned, with the jitter
	newest   executor.ID // the job that was submitted last; 0: none
	status   Status
}

// New returns a Scheduler of schedules that Config.Validate has checked.
func New(schedules map[string]Config, s Submitter, o Options) *Scheduler {
	if o.Now == nil {
		o.Now = func() time.Time { return time.Now().Round(0) } // without the monotonic clock, which knows no jumps
	}
	if o.Booted.IsZero() {
		o.Booted = o.Now()
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	out := &Scheduler{submitter: s, opts: o, wake: make(chan struct{}, 1), entries: map[string]*entry{}}
	out.configure(schedules, time.Time{})
	out.publish()
	return out
}

// Configure replaces the schedules. One with the same expression and zone keeps the time of its next run; runs of a new one that are
// past already are not made up.
func (s *Scheduler) Configure(schedules map[string]Config) {
	s.mu.Lock()
	s.wanted = maps.Clone(schedules)
	if s.wanted == nil {
		s.wanted = map[string]Config{}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Status returns the state of all schedules by name.
func (s *Scheduler) Status() []Status {
	s.mu.Lock()
	out := slices.Clone(s.status)
	s.mu.Unlock()
	for k := range out {
		if out[k].Job != 0 {
			if job, err := s.submitter.Job(out[k].Job.String()); err == nil {
				out[k].State, out[k].Reason = job.State, job.Reason
			}
		}
	}
	return out
}

// Run submits jobs until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.tick(ctx))
	}
}

// tick does what is due, and returns when to look again.
func (s *Scheduler) tick(ctx context.Context) time.Duration {
	now := s.opts.Now()
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	if wanted != nil {
		s.configure(wanted, now)
	}
	back := now.Before(s.seen) // what is planned may be far in the future
	s.seen = now
	wait := maxSleep
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		if ctx.Err() != nil {
			break
		}
		e := s.entries[name]
		if back {
			if next := e.rule.next(now); !next.IsZero() && next.Before(e.planned) {
				s.plan(e, next)
			}
		}
		s.step(ctx, e, now)
		switch {
		case e.status.Waiting != "":
			wait = min(wait, retryEvery)
		case !e.planned.IsZero():
			wait = min(wait, e.due.Sub(now))
		}
	}
	s.publish()
	return wait
}

func (s *Scheduler) configure(schedules map[string]Config, since time.Time) {
	old := s.entries
	s.entries = map[string]*entry{}
	for name, cfg := range schedules {
		cfg = cfg.WithDefaults()
		e := old[name]
		if e == nil || e.cfg.Cron != cfg.Cron || e.cfg.Zone != cfg.Zone {
			zone, err := loadZone(cfg.Zone)
			r := rule{}
			if err == nil {
				r, err = parse(cfg.Cron, zone)
			}
			if err != nil {
				s.opts.Log.Error("a schedule is not used", "schedule", name, "error", err)
				continue
			}
			next := &entry{name: name, rule: r, since: since, status: Status{Name: name}}
			if e != nil {
				next.newest, next.status = e.newest, e.status
			}
			e = next
		}
		e.cfg = cfg
		s.entries[name] = e
	}
}

func (s *Scheduler) publish() {
	var all []Status
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		e := s.entries[name]
		e.status.Next = e.due
		all = append(all, e.status)
	}
	s.mu.Lock()
	s.status = all
	s.mu.Unlock()
}

// key is that of the job of a run.
func (s *Scheduler) key(e *entry, planned time.Time) string {
	if e.rule.reboot {
		return prefix(e.name) + "/boot/" + s.opts.Boot
	}
	return prefix(e.name) + "/" + planned.UTC().Format(time.RFC3339)
}

// delay is the jitter of a run.
func (s *Scheduler) delay(e *entry, planned time.Time) time.Duration {
	most := e.cfg.Jitter
	if next := e.rule.next(planned); !next.IsZero() {
		most = min(most, next.Sub(planned))
	}
	if most <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", s.opts.Boot, s.key(e, planned))
	return time.Duration(h.Sum64() % uint64(most))
}

// plan makes planned the run that is next.
func (s *Scheduler) plan(e *entry, planned time.Time) {
	e.planned, e.due, e.status.Waiting = planned, time.Time{}, ""
	if !planned.IsZero() {
		e.due = planned.Add(s.delay(e, planned))
	}
}

// restore finds the newest job of a schedule, and plans the run behind it.
func (s *Scheduler) restore(e *entry, now time.Time) error {
	if e.rule.reboot {
		e.restored = true
		s.plan(e, s.opts.Booted)
		return nil
	}
	const year = 366 * 24 * time.Hour
	from := e.since
	if from.IsZero() {
		from = now.Add(-e.cfg.Deadline - e.cfg.Jitter)
		if from.Before(s.opts.Booted) {
			from = s.opts.Booted
		}
	}
	run := e.rule.latest(now.Add(-year), now)
	for range lookBack {
		if run.IsZero() {
			break
		}
		job, err := s.submitter.Job("key:" + s.key(e, run))
		if err == nil {
			if e.since.IsZero() {
				from = run
			}
			if job.ID > e.newest {
				e.newest, e.status.Last, e.status.Job = job.ID, run, job.ID
			}
			break
		}
		if !errors.Is(err, executor.ErrNoJob) {
			return err
		}
		run = e.rule.latest(now.Add(-year), run.Add(-1))
	}
	e.restored = true
	s.plan(e, e.rule.next(from))
	return nil
}

// step submits or skips the run of a schedule that is due.
func (s *Scheduler) step(ctx context.Context, e *entry, now time.Time) {
	if !e.restored {
		if err := s.restore(e, now); err != nil {
			e.status.Waiting = err.Error()
			return
		}
	}
	if e.planned.IsZero() || now.Before(e.due) {
		return
	}
	latest := e.rule.latest(e.planned, now)
	if !latest.IsZero() && now.Before(latest.Add(s.delay(e, latest))) {
		latest = e.rule.latest(e.planned, latest.Add(-1))
	}
	if !latest.IsZero() {
		s.opts.Log.Warn("runs were missed, and only the latest counts", "schedule", e.name, "first", e.planned, "latest", latest)
		s.plan(e, latest)
	}
	id, skip, err := s.submit(ctx, e, now)
	if err != nil {
		if e.status.Waiting == "" {
			s.opts.Log.Warn("cannot submit the job of a schedule, which is tried again", "schedule", e.name, "run", e.planned, "error", err)
		}
		e.status.Waiting = err.Error()
		return
	}
	e.status.Last, e.status.Job, e.status.State, e.status.Reason = e.planned, id, "", ""
	if skip != "" {
		s.opts.Log.Warn("skipped the run of a schedule", "schedule", e.name, "run", e.planned, "why", skip)
		e.status.State, e.status.Reason = executor.Skipped, skip
	} else {
		e.newest = id
	}
	s.plan(e, e.rule.next(e.planned))
}

// submit submits the run that is due. skip says why it never will be submitted, err why it is not yet.
func (s *Scheduler) submit(ctx context.Context, e *entry, now time.Time) (id executor.ID, skip string, err error) {
	spec := e.cfg.spec(e.name)
	spec.Key = s.key(e, e.planned)
	job, err := s.submitter.Job("key:" + spec.Key)
	if err == nil {
		return job.ID, "", nil // it was submitted before a restart
	}
	known := errors.Is(err, executor.ErrNoJob)
	left := e.due.Add(e.cfg.Deadline).Sub(now)
	if left <= 0 {
		skip = fmt.Sprintf("not begun within %s of its time", e.cfg.Deadline)
		if why := e.status.Waiting; why != "" {
			skip += ": " + why
		} else if !known {
			skip += ": " + err.Error()
		}
		return 0, skip, nil
	}
	if !known {
		return 0, "", err
	}
	earlier, err := s.unfinished(e)
	if err != nil {
		return 0, "", err
	}
	if earlier != nil && e.cfg.Concurrency == Forbid {
		return 0, fmt.Sprintf("the earlier job %s has not ended", earlier.ID), nil
	}
	by := prefix(e.name)
	if earlier != nil && e.cfg.Concurrency == Replace {
		if err := s.stop(ctx, earlier, by); err != nil {
			return 0, "", err
		}
	}
	spec.StartWithin = executor.Duration(left)
	job, _, err = s.submitter.Submit(ctx, spec, by)
	var wrong *executor.SpecError
	switch {
	case errors.As(err, &wrong):
		return 0, err.Error(), nil
	case err != nil:
		return 0, "", err
	}
	return job.ID, "", nil
}

// stop stops the earlier job, before the new one is submitted: once that is the newest, the earlier one is not looked at. The new job
// waits for its end, since both have the same serial key.
func (s *Scheduler) stop(ctx context.Context, earlier *executor.Job, by string) error {
	if earlier.State == executor.Stopping { // each request would send the signal again
		return nil
	}
	_, err := s.submitter.StopJob(ctx, earlier.ID, executor.StopRequest{By: by})
	if err == nil || errors.Is(err, executor.ErrFinal) || errors.Is(err, executor.ErrNoJob) {
		return nil
	}
	return fmt.Errorf("cannot stop the earlier job %s: %w", earlier.ID, err)
}

// unfinished returns the newest job of a schedule if it has not ended; nil: it has, or there is none.
func (s *Scheduler) unfinished(e *entry) (*executor.Job, error) {
	if e.newest == 0 {
		return nil, nil
	}
	job, err := s.submitter.Job(e.newest.String())
	switch {
	case errors.Is(err, executor.ErrNoJob), err == nil && job.State.Final():
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &job, nil
}
