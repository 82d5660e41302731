package executor

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/executor/output"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/jvm"
	"golang.org/x/sys/unix"
)

// Folders below Config.Journal.
const (
	journalFolder   = "journal"
	outputFolder    = "output"
	artifactFolder  = "artifacts"
	workspaceFolder = "work"
)

// newLife identifies the life of a container: what was running in another one is gone.
func newLife() string { return rand.Text() }

// openJournal makes the folders and opens the journal.
func (e *Executor) openJournal() (*journal.Journal, []journal.Unfinished, error) {
	// Jobs of other users must get through to their workspaces.
	for _, dir := range []string{e.config().Journal, e.workspaces()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, nil, fmt.Errorf("cannot make a folder for jobs: %w", err)
		}
	}
	for _, dir := range []string{outputFolder, artifactFolder} {
		if err := os.MkdirAll(e.folder(dir), 0o700); err != nil {
			return nil, nil, fmt.Errorf("cannot make a folder for jobs: %w", err)
		}
	}
	return journal.Open(e.folder(journalFolder), journal.Options{})
}

// encode returns the JSON form of what is kept.
func encode[T Job | oomCounter | hold](value T) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic("it has no JSON form: " + err.Error())
	}
	return text
}

// read reads a job that has ended.
func (e *Executor) read(id ID) (job Job, err error) {
	_, newest, err := e.journal.Read(uint64(id))
	if errors.Is(err, fs.ErrNotExist) {
		return Job{}, ErrNoJob
	}
	if err == nil {
		err = json.Unmarshal(newest.Data, &job)
	}
	if err != nil { // it is known to be there
		job = Job{ID: id, State: Lost, Reason: "its record in the journal is damaged"}
		e.findOutput(&job)
	}
	return job, nil
}

// damaged reports whether nothing is known of a job but its ID.
func (j *Job) damaged() bool { return len(j.Spec.Command) == 0 }

// cutKey returns the key of a name "key:KEY".
func cutKey(name string) (string, bool) { return strings.CutPrefix(name, "key:") }

// restore continues with the jobs that the journal has as unfinished. mu is held.
func (e *Executor) restore(unfinished []journal.Unfinished) {
	e.lastID = max(e.lastID, ID(e.journal.Stats().LastID))
	for _, u := range unfinished {
		if e.tasks[ID(u.ID)] == nil {
			e.restoreJob(ID(u.ID), u)
		}
	}
	for _, name := range e.opts.Items.Names(pipePrefix) { // of attempts that have ended, or were not started
		_, fds, _ := e.opts.Items.Take(name)
		closeFDs(fds)
		e.opts.Store.Delete(name)
	}
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// restoreJob continues with one job. mu is held.
func (e *Executor) restoreJob(id ID, u journal.Unfinished) {
	job, begun, err := decodeRecords(u.Records)
	job.ID = id // also of records that cannot be read
	t := newTask(job)
	t.accepted = true
	close(t.saved)
	e.tasks[id] = t
	if job.Spec.Key != "" {
		e.keys[job.Spec.Key] = t
	}
	p := e.opts.Processes[processID(id, job.Attempt)]
	uncertain := u.Uncertain
	if err != nil && uncertain == "" {
		uncertain = err.Error()
	}
	if uncertain != "" && err == nil && job.Life == e.life {
		// The supervisor died while it wrote. What has begun since then is a process that the init knows.
		uncertain = ""
		if next := e.opts.Processes[processID(id, job.Attempt+1)]; next != nil && !begun {
			p, begun = next, true
			job.Attempt, job.State, job.Started = job.Attempt+1, Starting, time.Now().UTC()
			t.job = job
		}
	}
	switch {
	case e.restored: // the journal was closed meanwhile, and its submitter was told of a failure
		t.active = true
		go e.end(t, func(j *Job) { j.State, j.Reason = Rejected, notAccepted }) // ends when the end is on disk
	case p != nil && begun && !job.damaged():
		delete(e.opts.Processes, processID(id, job.Attempt))
		t.active, t.partial = true, err != nil
		e.serve(t, true)
		e.attempts.Add(1)
		counter, fds, _ := e.opts.Items.Take(pipePrefix + id.String())
		go func() { // ends with the attempt
			defer e.attempts.Done()
			e.resume(t, p, counter, fds)
		}()
	case begun && job.Life == e.life && uncertain == "":
		// The intent to start it was not followed by a process.
		t.active = true
		e.serve(t, true)
		e.attempts.Add(1)
		go func() { // ends with the attempt
			defer e.attempts.Done()
			e.run(t, job)
		}()
	case uncertain != "" || begun && !job.Spec.RetryOnLost:
		t.active = true
		reason := "the container ended while it ran"
		if uncertain != "" {
			reason = "the journal is damaged, it may have run: " + uncertain
		}
		go func() { // ends when the end is on disk
			if err := e.workspace(id).wipe(); err != nil {
				e.opts.Log.Warn("cannot remove the workspace of a job", "job", id, "error", err)
			}
			e.findOutput(&job)
			e.end(t, func(j *Job) { j.State, j.Reason, j.Stdout, j.Stderr = Lost, reason, job.Stdout, job.Stderr })
		}()
	case begun:
		t.active = true
		e.findOutput(&t.job)
		go e.again(t, func(j *Job) { j.Reason = "the container ended while it ran" }, 0) // ends when the state is on disk
	default:
		t.job.State = Queued
	}
}

// findOutput finds in its files what is kept of the output of a job whose record does not say it.
func (e *Executor) findOutput(job *Job) {
	var outErr, errErr error
	job.Stdout, outErr = output.Inspect(e.outputPath(job.ID, logs.Stdout))
	job.Stderr, errErr = output.Inspect(e.outputPath(job.ID, logs.Stderr))
	if err := errors.Join(outErr, errErr); err != nil {
		e.opts.Log.Error("the output of a job is lost", "job", job.ID, "error", err)
	}
}

// decodeRecords returns the job of its records. begun means that the newest one says that it may have been started. After an error
// it must not be started: what it was, or its stdin, is unknown.
func decodeRecords(records []journal.Record) (job Job, begun bool, err error) {
	for k, r := range records {
		stdin := job.Spec.Stdin
		job = Job{}
		if err := json.Unmarshal(r.Data, &job); err != nil {
			return job, true, fmt.Errorf("a record cannot be read: %w", err)
		}
		if k > 0 {
			job.Spec.Stdin = stdin
		} else if r.Kind != journal.Accepted || job.Attempt > 0 {
			err = errors.New("its first record, which has its stdin, is missing")
		}
		begun = r.Kind == journal.Begun
	}
	return job, begun, err
}

// resume continues with an attempt that an earlier supervisor has begun, and has left an oomCounter and the read ends of the outputs.
func (e *Executor) resume(t *task, p Process, counter []byte, fds []int) {
	e.mu.Lock()
	spec := t.job.Spec.withDefaults(e.config())
	var oom oomCounter
	_ = json.Unmarshal(counter, &oom) // of another version: it is unknown
	if t.streams = e.adoptStreams(t.job.ID, spec, fds); t.streams == nil {
		e.findOutput(&t.job)
	}
	e.set(t, func(j *Job) {
		j.Pid = p.Pid()
		if j.State == Starting {
			j.State = Running
		}
	})
	if t.job.State == Stopping { // the earlier supervisor may have died before the signal
		grace := time.Duration(spec.StopGrace)
		t.stop = &StopRequest{By: t.job.By, Grace: &grace}
		t.stopping <- struct{}{}
	}
	ws := e.workspace(t.job.ID)
	e.mu.Unlock()
	e.supervise(t, p, spec, ws, oom)
}

// adoptStreams continues the outputs of an attempt with their read ends; nil: they cannot be.
func (e *Executor) adoptStreams(id ID, spec Spec, fds []int) *streams {
	s := new(streams)
	if len(fds) != len(s) {
		closeFDs(fds)
		return nil
	}
	limit, _ := jvm.ParseMemory(spec.OutputCap) // it was checked
	for k := range s {
		stream, err := output.Adopt(e.outputPath(id, k+1), limit, fds[k])
		if err != nil {
			e.opts.Log.Error("the rest of the output of a job is lost", "job", id, "error", err)
			closeFDs(fds[k:]) // else the job would wait for a reader
			for _, open := range s[:k] {
				open.Close()
			}
			return nil
		}
		s[k] = stream
		go stream.Run() // ends with the writers, or with Close
	}
	return s
}
