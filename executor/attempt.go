package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/executor/output"
	"github.com/stoker-init/stoker/executor/workspace"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/jvm"
	"golang.org/x/sys/unix"
)

// Variables in the environment of a job.
const (
	idVariable      = "STOKER_JOB_ID"
	attemptVariable = "STOKER_JOB_ATTEMPT"
)

// dieTime is how long killed processes may take to be gone.
const dieTime = 2 * time.Second

// attempt runs one attempt of a task that has a slot.
func (e *Executor) attempt(t *task) {
	defer e.attempts.Done()
	e.mu.Lock()
	if stop := t.stop; stop != nil {
		e.mu.Unlock()
		e.stopBefore(t, stop)
		return
	}
	e.begin(t)
	e.mu.Unlock()
	job := e.record(journal.Begun, t) // on disk before the start: a job is never started twice
	e.run(t, job)
}

// begin makes the next attempt of a task the present one. mu is held.
func (e *Executor) begin(t *task) {
	if t.due = t.job.due(); t.job.Attempt > 0 {
		e.metrics.Retries++
	}
	e.set(t, func(j *Job) {
		j.State, j.Attempt, j.Life, j.Started, j.Waiting, j.Reason = Starting, j.Attempt+1, e.life, time.Now().UTC(), "", ""
		j.Exit, j.Notes, j.NextAttempt, j.Stdout, j.Stderr = nil, nil, time.Time{}, output.Info{}, output.Info{}
	})
}

// stopBefore ends a job that was asked to end between two attempts, or before the first. At the end of the container it waits on.
func (e *Executor) stopBefore(t *task, stop *StopRequest) {
	if stop.By != containerStop {
		e.end(t, func(j *Job) { j.State, j.By, j.Reason = Killed, stop.By, "stopped before it began" })
		return
	}
	e.mu.Lock()
	t.active, t.stop = false, nil
	e.serve(t, false)
	e.mu.Unlock()
}

// run starts the process of an attempt that is in the journal.
func (e *Executor) run(t *task, job Job) {
	spec := job.Spec.withDefaults(e.config())
	ws := e.workspace(job.ID)
	if job.State == Stopping { // meanwhile, or before the supervisor died
		e.finish(t, nil, spec, ws, ending{exit: Exit{Code: -1, Ended: time.Now().UTC()}, state: Killed, reason: "stopped before it began",
			by: job.By})
		return
	}
	p, oomKills, err := e.start(t, &job, spec, ws)
	if err != nil {
		e.finish(t, nil, spec, ws, startFailure(err))
		return
	}
	e.mu.Lock()
	e.set(t, func(j *Job) {
		j.Pid, j.Notes = p.Pid(), job.Notes
		if j.State == Starting {
			j.State = Running
		}
	})
	if !t.due.IsZero() {
		e.metrics.Starts.add(time.Since(t.due))
	}
	job = t.job
	e.mu.Unlock()
	e.brakeOff()
	e.publish(lifecycle.JobStarted, &job)
	e.supervise(t, p, spec, ws, oomKills)
}

// oomCounter is the count of OOM kills when an attempt began. The next supervisor gets it with the outputs.
type oomCounter struct {
	Cgroups []string `json:"cgroups,omitempty"`
	Count   uint64   `json:"count,omitempty"`
	Known   bool     `json:"known,omitempty"`
}

// start prepares and starts the process.
func (e *Executor) start(t *task, job *Job, spec Spec, ws *workspaceDir) (p Process, oom oomCounter, err error) {
	if err := ws.make(); err != nil {
		return nil, oom, containerError{err}
	}
	full := *job
	full.Spec = spec
	launch, err := e.opts.Host.Prepare(full, ws.path)
	if err != nil {
		return nil, oom, err
	}
	job.Notes = launch.Notes
	s := launch.Spec
	defer func() {
		if err != nil {
			for _, dir := range slices.Backward(s.Cgroups) {
				_ = os.Remove(dir) // Host.Start may have done so
			}
		}
	}()
	if err := ws.giveTo(launch.User); err != nil {
		return nil, oom, containerError{err}
	}
	if s.Dir, err = ws.dir(spec.Dir, launch.User); err != nil {
		return nil, oom, err
	}
	s.ID, s.Argv, s.KeepReserve = processID(job.ID, job.Attempt), spec.Command, true
	s.Env = append(s.Env, idVariable+"="+job.ID.String(), attemptVariable+"="+strconv.Itoa(job.Attempt))
	oom.Cgroups = s.Cgroups
	oom.Count, oom.Known = e.opts.Host.OOMKills(oom.Cgroups)
	streams, files, err := e.openStreams(t, job.ID, spec, oom)
	defer closeAll(files[:])
	if err != nil {
		return nil, oom, containerError{err}
	}
	s.Stdio = proc.Stdio{Mode: proc.Files, Files: files}
	p, err = e.opts.Host.Start(context.Background(), s)
	if err != nil {
		return nil, oom, err
	}
	for _, stream := range streams {
		go stream.Run() // ends with the writers, or with Close
	}
	return p, oom, nil
}

// openStreams makes the outputs of an attempt, which the next supervisor gets too, and the files of the child.
func (e *Executor) openStreams(t *task, id ID, spec Spec, oom oomCounter) (s *streams, files [3]*os.File, err error) {
	if len(spec.Stdin) > 0 {
		if files[0], err = fdstore.NewFile("stdin", spec.Stdin); err != nil {
			return nil, files, fmt.Errorf("cannot make stdin: %w", err)
		}
		if _, err := files[0].Seek(0, 0); err != nil {
			return nil, files, fmt.Errorf("cannot make stdin: %w", err)
		}
	}
	limit, _ := jvm.ParseMemory(spec.OutputCap) // it was checked
	made := new(streams)
	defer func() {
		if err != nil && made[0] != nil && made[1] == nil {
			made[0].Close()
		}
	}()
	for k := range made {
		path := e.outputPath(id, k+1)
		if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
			return nil, files, fmt.Errorf("cannot remove the output of an earlier attempt: %w", err)
		}
		if made[k], files[k+1], err = output.New(path, limit); err != nil {
			return nil, files, fmt.Errorf("cannot capture the output: %w", err)
		}
	}
	e.mu.Lock()
	t.streams = made
	e.mu.Unlock()
	if err := e.opts.Store.Put(pipePrefix+id.String(), encode(oom), made[0].FD(), made[1].FD()); err != nil {
		return nil, files, fmt.Errorf("cannot keep the output: %w", err)
	}
	return made, files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// ending says how an attempt has ended.
type ending struct {
	exit   Exit
	state  State // Failed, Succeeded, TimedOut or Killed
	reason string
	by     string // the requester of the end
	brakes bool   // no job could be started here
}

// supervise waits for the end of a process, or brings it about.
func (e *Executor) supervise(t *task, p Process, spec Spec, ws *workspaceDir, oom oomCounter) {
	e.mu.Lock()
	started := t.job.Started
	e.mu.Unlock()
	limit, _ := jvm.ParseMemory(spec.WorkspaceCap) // it was checked
	timeout := time.NewTimer(time.Until(started.Add(time.Duration(spec.Timeout))))
	defer timeout.Stop()
	kill := time.NewTimer(time.Hour)
	kill.Stop()
	defer kill.Stop()
	measure := time.NewTicker(workspaceCheck)
	defer measure.Stop()
	var killAt time.Time
	end := ending{}
	stop := func(state State, reason, by string, sig syscall.Signal, grace time.Duration) {
		if end.state == "" {
			end.state, end.reason, end.by = state, reason, by
		}
		if sig == 0 {
			sig, _ = proc.ParseSignal(spec.StopSignal) // it was checked
		}
		_ = p.SignalGroup(sig) // it may have ended
		if at := time.Now().Add(grace); killAt.IsZero() || at.Before(killAt) {
			killAt = at
			kill.Reset(grace)
		}
	}
	requested := func() {
		e.mu.Lock()
		r := *t.stop
		e.mu.Unlock()
		stop(Killed, "stopped on request", r.By, r.Signal, *r.Grace)
	}
	select {
	case <-t.stopping: // first: the earlier supervisor may have killed it
		requested()
	default:
	}
	for ended := false; !ended; {
		select {
		case <-p.Exited():
			ended = true
		case <-t.stopping:
			requested()
		case <-timeout.C:
			stop(TimedOut, fmt.Sprintf("ran longer than %v", time.Duration(spec.Timeout)), "", 0, time.Duration(spec.StopGrace))
		case <-measure.C:
			if workspace.DiskUsage(ws.path, limit) > limit {
				stop(Failed, fmt.Sprintf("its workspace exceeds %s", spec.WorkspaceCap), "", 0, time.Duration(spec.StopGrace))
			}
		case <-kill.C:
			_ = p.SignalGroup(syscall.SIGKILL) // it may have ended
		}
	}
	end.exit = exitFacts(p)
	if end.state == "" && end.exit.Signal != "" && time.Since(started) >= time.Duration(spec.Timeout) { // by the earlier supervisor
		end.state, end.reason = TimedOut, fmt.Sprintf("ran longer than %v", time.Duration(spec.Timeout))
	}
	end.exit.Leftovers = killLeftovers(p)
	if end.exit.killed() {
		count, known := e.opts.Host.OOMKills(oom.Cgroups)
		end.exit.OOMKilled = known && oom.Known && count > oom.Count
	}
	e.finish(t, p, spec, ws, end.classify())
}

// exitFacts are what is known of a process that has ended.
func exitFacts(p Process) Exit {
	x, _ := p.Exit()
	out := Exit{Code: x.Code, Core: x.Core, CPU: x.CPU, MaxRSS: x.RSS, Ended: time.Now().UTC()}
	if x.Signal != 0 {
		out.Signal = proc.SignalName(x.Signal)
	}
	return out
}

// killed reports whether KILL ended it, or a process that its shell waited for.
func (x *Exit) killed() bool { return x.Signal == "KILL" || x.Code == 128+int(syscall.SIGKILL) }

// killLeftovers kills what the first process has left behind, and returns how many there were.
func killLeftovers(p Process) (count int) {
	seen := map[int]bool{}
	for deadline := time.Now().Add(dieTime); ; unix.Poll(nil, 1) {
		members := p.Members()
		for _, pid := range members {
			seen[pid] = true
		}
		if len(members) == 0 || time.Now().After(deadline) {
			return len(seen)
		}
		_ = p.SignalGroup(syscall.SIGKILL) // they may have ended
	}
}

// classify decides on the state of an attempt that has ended by itself.
func (d ending) classify() ending {
	switch {
	case d.state != "":
	case d.exit.OOMKilled:
		d.state, d.reason = Failed, "killed by the kernel's OOM killer: the memory limit was reached"
	case d.exit.Signal != "":
		d.state, d.reason = Failed, "killed by "+d.exit.Signal
	case d.exit.Code != 0:
		d.state, d.reason = Failed, fmt.Sprintf("exit code %d", d.exit.Code)
	default:
		d.state = Succeeded
	}
	return d
}

// startFailure is the ending of an attempt that did not start.
func startFailure(err error) ending {
	x := Exit{Code: -1, Infrastructure: true, Error: oneLine(err), Ended: time.Now().UTC()}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		x.Errno = unix.ErrnoName(errno)
	}
	if s := (*program.StartError)(nil); errors.As(err, &s) {
		x.Code = s.Code()
	}
	return ending{exit: x, state: Failed, reason: "could not be started: " + x.Error, brakes: stopsAll(err)}
}

// finish records the end of an attempt: the final state of the job, or the next attempt.
func (e *Executor) finish(t *task, p Process, spec Spec, ws *workspaceDir, end ending) {
	e.mu.Lock()
	s, job := t.streams, t.job
	e.mu.Unlock()
	change := func(j *Job) {
		j.Exit, j.State, j.Reason, j.Pid = &end.exit, end.state, end.reason, 0
		j.By = orElse(end.by, j.By)
	}
	if s != nil {
		for _, stream := range s {
			stream.Flush()
			stream.Close()
		}
		out, errs := s.info()
		e.mu.Lock()
		e.metrics.Output += out.Bytes + errs.Bytes
		e.mu.Unlock()
		before := change
		change = func(j *Job) { before(j); j.Stdout, j.Stderr = out, errs }
	}
	if end.brakes {
		e.brakeOn(&end.exit)
	}
	pause, again := retryPause(spec.Retry, job.Attempt, &end)
	if end.by == containerStop && (spec.RetryOnLost || p == nil) {
		pause, again = 0, true
	}
	if again = again && !t.partial; !again {
		kept := ws.keep(spec.Artifacts, e.folder(artifactFolder)+"/"+job.ID.String())
		before := change
		change = func(j *Job) { before(j); j.Artifacts = kept }
	}
	if err := ws.wipe(); err != nil {
		e.opts.Log.Warn("cannot remove the workspace of a job", "job", job.ID, "error", err)
	}
	if again {
		e.again(t, change, pause)
	} else {
		e.end(t, change)
	}
	e.opts.Store.Delete(pipePrefix + job.ID.String())
	if p != nil {
		p.Ack()
		p.Done()
	}
}

// again puts a job back into the queue.
func (e *Executor) again(t *task, change func(*Job), pause time.Duration) {
	e.mu.Lock()
	e.set(t, func(j *Job) {
		change(j)
		j.State, j.NextAttempt = Accepted, time.Now().Add(pause).UTC()
	})
	e.mu.Unlock()
	job := e.record(journal.Accepted, t)
	e.publish(lifecycle.JobFinished, &job)
	e.mu.Lock()
	stop := t.stop
	t.streams = nil
	if stop == nil || stop.By == containerStop {
		t.active, t.stop, stop = false, nil, nil
		e.serve(t, false)
	}
	e.mu.Unlock()
	if stop != nil {
		e.stopBefore(t, stop)
	}
	e.dispatch()
}

// retryWords are the ends that Retry.On can name beside exit codes.
var retryWords = []string{"any", "signal", "timeout", "oom", "infrastructure"}

// retryPause says whether an attempt is followed by another one, and when.
func retryPause(r Retry, attempt int, end *ending) (pause time.Duration, again bool) {
	if attempt > r.Max || end.state == Succeeded || end.state == Killed {
		return 0, false
	}
	x, on := &end.exit, r.On
	matches := len(on) == 0 || slices.Contains(on, "any")
	matches = matches || slices.Contains(on, "timeout") && end.state == TimedOut
	matches = matches || slices.Contains(on, "oom") && x.OOMKilled
	matches = matches || slices.Contains(on, "infrastructure") && x.Infrastructure
	own := end.state != TimedOut // the signal and the code of a time-out are ours
	matches = matches || slices.Contains(on, "signal") && own && x.Signal != ""
	matches = matches || own && x.Signal == "" && !x.Infrastructure && slices.Contains(on, strconv.Itoa(x.Code))
	if !matches {
		return 0, false
	}
	most := time.Duration(r.MaxBackoff)
	pause = min(time.Duration(r.Backoff), most)
	for range attempt - 1 {
		if pause > most/2 { // twice it may be more than a Duration can hold
			return most, true
		}
		pause *= 2
	}
	return pause, true
}
