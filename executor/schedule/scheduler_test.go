package schedule

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/executor"
)

var _ Submitter = (*executor.Executor)(nil)

// journal plays the executor.
type journal struct {
	mu      sync.Mutex
	jobs    []executor.Job
	lines   []string // what was asked for, with the time of day
	refuse  error    // answers Submit
	stopErr error    // answers StopJob
	slow    bool     // jobs do not end when they are asked to
	unknown error    // answers Job
	state   executor.State
}

func (j *journal) note(what string) {
	j.lines = append(j.lines, time.Now().UTC().Format("15:04:05 ")+what)
}

func (j *journal) Submit(_ context.Context, spec executor.Spec, _ string) (executor.Job, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil {
		return executor.Job{}, false, j.refuse
	}
	if job, ok := j.find("key:" + spec.Key); ok {
		j.note("again " + spec.Key)
		return job, false, nil
	}
	job := executor.Job{ID: executor.ID(len(j.jobs) + 1), Spec: spec, State: j.state}
	j.jobs = append(j.jobs, job)
	j.note(spec.Key)
	return job, true, nil
}

func (j *journal) StopJob(_ context.Context, id executor.ID, r executor.StopRequest) (executor.Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopErr != nil {
		return executor.Job{}, j.stopErr
	}
	j.note("stop " + id.String()[15:] + " by " + r.By)
	job := &j.jobs[id-1]
	if job.State.Final() {
		return *job, executor.ErrFinal
	}
	if job.State = executor.Killed; j.slow {
		job.State = executor.Stopping
	}
	return *job, nil
}

func (j *journal) Job(name string) (executor.Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unknown != nil {
		return executor.Job{}, j.unknown
	}
	if job, ok := j.find(name); ok {
		return job, nil
	}
	return executor.Job{}, executor.ErrNoJob
}

func (j *journal) find(name string) (executor.Job, bool) {
	k := slices.IndexFunc(j.jobs, func(job executor.Job) bool { return name == "key:"+job.Spec.Key || name == job.ID.String() })
	if k < 0 {
		return executor.Job{}, false
	}
	return j.jobs[k], true
}

func (j *journal) set(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

// take returns what was asked for since the last call.
func (j *journal) take() string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	out := strings.ReplaceAll(strings.Join(j.lines, "; "), "schedule/", "")
	j.lines = nil
	return out
}

func (j *journal) want(t *testing.T, want string) {
	t.Helper()
	if got := j.take(); got != want {
		t.Errorf("%s: %s\nwant %s", time.Now().UTC().Format(time.TimeOnly), got, want)
	}
}

// start runs a scheduler until stop is called. A bubble's clock begins at 2000-01-01 00:00 UTC.
func start(schedules map[string]Config, j *journal, o Options) (s *Scheduler, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s = New(schedules, j, o)
	ended := make(chan struct{})
	go func() { // ends with ctx
		s.Run(ctx)
		close(ended)
	}()
	return s, func() { cancel(); <-ended }
}

func one(cron string, change ...func(*Config)) map[string]Config {
	c := Config{Cron: cron, Zone: "UTC", Command: []string{"true"}}
	for _, f := range change {
		f(&c)
	}
	return map[string]Config{"s": c}
}

func with(concurrency string) func(*Config) { return func(c *Config) { c.Concurrency = concurrency } }

// clock is a wall clock that can jump.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.offset)
}

func (c *clock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
}

func TestRunsAtItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{state: executor.Succeeded}
		s, stop := start(one("*/30 * * * *", func(c *Config) { c.Env = map[string]string{"A": "B"}; c.Labels = map[string]string{"team": "x"} }),
			j, Options{})
		defer stop()
		time.Sleep(61 * time.Minute)
		j.want(t, "00:30:00 s/2000-01-01T00:30:00Z; 01:00:00 s/2000-01-01T01:00:00Z")
		spec := j.jobs[0].Spec
		if spec.Env["A"] != "B" || spec.Labels["team"] != "x" || spec.Labels["schedule"] != "s" || spec.Serial != "schedule/s" ||
			time.Duration(spec.StartWithin) != DefaultDeadline {
			t.Errorf("%+v", spec)
		}
		st := s.Status()[0]
		if st.Name != "s" || st.Job != 2 || st.State != executor.Succeeded || st.Last.Format(time.TimeOnly) != "01:00:00" ||
			st.Next.Format(time.TimeOnly) != "01:30:00" {
			t.Errorf("%+v", st)
		}
	})
}

func TestConcurrency(t *testing.T) {
	for _, c := range []struct{ concurrency, want string }{
		{Forbid, "00:30:00 s/2000-01-01T00:30:00Z"},
		{Replace, "00:30:00 s/2000-01-01T00:30:00Z; 01:00:00 stop 1 by s; 01:00:00 s/2000-01-01T01:00:00Z"},
		{Allow, "00:30:00 s/2000-01-01T00:30:00Z; 01:00:00 s/2000-01-01T01:00:00Z"},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{state: executor.Running}
			s, stop := start(one("*/30 * * * *", with(c.concurrency)), j, Options{})
			defer stop()
			time.Sleep(61 * time.Minute)
			j.want(t, c.want)
			st := s.Status()[0]
			if c.concurrency == Forbid && (st.State != executor.Skipped || !strings.Contains(st.Reason, "has not ended") || st.Job != 0) {
				t.Errorf("%+v", st)
			}
			j.set(func() { j.jobs[0].State = executor.Failed })
			time.Sleep(30 * time.Minute)
			if got := j.take(); !strings.Contains(got, "01:30:00 s/2000-01-01T01:30:00Z") {
				t.Errorf("%s: behind the end of the earlier job: %q", c.concurrency, got)
			}
		})
	}
}

// TestReplaceAgain: no run stands in front of an earlier job that was not stopped.
func TestReplaceAgain(t *testing.T) {
	disk := &executor.UnavailableError{Why: "no disk"}
	for _, c := range []struct {
		name    string
		stopErr error
		refuse  error
		after   time.Duration // of the run, when that changes
		restart bool
		want    string
		waiting string // before
		reason  string // behind
	}{
		{"not stopped at first", disk, nil, 90*time.Second + time.Millisecond, false, "01:01:31 stop 1 by s; 01:01:31 s/2000-01-01T01:00:00Z",
			"cannot stop the earlier job 0000000000000001: ", ""},
		{"not stopped until the deadline", disk, nil, 10*time.Minute + time.Millisecond, false, "", "",
			"not begun within 10m0s of its time: cannot stop the earlier job 0000000000000001: "},
		{"it has ended", executor.ErrFinal, nil, time.Second, false, "01:00:00 s/2000-01-01T01:00:00Z", "", ""},
		{"it is not kept", executor.ErrNoJob, nil, time.Second, false, "01:00:00 s/2000-01-01T01:00:00Z", "", ""},
		{"stopped, and refused", nil, disk, 90*time.Second + time.Millisecond, false,
			"01:00:00 stop 1 by s; 01:01:31 s/2000-01-01T01:00:00Z", "no disk", ""},
		{"death before the submit", nil, disk, time.Millisecond, true,
			"01:00:00 stop 1 by s; 01:00:00 s/2000-01-01T01:00:00Z", "no disk", ""},
		{"death before the stop", disk, nil, time.Millisecond, true,
			"01:00:00 stop 1 by s; 01:00:00 s/2000-01-01T01:00:00Z", "no disk", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{state: executor.Running, slow: true}
			booted := time.Now()
			s, stop := start(one("*/30 * * * *", with(Replace)), j, Options{Booted: booted})
			defer func() { stop() }()
			time.Sleep(31 * time.Minute)
			j.want(t, "00:30:00 s/2000-01-01T00:30:00Z")
			j.set(func() { j.stopErr, j.refuse = c.stopErr, c.refuse })
			time.Sleep(29*time.Minute + c.after)
			synctest.Wait()
			if got := s.Status()[0].Waiting; !strings.Contains(got, c.waiting) || (got == "") != (c.waiting == "") {
				t.Errorf("%s: waiting: %q", c.name, got)
			}
			j.set(func() { j.stopErr, j.refuse = nil, nil })
			if c.restart {
				stop()
				s, stop = start(one("*/30 * * * *", with(Replace)), j, Options{Booted: booted})
			}
			time.Sleep(time.Second)
			j.want(t, c.want)
			if got := s.Status()[0]; got.Waiting != "" || !strings.HasPrefix(got.Reason, c.reason) {
				t.Errorf("%s: %+v", c.name, got)
			}
			last := "stop 2 by s"
			if c.want == "" {
				last = "stop 1 by s"
			}
			time.Sleep(30 * time.Minute)
			j.want(t, "01:30:00 "+last+"; 01:30:00 s/2000-01-01T01:30:00Z")
		})
	}
}

func TestRestart(t *testing.T) {
	for _, c := range []struct {
		name        string
		cron        string
		concurrency string
		down        time.Duration
		newBoot     bool
		want        string
	}{
		{"none missed", "0 * * * *", "", 20 * time.Minute, true, ""},
		{"one missed", "0 * * * *", "", 52 * time.Minute, true, "02:02:00 s/2000-01-01T02:00:00Z"},
		{"too late", "0 * * * *", "", 65 * time.Minute, true, ""},
		{"several missed, one made up", "*/2 * * * *", "", 50 * time.Minute, true, "02:00:00 s/2000-01-01T02:00:00Z"},
		{"the job runs on", "*/2 * * * *", Forbid, 30 * time.Minute, false, ""},
		{"the job runs on and is replaced", "*/2 * * * *", Replace, 30 * time.Minute, false,
			"01:40:00 stop 1 by s; 01:40:00 s/2000-01-01T01:40:00Z"},
		{"reboot, same container", "@reboot", "", 30 * time.Minute, false, ""},
		{"reboot, another life", "@reboot", "", 30 * time.Minute, true, "01:40:00 s/boot/b"},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{state: executor.Succeeded}
			if !c.newBoot {
				j.state = executor.Running
			}
			time.Sleep(59 * time.Minute)
			booted := time.Now()
			_, stop := start(one(c.cron, with(c.concurrency)), j, Options{Boot: "a", Booted: booted})
			time.Sleep(time.Minute + time.Second)
			stop()
			if n := len(j.jobs); n != 1 {
				t.Fatalf("%s: %d jobs", c.name, n)
			}
			time.Sleep(10*time.Minute + c.down - time.Second)
			j.take()
			o := Options{Boot: "a", Booted: booted}
			if c.newBoot {
				o = Options{Boot: "b"}
			}
			_, stop = start(one(c.cron, with(c.concurrency)), j, o)
			defer stop()
			time.Sleep(time.Second)
			if got := j.take(); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		})
	}
}

// TestNewContainerMakesUpNothing: the runs of a time before the schedule were those of other containers.
func TestNewContainerMakesUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(61 * time.Minute)
		j := &journal{}
		s, stop := start(one("0 * * * *"), j, Options{})
		defer stop()
		time.Sleep(10 * time.Minute)
		j.want(t, "")
		s.Configure(one("*/5 * * * *"))
		time.Sleep(6 * time.Minute)
		j.want(t, "01:15:00 s/2000-01-01T01:15:00Z")
	})
}

func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{state: executor.Running}
		jitter := func(c *Config) { c.Jitter = 20 * time.Minute }
		s, stop := start(one("0 * * * *", jitter), j, Options{Boot: "a"})
		defer stop()
		time.Sleep(time.Hour + time.Second)
		due := s.Status()[0].Next
		if !due.After(time.Now()) || time.Until(due) >= 20*time.Minute {
			t.Fatalf("the run with a jitter of 20m is due at %s", due)
		}
		s.Configure(one("0 * * * *", func(c *Config) { c.Command = []string{"false"} }))
		synctest.Wait()
		if again := s.Status()[0].Next; !again.Equal(due) {
			t.Errorf("a run that is due keeps its time: %s, not %s", again, due)
		}
		time.Sleep(time.Until(due) + time.Second)
		j.want(t, due.UTC().Format("15:04:05 ")+"s/2000-01-01T01:00:00Z")
		if got := j.jobs[0].Spec.Command[0]; got != "false" {
			t.Errorf("the command is %s", got)
		}
		s.Configure(one("*/30 * * * *")) // another expression: the earlier job still counts
		time.Sleep(30 * time.Minute)
		if st := s.Status()[0]; st.State != executor.Skipped {
			t.Errorf("%+v", st)
		}
		s.Configure(nil)
		time.Sleep(2 * time.Hour)
		j.want(t, "")
		if got := s.Status(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestRefusedSubmit(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse error
		left   time.Duration // the time of the refusal
		want   string
		reason string
	}{
		{"full, then not", &executor.FullError{Length: 3}, 90 * time.Second, "01:01:30 s/2000-01-01T01:00:00Z", ""},
		{"drained", executor.ErrDraining, time.Hour, "", "not begun within 10m0s of its time: no jobs are accepted"},
		{"wrong", &executor.SpecError{Fields: []executor.FieldError{{Field: "context", Why: "there is none"}}}, time.Second, "",
			"context: there is none"},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{state: executor.Running, refuse: c.refuse}
			s, stop := start(one("0 1 * * *"), j, Options{})
			defer stop()
			time.Sleep(time.Hour + c.left - time.Second/2)
			j.want(t, "")
			j.set(func() { j.refuse = nil })
			time.Sleep(time.Second)
			j.want(t, c.want)
			if c.want != "" {
				if got := time.Duration(j.jobs[0].Spec.StartWithin); got != DefaultDeadline-c.left {
					t.Errorf("%s: starts within %s", c.name, got)
				}
			}
			if st := s.Status()[0]; st.Reason != c.reason || st.Waiting != "" || st.Next.Day() != 2 {
				t.Errorf("%s: %+v", c.name, st)
			}
		})
	}
}

func TestUnavailableAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{state: executor.Succeeded, unknown: &executor.UnavailableError{Why: "read-only"}}
		s, stop := start(one("*/2 * * * *"), j, Options{})
		defer stop()
		time.Sleep(3*time.Minute - time.Second/2)
		if st := s.Status()[0]; !strings.Contains(st.Waiting, "read-only") {
			t.Errorf("%+v", st)
		}
		j.set(func() { j.unknown = nil })
		time.Sleep(90 * time.Second)
		j.want(t, "00:03:00 s/2000-01-01T00:02:00Z; 00:04:00 s/2000-01-01T00:04:00Z")
	})
}

func TestJumpsOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, c := &journal{state: executor.Succeeded}, &clock{}
		s, stop := start(one("*/10 * * * *"), j, Options{Now: c.now})
		defer stop()
		time.Sleep(15*time.Minute + time.Second/2)
		j.want(t, "00:10:00 s/2000-01-01T00:10:00Z")

		c.jump(24*time.Hour + time.Minute) // a suspended machine: one run, noticed within a minute
		time.Sleep(time.Minute)
		j.want(t, "00:16:00 s/2000-01-02T00:10:00Z")
		time.Sleep(10 * time.Minute)
		j.want(t, "00:19:00 s/2000-01-02T00:20:00Z")

		c.jump(5 * time.Minute) // over a run
		time.Sleep(time.Minute)
		j.want(t, "00:27:00 s/2000-01-02T00:30:00Z")

		c.jump(-10 * time.Minute) // back over a run: it has its job already
		time.Sleep(14 * time.Minute)
		j.want(t, "")
		time.Sleep(10 * time.Minute)
		j.want(t, "00:44:00 s/2000-01-02T00:40:00Z")

		c.jump(-24 * 365 * time.Hour) // the clock was wrong by a year
		time.Sleep(20 * time.Minute)
		if got := j.take(); strings.Count(got, "s/1999-01-0") != 2 {
			t.Errorf("behind a jump back: %q; %+v", got, s.Status())
		}
	})
}

func TestJitter(t *testing.T) {
	s := New(nil, &journal{}, Options{Boot: "a"})
	other := New(nil, &journal{}, Options{Boot: "b"})
	r, err := parse("*/10 * * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	e := &entry{name: "s", rule: r, cfg: Config{Jitter: time.Hour}}
	seen := map[time.Duration]bool{}
	for run := r.next(time.Unix(0, 0)); len(seen) < 100; run = r.next(run) {
		d := s.delay(e, run)
		if d < 0 || d >= 10*time.Minute || seen[d] || d != s.delay(e, run) || d == other.delay(e, run) {
			t.Fatalf("the delay of %s is %s, in another container %s", run, d, other.delay(e, run))
		}
		seen[d] = true
	}
}

func TestInvalidScheduleIsLeftOut(t *testing.T) {
	s := New(map[string]Config{"bad": {Cron: "x"}, "good": {Cron: "@daily"}}, &journal{unknown: errors.New("x")}, Options{})
	if got := s.Status(); len(got) != 1 || got[0].Name != "good" {
		t.Errorf("%+v", got)
	}
}
