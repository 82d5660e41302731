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
	for _, dir := range []string{outputFolder, artifactFolder} {
		if err := os.MkdirAll(e.folder(dir), 0o700); err != nil {
			return nil, nil, fmt.Errorf("cannot make a folder for jobs: %w", err)
		}
	}
	// Jobs of other users must get through to their workspaces.
	for _, dir := range []string{e.config().Journal, e.workspaces()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, nil, fmt.Errorf("cannot make a folder for jobs: %w", err)
		}
	}
	return journal.Open(e.folder(journalFolder), journal.Options{})
}

// encode returns the JSON form of a job.
func encode(job Job) []byte {
	text, err := json.Marshal(job)
	if err != nil {
		panic("a job has no JSON form: " + err.Error())
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
		return Job{ID: id, State: Lost, Reason: "its record in the journal is damaged"}, nil //nolint:nilerr // see above
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
}

// restoreJob continues with one job. mu is held.
func (e *Executor) restoreJob(id ID, u journal.Unfinished) {
	job, begun, err := decodeRecords(u.Records)
	t := newTask(job)
	t.job.ID = id
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
		t.active = true
		e.serve(t, true)
		e.attempts.Add(1)
		go func() { // ends with the attempt
			defer e.attempts.Done()
			e.resume(t, p)
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
			e.end(t, func(j *Job) { j.State, j.Reason = Lost, reason })
		}()
	case begun:
		t.active = true
		go e.again(t, func(j *Job) { j.Reason = "the container ended while it ran" }, 0) // ends when the state is on disk
	default:
		t.job.State = Queued
	}
}

// decodeRecords returns the job of its records. begun means that the newest one says that it may have been started.
func decodeRecords(records []journal.Record) (job Job, begun bool, err error) {
	for k, r := range records {
		stdin := job.Spec.Stdin
		job = Job{}
		if err := json.Unmarshal(r.Data, &job); err != nil {
			return job, true, fmt.Errorf("a record cannot be read: %w", err)
		}
		if k > 0 {
			job.Spec.Stdin = stdin
		}
		begun = r.Kind == journal.Begun
	}
	return job, begun, nil
}

// resume continues with an attempt that an earlier supervisor has begun.
func (e *Executor) resume(t *task, p Process) {
	e.mu.Lock()
	spec := t.job.Spec.withDefaults(e.config())
	limit, _ := jvm.ParseMemory(spec.OutputCap) // it was checked
	if _, fds, ok := e.opts.Items.Take(pipePrefix + t.job.ID.String()); ok && len(fds) == len(streams{}) {
		s := new(streams)
		for k := range s {
			stream, err := output.Adopt(e.outputPath(t.job.ID, k+1), limit, fds[k])
			if err != nil {
				e.opts.Log.Error("the output of a job is lost", "job", t.job.ID, "error", err)
				for _, fd := range fds[k:] { // else the job would wait for a reader
					_ = unix.Close(fd)
				}
				for _, open := range s[:k] {
					open.Close()
				}
				s = nil
				break
			}
			s[k] = stream
			go stream.Run() // ends with the writers, or with Close
		}
		t.streams = s
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
	e.supervise(t, p, spec, ws, oomCounter{})
}
