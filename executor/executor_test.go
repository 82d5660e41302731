package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
)

func TestSuccess(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Command: []string{"a", "b"}, Stdin: []byte("in")})
	p := h.next(t)
	if in, err := io.ReadAll(p.files[0]); string(in) != "in" || err != nil {
		t.Errorf("stdin: %q, %v", in, err)
	}
	env := strings.Join(p.spec.Env, " ")
	if !strings.Contains(env, "STOKER_JOB_ID="+job.ID.String()) || !strings.Contains(env, "STOKER_JOB_ATTEMPT=1") {
		t.Errorf("environment %s", env)
	}
	if p.spec.ID != "job/"+job.ID.String()+"/1" || strings.Join(p.spec.Argv, " ") != "a b" {
		t.Errorf("%+v", p.spec)
	}
	fmt.Fprint(p.files[1], "out")
	fmt.Fprint(p.files[2], "err!")
	p.members = []int{7, 8}
	p.end(proc.Exit{CPU: time.Second, RSS: 5})
	got := await(t, e, job.ID)
	want(t, got, Succeeded)
	if x := got.Exit; x.Code != 0 || x.CPU != time.Second || x.MaxRSS != 5 || x.Leftovers != 2 || x.Ended.IsZero() {
		t.Errorf("exit %+v", x)
	}
	if got.Stdout.Bytes != 3 || got.Stderr.Bytes != 4 || got.Attempt != 1 || got.Pid != 0 || got.SubmittedBy != "tester" ||
		got.Ended.IsZero() {
		t.Errorf("%+v", got)
	}
	receive(t, p.gone, "Done")
	if !p.acked {
		t.Error("the exit was not acknowledged")
	}
	if _, err := os.Stat(e.workspace(job.ID).path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the workspace is still there: %v", err)
	}
	poll(t, "the output is taken out of the store", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.fds) == 1 && h.blobs[lifeItem] != nil
	})
	if _, err := e.StopJob(t.Context(), job.ID, StopRequest{}); !errors.Is(err, ErrFinal) {
		t.Errorf("a stop of a job that has ended: %v", err)
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		exit   proc.Exit
		oom    bool
		state  State
		reason string
	}{
		{proc.Exit{Code: 3}, false, Failed, "exit code 3"},
		{proc.Exit{Code: -1, Signal: syscall.SIGSEGV, Core: true}, false, Failed, "killed by SEGV"},
		{proc.Exit{Code: -1, Signal: syscall.SIGKILL}, true, Failed, "OOM"},
		{proc.Exit{Code: 137}, true, Failed, "OOM"},
		{proc.Exit{Code: 1}, true, Failed, "exit code 1"},
	} {
		e, h := newExecutor(t, nil)
		job := submit(t, e, Spec{})
		p := h.next(t)
		if test.oom {
			h.set(func() { h.oomKills++ })
		}
		p.end(test.exit)
		got := await(t, e, job.ID)
		if got.State != test.state || !strings.Contains(got.Reason, test.reason) || got.Exit.Core != test.exit.Core {
			t.Errorf("%+v: %s, %s, %+v", test.exit, got.State, got.Reason, got.Exit)
		}
	}
}

func TestSameKey(t *testing.T) {
	e, h := newExecutor(t, nil)
	spec := Spec{Key: "k", Command: []string{"a"}, Env: map[string]string{"PASSWORD": "secret"}, Stdin: []byte("x")}
	const clients = 50
	jobs, created := make([]Job, clients), make([]bool, clients)
	var all sync.WaitGroup
	for k := range clients {
		all.Go(func() { // ends with the answer
			var err error
			if jobs[k], created[k], err = e.Submit(t.Context(), spec, "tester"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	count := 0
	for k := range clients {
		if created[k] {
			count++
		}
		if jobs[k].ID != jobs[0].ID || jobs[k].ID == 0 {
			t.Errorf("%s and %s", jobs[k].ID, jobs[0].ID)
		}
	}
	if count != 1 {
		t.Errorf("created %d times", count)
	}
	again := func(when string) {
		t.Helper()
		job, created, err := e.Submit(t.Context(), spec, "")
		if err != nil || created || job.ID != jobs[0].ID {
			t.Errorf("%s: %+v, %v, %v", when, job, created, err)
		}
		other := spec
		other.Command, other.Env = []string{"b"}, map[string]string{"PASSWORD": "other secret"}
		_, _, err = e.Submit(t.Context(), other, "")
		if c := (*ConflictError)(nil); !errors.As(err, &c) || c.ID != jobs[0].ID || c.Key != "k" || len(c.Diff) != 2 {
			t.Errorf("%s: %v", when, err)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v", when, err)
		}
	}
	again("while it runs")
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, jobs[0].ID), Succeeded)
	again("after it has ended")
	if job, err := e.Job("key:k"); err != nil || job.ID != jobs[0].ID {
		t.Errorf("by its key: %+v, %v", job, err)
	}
	if n := h.starts(""); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// TestJobBeingAccepted: whoever asks for a key gets the job that is on its way to the disk.
func TestJobBeingAccepted(t *testing.T) {
	e, _ := newExecutor(t, nil)
	for _, refused := range []error{nil, errors.New("no space")} {
		pending := newTask(Job{ID: 5, Spec: Spec{Key: "k"}})
		e.mu.Lock()
		e.keys["k"] = pending
		e.mu.Unlock()
		found := make(chan error, 1)
		go func() { // ends with saved
			_, err := e.Job("key:k")
			found <- err
		}()
		e.mu.Lock()
		pending.accepted, pending.err = refused == nil, refused
		e.mu.Unlock()
		close(pending.saved)
		if err := receive(t, found, "the answer"); (err == nil) != (refused == nil) || refused != nil && !errors.Is(err, ErrNoJob) {
			t.Errorf("refused with %v: %v", refused, err)
		}
	}
}

// TestIDsOfManyExecutors: jobs of one millisecond in two executors have different IDs.
func TestIDsOfManyExecutors(t *testing.T) {
	seen := map[ID]bool{}
	for range 3 {
		e, _ := newExecutor(t, nil)
		seen[submit(t, e, Spec{Command: []string{"a"}}).ID%(1<<idBits)] = true
	}
	if len(seen) == 1 {
		t.Errorf("all begin with %v in a millisecond", seen)
	}
}

func TestStatusOfMemory(t *testing.T) {
	e, h := newExecutor(t, nil)
	if st := e.ExecutorStatus(); st.Memory != nil {
		t.Errorf("without a limit: %+v", st.Memory)
	}
	h.mu.Lock()
	h.room = 100 << 20
	h.mu.Unlock()
	e.mu.Lock()
	e.room.read = time.Time{}
	e.mu.Unlock()
	submit(t, e, Spec{Command: []string{"a"}, Memory: "60MiB"})
	h.next(t)
	submit(t, e, Spec{Command: []string{"a"}, Memory: "50MiB"})
	if m := e.ExecutorStatus().Memory; m == nil || *m != (MemoryStatus{Room: 100 << 20, Running: 60 << 20, Waiting: 50 << 20}) {
		t.Errorf("%+v", m)
	}
}

func TestFull(t *testing.T) {
	e, h := newExecutor(t, nil)
	const submits = 60
	errs := make([]error, submits)
	var all sync.WaitGroup
	for k := range submits {
		all.Go(func() { _, _, errs[k] = e.Submit(t.Context(), Spec{Command: []string{"a"}}, "") }) // ends with the answer
	}
	all.Wait()
	accepted, full := 0, 0
	for _, err := range errs {
		var f *FullError
		switch {
		case err == nil:
			accepted++
		case errors.As(err, &f) && f.Length == 10 && f.RetryAfter > 0 && f.Class == "":
			full++
		default:
			t.Error(err)
		}
	}
	if accepted != 14 || full != 46 {
		t.Errorf("%d accepted, %d refused", accepted, full)
	}
	for range 4 {
		h.next(t)
	}
	if s := e.ExecutorStatus(); s.Running != 4 || s.Waiting != 10 || s.Kept != 14 || s.Slots != 4 || s.QueueMax != 10 || s.Paused != "" {
		t.Errorf("%+v", s)
	}
	if n := h.starts(""); n != 4 {
		t.Errorf("%d run in 4 slots", n)
	}
}

func TestClassFull(t *testing.T) {
	e, _ := newExecutor(t, nil)
	for range 3 { // one runs, two wait
		submit(t, e, Spec{Class: "one"})
	}
	_, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}, Class: "one"}, "")
	if f := (*FullError)(nil); !errors.As(err, &f) || f.Class != "one" {
		t.Errorf("%v", err)
	}
	submit(t, e, Spec{})
}

func TestStopWaiting(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	first, second := submit(t, e, Spec{Command: []string{"a"}}), submit(t, e, Spec{Command: []string{"b"}})
	p := h.next(t)
	job, err := e.StopJob(t.Context(), second.ID, StopRequest{By: "me"})
	if err != nil || job.State != Killed || job.By != "me" {
		t.Fatalf("%+v, %v", job, err)
	}
	p.end(proc.Exit{})
	await(t, e, first.ID)
	want(t, await(t, e, second.ID), Killed)
	third := submit(t, e, Spec{Command: []string{"c"}})
	h.next(t).end(proc.Exit{})
	await(t, e, third.ID)
	if n := h.starts("b"); n != 0 {
		t.Errorf("%d starts", n)
	}
}

func TestStopRunning(t *testing.T) {
	e, h := newExecutor(t, nil)
	grace := func(d time.Duration) *time.Duration { return &d }
	job := submit(t, e, Spec{StopSignal: "INT", StopGrace: Duration(time.Hour)})
	p := h.next(t)
	got, err := e.StopJob(t.Context(), job.ID, StopRequest{By: "me"})
	if err != nil || got.State != Stopping {
		t.Fatalf("%+v, %v", got, err)
	}
	if sig := p.signal(t); sig != syscall.SIGINT {
		t.Errorf("%v", sig)
	}
	_, _ = e.StopJob(t.Context(), job.ID, StopRequest{Signal: syscall.SIGUSR1, Grace: grace(time.Millisecond), By: "other"})
	if sig := p.signal(t); sig != syscall.SIGUSR1 {
		t.Errorf("%v", sig)
	}
	_, _ = e.StopJob(t.Context(), job.ID, StopRequest{Signal: syscall.SIGUSR2, Grace: grace(time.Hour)})
	seen := map[syscall.Signal]bool{p.signal(t): true, p.signal(t): true}
	if !seen[syscall.SIGUSR2] || !seen[syscall.SIGKILL] {
		t.Errorf("%v", seen)
	}
	p.end(proc.Exit{Code: -1, Signal: syscall.SIGKILL})
	got = await(t, e, job.ID)
	want(t, got, Killed)
	if got.By != "me" || got.Exit.Signal != "KILL" {
		t.Errorf("%+v", got)
	}
}

// A request that is not carried out yet is not softened by another one, and its requester stays.
func TestStopMerge(t *testing.T) {
	e, _ := newExecutor(t, nil)
	task := newTask(Job{State: Queued, Spec: Spec{Command: []string{"a"}}})
	short, long := time.Second, time.Hour
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requestStop(task, StopRequest{By: "user", Grace: &short})
	e.requestStop(task, StopRequest{By: containerStop, Grace: &long})
	if task.stop.By != "user" || *task.stop.Grace != short || task.job.State != Queued {
		t.Errorf("%+v, %s", task.stop, task.job.State)
	}
}

// A job that is about to begin when it is stopped does not begin.
func TestStopBeforeAttempt(t *testing.T) {
	for by, state := range map[string]State{"user": Killed, containerStop: Queued} {
		e, h := newExecutor(t, nil)
		_ = e.ControlExecutor(Pause, "test")
		job := submit(t, e, Spec{})
		e.mu.Lock()
		task := e.tasks[job.ID]
		task.active = true
		e.serve(task, true)
		e.requestStop(task, StopRequest{By: by})
		e.mu.Unlock()
		e.attempts.Add(1)
		e.attempt(task)
		got, err := e.Job(job.ID.String())
		if err != nil || got.State != state || got.Attempt != 0 || h.starts("") != 0 {
			t.Errorf("%s: %+v, %v, %d starts", by, got, err, h.starts(""))
		}
	}
}

func TestTimeout(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Timeout: Duration(time.Millisecond), StopGrace: Duration(time.Millisecond)})
	p := h.next(t)
	if a, b := p.signal(t), p.signal(t); a != syscall.SIGTERM || b != syscall.SIGKILL {
		t.Errorf("%v, %v", a, b)
	}
	p.end(proc.Exit{Code: -1, Signal: syscall.SIGKILL})
	got := await(t, e, job.ID)
	want(t, got, TimedOut)
	if !strings.Contains(got.Reason, "longer than 1ms") {
		t.Error(got.Reason)
	}
}

func TestRetry(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Retry: Retry{Max: 2, Backoff: Duration(time.Millisecond), On: []string{"7"}}})
	for k := range 3 {
		p := h.next(t)
		if p.spec.ID != processID(job.ID, k+1) {
			t.Error(p.spec.ID)
		}
		p.end(proc.Exit{Code: 7})
	}
	got := await(t, e, job.ID)
	want(t, got, Failed)
	if got.Attempt != 3 || h.starts("") != 3 {
		t.Errorf("%d attempts", got.Attempt)
	}
	job = submit(t, e, Spec{Retry: Retry{Max: 2, On: []string{"7"}}})
	h.next(t).end(proc.Exit{Code: 8})
	if got = await(t, e, job.ID); got.Attempt != 1 {
		t.Errorf("another end: %d attempts", got.Attempt)
	}
}

// While a job waits for its next attempt, a stop ends it.
func TestStopBetweenAttempts(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Retry: Retry{Max: 2, Backoff: Duration(time.Hour)}})
	h.next(t).end(proc.Exit{Code: 7})
	poll(t, "it waits", func() bool {
		job, err := e.Job(job.ID.String())
		return err == nil && job.State == Accepted && strings.HasPrefix(job.Waiting, "not before") && job.Exit.Code == 7
	})
	_, _ = e.StopJob(t.Context(), job.ID, StopRequest{By: "me"})
	want(t, await(t, e, job.ID), Killed)
	if h.starts("") != 1 {
		t.Error("it was started again")
	}
}

// A stop that arrives while the end of an attempt is written prevents the next one.
func TestStopWhileRepeated(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Retry: Retry{Max: 2, Backoff: Duration(time.Millisecond)}})
	p := h.next(t)
	awaitState(t, e, job.ID, Running)
	e.mu.Lock()
	task := e.tasks[job.ID]
	p.end(proc.Exit{Code: 7})
	task.stop = &StopRequest{By: "me", Grace: new(time.Duration)}
	e.mu.Unlock()
	want(t, await(t, e, job.ID), Killed)
	if h.starts("") != 1 {
		t.Error("it was started again")
	}
}

func TestStartFailure(t *testing.T) {
	e, h := newExecutor(t, nil)
	h.set(func() { h.startErr = fmt.Errorf("cannot start: %w", syscall.EAGAIN) })
	job := submit(t, e, Spec{})
	got := await(t, e, job.ID)
	want(t, got, Failed)
	if x := got.Exit; !x.Infrastructure || x.Errno != "EAGAIN" || x.Code != -1 || !strings.Contains(x.Error, "cannot start") {
		t.Errorf("%+v", x)
	}
	if _, err := os.Stat(e.workspace(job.ID).path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the workspace is still there: %v", err)
	}
}

func TestBrake(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Brake = 3 })
	h.set(func() { h.startErr = syscall.EAGAIN })
	for range 3 {
		want(t, await(t, e, submit(t, e, Spec{}).ID), Failed)
	}
	var waiting []Job
	for range 4 {
		waiting = append(waiting, submit(t, e, Spec{}))
	}
	poll(t, "they are held back", func() bool {
		job, _ := e.Job(waiting[3].ID.String())
		return strings.Contains(job.Waiting, "3 jobs in a row could not be started")
	})
	if s := e.ExecutorStatus(); s.Waiting != 4 || s.Ended[Failed] != 3 || !strings.Contains(s.Paused, "in a row") {
		t.Errorf("%+v", s)
	}
	over := func() { // the pause is over
		e.mu.Lock()
		e.brake.until = time.Now().Add(-time.Millisecond)
		e.mu.Unlock()
		e.dispatch()
	}
	over() // one is tried, and fails
	want(t, await(t, e, waiting[0].ID), Failed)
	e.dispatch()
	if s := e.ExecutorStatus(); s.Waiting != 3 || s.Ended[Failed] != 4 {
		t.Errorf("%+v", s)
	}
	h.set(func() { h.startErr = nil })
	h.mu.Lock() // the start takes a while
	over()
	e.dispatch()
	e.dispatch()
	s := e.ExecutorStatus()
	h.mu.Unlock()
	if s.Running != 1 || s.Waiting != 2 {
		t.Errorf("more than one is tried: %+v", s)
	}
	for range 3 { // it runs, so the others may
		h.next(t)
	}
	if s := e.ExecutorStatus(); s.Paused != "" || s.Running != 3 {
		t.Errorf("%+v", s)
	}
}

// Only what would stop every job counts for the brake: one submitter's wrong commands hold back nobody.
func TestBrakeCounts(t *testing.T) {
	at := func(step string, err error) error {
		return fmt.Errorf("cannot start: %w", &program.StartError{Path: "/x", Step: step, Err: err})
	}
	for _, test := range []struct {
		err    error
		counts bool
	}{
		{at("find", syscall.ENOENT), false}, {at("execute", syscall.EACCES), false}, {at("execute", syscall.ENOEXEC), false},
		{at("enter", syscall.ENOTDIR), false}, {at("execute", syscall.E2BIG), false}, {at("become", syscall.EPERM), false},
		{errors.New("there is no service"), false}, {at("execute", syscall.EAGAIN), true}, {at("execute", syscall.ENOMEM), true},
		{syscall.EMFILE, true}, {syscall.ENFILE, true}, {syscall.ENOSPC, true}, {syscall.EDQUOT, true}, {syscall.EROFS, true},
		{at("execute", syscall.EIO), true},
	} {
		e, h := newExecutor(t, func(c *Config) { c.Brake = 2 })
		h.set(func() { h.startErr = test.err })
		for range 2 {
			got := await(t, e, submit(t, e, Spec{}).ID)
			if !got.Exit.Infrastructure || got.Exit.Error == "" {
				t.Errorf("%v: %+v", test.err, got.Exit)
			}
		}
		if paused := e.ExecutorStatus().Paused; (paused != "") != test.counts {
			t.Errorf("%v: %q", test.err, paused)
		}
	}
	e, _ := newExecutor(t, func(c *Config) { c.Brake = 1 })
	if err := os.WriteFile(e.folder("file"), nil, 0o600); err != nil { // instead of the folder of workspaces
		t.Fatal(err)
	}
	c := e.config()
	c.Workspace = e.folder("file")
	e.cfg.Store(&c)
	await(t, e, submit(t, e, Spec{}).ID)
	if paused := e.ExecutorStatus().Paused; !strings.Contains(paused, "workspace") {
		t.Errorf("no workspace can be made: %q", paused)
	}
}

// A brake whose pause is over does not wake the executor all the time.
func TestBrakeIdle(t *testing.T) {
	e, _ := newExecutor(t, nil)
	e.mu.Lock()
	e.brake = brake{failures: 9, until: time.Now().Add(-time.Second)}
	e.wake.Stop()
	e.wake = time.NewTimer(time.Hour)
	e.mu.Unlock()
	e.dispatch()
	select {
	case <-e.wake.C:
		t.Error("it is woken at once")
	default:
	}
}

func TestControl(t *testing.T) {
	e, h := newExecutor(t, nil)
	control := func(v Verb) {
		t.Helper()
		if err := e.ControlExecutor(v, ""); err != nil {
			t.Fatal(err)
		}
	}
	running := submit(t, e, Spec{Command: []string{"a"}})
	p := h.next(t)
	control(Pause)
	paused := submit(t, e, Spec{Command: []string{"b"}})
	poll(t, "it waits", func() bool { job, _ := e.Job(paused.ID.String()); return strings.HasPrefix(job.Waiting, "paused by") })
	control(Resume)
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, paused.ID), Succeeded)
	control(Drain)
	if _, _, err := e.Submit(t.Context(), Spec{Command: []string{"c"}}, ""); !errors.Is(err, ErrDraining) {
		t.Errorf("%v", err)
	}
	p.end(proc.Exit{})
	want(t, await(t, e, running.ID), Succeeded)
	control(Resume)
	want(t, func() Job { j := submit(t, e, Spec{}); h.next(t).end(proc.Exit{}); return await(t, e, j.ID) }(), Succeeded)
}

func TestStopOfContainer(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 2 })
	h.set(func() {
		h.onStart = func(p *fakeProcess) {
			p.onKill = func(p *fakeProcess, sig syscall.Signal) { p.end(proc.Exit{Code: -1, Signal: sig}) }
		}
	})
	plain, again := submit(t, e, Spec{}), submit(t, e, Spec{Command: []string{"b"}, RetryOnLost: true})
	h.next(t)
	h.next(t)
	waits := submit(t, e, Spec{Command: []string{"c"}})
	awaitState(t, e, plain.ID, Running)
	awaitState(t, e, again.ID, Running)
	e.Stop(t.Context(), deadline)
	got := await(t, e, plain.ID)
	want(t, got, Killed)
	if got.By != containerStop || got.Exit.Signal != "TERM" {
		t.Errorf("%+v", got)
	}
	_ = e.ControlExecutor(Resume, "x")
	if _, _, err := e.Submit(t.Context(), Spec{Command: []string{"d"}}, ""); !errors.Is(err, ErrDraining) {
		t.Errorf("%v", err)
	}
	for id, state := range map[ID]State{again.ID: Accepted, waits.ID: Queued} {
		if job, err := e.Job(id.String()); err != nil || job.State != state {
			t.Errorf("%s: %+v, %v", id, job, err)
		}
	}
	die(e)
	e, h = openExecutor(t, e.opts.Config, newFakeHost(), fdstore.NewItems(), nil)
	h.next(t).end(proc.Exit{})
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, again.ID), Succeeded)
	want(t, await(t, e, waits.ID), Succeeded)
}

func TestStartDeadline(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	submit(t, e, Spec{})
	h.next(t)
	job := submit(t, e, Spec{StartWithin: Duration(time.Millisecond)})
	want(t, await(t, e, job.ID), Skipped)
}

func TestUnavailable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobs")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e, h := openExecutor(t, testConfig(dir), newFakeHost(), fdstore.NewItems(), nil)
	unavailable := func(err error) {
		t.Helper()
		if u := (*UnavailableError)(nil); !errors.As(err, &u) || u.NoSpace || u.Why == "" {
			t.Errorf("%v", err)
		}
	}
	_, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}}, "")
	unavailable(err)
	_, err = e.Job(ID(1).String())
	unavailable(err)
	_, err = e.Jobs(Filter{})
	unavailable(err)
	_, err = e.StopJob(t.Context(), 1, StopRequest{})
	unavailable(err)
	_, err = e.AwaitJob(t.Context(), 1, nil)
	unavailable(err)
	_, _, err = e.ReadOutput(t.Context(), 1, "stdout", 1, 0, true, make([]byte, 1))
	unavailable(err)
	_, err = e.Artifact(1, "a")
	unavailable(err)
	if s := e.ExecutorStatus(); s.Unavailable == "" {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.lastOpen = time.Time{} // the pause is over
	e.mu.Unlock()
	job := submit(t, e, Spec{})
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, job.ID), Succeeded)
}

// A job that would have started at once, but that the disk does not take, leaves its slot to others.
func TestRefusedJobHasNoSlot(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	e.mu.Lock()
	e.journal.Close() // it takes no record
	e.mu.Unlock()
	_, _, err := e.Submit(t.Context(), Spec{Command: []string{"refused"}}, "")
	if u := (*UnavailableError)(nil); !errors.As(err, &u) {
		t.Errorf("%v", err)
	}
	e.attempts.Wait() // its attempt is none
	e.mu.Lock()
	if len(e.tasks) != 0 || e.serving != 0 {
		t.Errorf("%d tasks, %d of them with a slot", len(e.tasks), e.serving)
	}
	e.lastOpen = time.Time{} // the pause is over
	e.mu.Unlock()
	job := submit(t, e, Spec{})
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, job.ID), Succeeded)
	if n := h.starts("refused"); n != 0 {
		t.Errorf("%d starts", n)
	}
}

// TestBeginsWithItsAcceptance: a job with a free slot is begun in the journal when its submitter has the answer.
func TestBeginsWithItsAcceptance(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	for _, test := range []struct {
		kind journal.Kind
		is   State
	}{{journal.Begun, Starting}, {journal.Accepted, Queued}} {
		job := submit(t, e, Spec{})
		_, newest, err := e.journal.Read(uint64(job.ID))
		if err != nil || newest.Kind != test.kind {
			t.Errorf("%c in the journal, %v, want %c", newest.Kind, err, test.kind)
		}
		awaitReason := func() bool { now, _ := e.Job(job.ID.String()); return now.Waiting == "place 1 in the queue" }
		if test.is == Queued { // it is told by the next pass
			poll(t, "the reason", awaitReason)
		}
	}
	h.next(t).end(proc.Exit{})
	h.next(t).end(proc.Exit{})
	e.attempts.Wait()
}

// While the journal is closed, a running job can be stopped, and its end waits for the journal.
func TestStopWithoutJournal(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	job, waits := submit(t, e, Spec{}), submit(t, e, Spec{})
	p := h.next(t)
	awaitState(t, e, job.ID, Running)
	die(e)
	if got, err := e.StopJob(t.Context(), job.ID, StopRequest{By: "me"}); err != nil || got.State != Stopping {
		t.Errorf("%+v, %v", got, err)
	}
	if sig := p.signal(t); sig != syscall.SIGTERM {
		t.Errorf("%v", sig)
	}
	_, err := e.StopJob(t.Context(), waits.ID, StopRequest{})
	if u := (*UnavailableError)(nil); !errors.As(err, &u) {
		t.Errorf("%v", err)
	}
	e.mu.Lock()
	e.lastOpen = time.Time{}
	e.mu.Unlock()
	p.end(proc.Exit{})
	want(t, await(t, e, job.ID), Killed)
	h.next(t).end(proc.Exit{})
	want(t, await(t, e, waits.ID), Succeeded)
	if h.starts("") != 2 {
		t.Errorf("%d starts", h.starts(""))
	}
}

func TestFilter(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots, c.Queue = 1, 1000 })
	var ids []ID
	for k := range 5 {
		ids = append(ids, submit(t, e, Spec{Labels: map[string]string{"odd": fmt.Sprint(k % 2)}, Key: fmt.Sprint("k", k)}).ID)
	}
	h.next(t).end(proc.Exit{})
	await(t, e, ids[0])
	for _, test := range []struct {
		f    Filter
		want []ID
	}{
		{Filter{}, []ID{ids[4], ids[3], ids[2], ids[1], ids[0]}},
		{Filter{Limit: 2}, []ID{ids[4], ids[3]}},
		{Filter{Before: ids[2]}, []ID{ids[1], ids[0]}},
		{Filter{Labels: map[string]string{"odd": "1"}}, []ID{ids[3], ids[1]}},
		{Filter{Key: "k2"}, []ID{ids[2]}},
		{Filter{States: []State{Succeeded}}, []ID{ids[0]}},
		{Filter{States: []State{Lost}}, nil},
	} {
		jobs, err := e.Jobs(test.f)
		var got []ID
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%+v: %v, %v, want %v", test.f, got, err, test.want)
		}
	}
}

func TestReadOutput(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{})
	p := h.next(t)
	awaitState(t, e, job.ID, Running)
	type part struct {
		text string
		at   int64
	}
	parts := make(chan part, 100)
	ended := make(chan error, 1)
	go func() { // ends with the job
		buf := make([]byte, 100)
		for offset := int64(2); ; {
			n, at, err := e.ReadOutput(t.Context(), job.ID, "stdout", 1, offset, true, buf)
			if err != nil {
				ended <- err
				return
			}
			parts <- part{string(buf[:n]), at}
			offset = at + int64(n)
		}
	}()
	fmt.Fprint(p.files[1], "hello")
	if got := receive(t, parts, "output"); got != (part{"llo", 2}) {
		t.Errorf("%+v", got)
	}
	fmt.Fprint(p.files[1], " world")
	if got := receive(t, parts, "output"); got != (part{" world", 5}) {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := e.ReadOutput(ctx, job.ID, "stderr", 1, 0, true, make([]byte, 9)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, _, err := e.ReadOutput(t.Context(), job.ID, "stderr", 1, 0, false, make([]byte, 9)); err != io.EOF {
		t.Errorf("%v", err)
	}
	if _, _, err := e.ReadOutput(t.Context(), job.ID, "stdin", 1, 0, false, make([]byte, 9)); err == nil {
		t.Error("stdin was read")
	}
	fmt.Fprint(p.files[1], "!")
	p.end(proc.Exit{})
	if got := receive(t, parts, "output"); got != (part{"!", 11}) {
		t.Errorf("%+v", got)
	}
	if err := receive(t, ended, "the end"); err != io.EOF {
		t.Error(err)
	}
	await(t, e, job.ID)
	buf := make([]byte, 100)
	n, at, err := e.ReadOutput(t.Context(), job.ID, "stdout", 1, 6, true, buf)
	if string(buf[:n]) != "world!" || at != 6 || err != nil {
		t.Errorf("%q at %d, %v", buf[:n], at, err)
	}
	if _, _, err := e.ReadOutput(t.Context(), job.ID, "stdout", 1, 12, true, buf); err != io.EOF {
		t.Errorf("behind the end: %v", err)
	}
	if _, _, err := e.ReadOutput(t.Context(), 99, "stdout", 1, 0, true, buf); !errors.Is(err, ErrNoJob) {
		t.Errorf("of no job: %v", err)
	}
}

// TestReadOutputOfAttempts: what follows an attempt ends with it, and never gets the output of another one.
func TestReadOutputOfAttempts(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Retry: Retry{Max: 1, Backoff: Duration(time.Millisecond)}})
	follow := func(attempt int) <-chan string {
		out := make(chan string, 1)
		go func() { // ends with the attempt
			buf, text := make([]byte, 100), ""
			for offset := int64(0); ; {
				n, at, err := e.ReadOutput(t.Context(), job.ID, "stdout", attempt, offset, true, buf)
				text, offset = text+string(buf[:n]), at+int64(n)
				if err != nil {
					out <- text + fmt.Sprint(" ", err)
					return
				}
			}
		}()
		return out
	}
	want := func(what string, c <-chan string, text string) {
		t.Helper()
		if got := receive(t, c, what); got != text {
			t.Errorf("%s: %q, want %q", what, got, text)
		}
	}
	first, second := follow(1), follow(2)
	p := h.next(t)
	fmt.Fprint(p.files[1], "first")
	p.end(proc.Exit{Code: 1})
	want("the first attempt", first, "first EOF")
	p = h.next(t)
	awaitState(t, e, job.ID, Running)
	fmt.Fprint(p.files[1], "other")
	want("the first attempt, late", follow(1), " EOF")
	p.end(proc.Exit{})
	want("the second attempt", second, "other EOF")
	await(t, e, job.ID)
	want("the second attempt, late", follow(2), "other EOF")
	want("an attempt that never comes", follow(3), " EOF")
}

// Those that follow a job see its end, whenever they begin.
func TestFollowRace(t *testing.T) {
	e, h := newExecutor(t, nil)
	h.set(func() { h.onStart = func(p *fakeProcess) { p.end(proc.Exit{}) } })
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for range 50 {
		job := submit(t, e, Spec{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { // ends with the job
				if _, _, err := e.ReadOutput(ctx, job.ID, "stdout", 1, 0, true, make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
			})
		}
		all.Wait()
		await(t, e, job.ID)
	}
}
