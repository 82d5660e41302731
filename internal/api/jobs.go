package api

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
)

// maxSpec bounds the body of POST /v1/jobs, in bytes; Spec.Stdin is most of a large one.
const maxSpec = 2 << 20

// maxJobs is the largest number of jobs in a list.
const maxJobs = 1000

// JobList is the answer of GET /v1/jobs.
type JobList struct {
	Jobs []executor.Job `json:"jobs"` // the newest first
}

// ScheduleList is the answer of GET /v1/schedules.
type ScheduleList struct {
	Schedules []schedule.Status `json:"schedules"` // by name
}

// withJobs makes the handler of a route that needs the executor.
func (s *Server) withJobs(handle handler) handler {
	if s.opts.Backend.JobManager != nil {
		return handle
	}
	return func(http.ResponseWriter, *http.Request) (any, error) {
		return nil, Refuse(http.StatusNotFound, executor.CodeNoExecutor, "set executor.slots", "no executor is configured")
	}
}

// brief is a job without what may hold secrets or be large.
func brief(j executor.Job) executor.Job {
	j.Spec.Env, j.Spec.Stdin = nil, nil
	return shown(j)
}

// shown is a job without what is the executor's and its adapters' own.
func shown(j executor.Job) executor.Job {
	j.Origin.Data = ""
	return j
}

// submit accepts a job: 201, or 200 if it was accepted before. It accepts none of a submitter that is gone: who looks for a key
// after the death of its submitter finds the job, or there will be none.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) (any, error) {
	spec, err := ReadSpec(w, r)
	if err != nil {
		return nil, err
	}
	if access.HungUp(r) {
		return nil, badRequest("the submitter has hung up")
	}
	j, created, err := s.opts.Backend.Submit(r.Context(), spec, requester(r))
	switch {
	case err != nil:
		return nil, err
	case created:
		w.Header().Set("Location", "/v1/jobs/"+j.ID.String())
		return withStatus{http.StatusCreated, brief(j)}, nil
	}
	return brief(j), nil
}

// ReadSpec reads the body and the trace context of POST /v1/jobs.
func ReadSpec(w http.ResponseWriter, r *http.Request) (executor.Spec, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSpec))
	if long := new(http.MaxBytesError); errors.As(err, &long) {
		return executor.Spec{}, Refuse(http.StatusRequestEntityTooLarge, "too-large", "", "the spec has more than %d bytes", long.Limit)
	}
	if err != nil {
		return executor.Spec{}, badRequest("cannot read the spec: %v", err)
	}
	spec, err := executor.ParseSpec(text)
	if fields := new(executor.SpecError); err != nil && !errors.As(err, &fields) {
		err = Refuse(http.StatusBadRequest, "bad-request", specHint, "%v", err)
	}
	for name, field := range map[string]*string{"Traceparent": &spec.Traceparent, "Tracestate": &spec.Tracestate, "Baggage": &spec.Baggage} {
		if *field == "" {
			*field = strings.Join(r.Header.Values(name), ",")
		}
	}
	return spec, err
}

const specHint = "docs/reference/jobs.md has the fields of a spec"

// listJobs answers with the jobs of ?state, ?label=k=v and ?key, up to ?limit of them below the ID ?before.
func (s *Server) listJobs(_ http.ResponseWriter, r *http.Request) (any, error) {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	list, err := s.opts.Backend.Jobs(f)
	out := JobList{Jobs: make([]executor.Job, len(list))}
	for i, j := range list {
		out.Jobs[i] = brief(j)
	}
	return out, err
}

func readFilter(q url.Values) (f executor.Filter, err error) {
	f.Key = q.Get("key")
	for _, text := range q["state"] {
		state := executor.State(strings.ToUpper(text))
		if !slices.Contains(executor.States(), state) {
			return f, badRequest("there is no state %q", text)
		}
		f.States = append(f.States, state)
	}
	for _, text := range q["label"] {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return f, badRequest("label is %q, want NAME=VALUE", text)
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[name] = value
	}
	if text := q.Get("before"); text != "" {
		if err := f.Before.UnmarshalText([]byte(text)); err != nil {
			return f, badRequest("before is %q, want the ID of a job", text)
		}
	}
	if text := q.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 || f.Limit > maxJobs {
			return f, badRequest("limit is %q, want a number from 1 to %d", text, maxJobs)
		}
	}
	return f, nil
}

// job answers with a job; with ?wait=30s when it is final, or with 202 when the time is over first.
func (s *Server) job(_ http.ResponseWriter, r *http.Request) (any, error) {
	j, err := s.opts.Backend.Job(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	limit, waits, err := readWait(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if !waits || j.State.Final() {
		return s.forPeer(r, j), nil
	}
	select {
	case s.waits <- struct{}{}:
		defer func() { <-s.waits }()
	default:
		limit = 0
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	switch final, err := s.opts.Backend.AwaitJob(ctx, j.ID, nil); {
	case err == nil:
		return s.forPeer(r, final), nil
	case ctx.Err() == nil:
		return nil, err
	}
	if j, err = s.opts.Backend.Job(j.ID.String()); err != nil {
		return nil, err
	}
	return withStatus{http.StatusAccepted, s.forPeer(r, j)}, nil
}

// forPeer is a job as the peer of a request may see it.
func (s *Server) forPeer(r *http.Request, j executor.Job) executor.Job {
	if access.Of(r.Context()).Grants.Has(access.Job) {
		return shown(j)
	}
	return brief(j)
}

// jobEvents answers with the states of a job as server-sent events: the present one, each later one, and at last the final one.
// With ?final it sends that one only.
func (s *Server) jobEvents(w http.ResponseWriter, r *http.Request) (any, error) {
	j, err := s.opts.Backend.Job(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out, count := newStream(w, true, 0), int64(0)
	send := func(j executor.Job) {
		if count++; out.send(count, brief(j)) != nil {
			cancel() // the client is gone
		}
	}
	changed := func(now executor.Job) {
		if !now.State.Final() && (now.State != j.State || now.Attempt != j.Attempt || now.Waiting != j.Waiting) {
			j = now
			send(j)
		}
	}
	switch {
	case r.URL.Query().Has("final"):
		changed = nil
	case !j.State.Final():
		send(j)
	}
	if !j.State.Final() {
		if j, err = s.opts.Backend.AwaitJob(ctx, j.ID, changed); err != nil {
			panic(http.ErrAbortHandler) // an answer that ends well would end with the final state
		}
	}
	_ = out.write(count+1, brief(j)) // with the end of the answer
	return nil, nil
}

// stopJob asks for the end of a job, with ?signal first and KILL after ?grace.
func (s *Server) stopJob(_ http.ResponseWriter, r *http.Request) (any, error) {
	j, err := s.opts.Backend.Job(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q, stop := r.URL.Query(), executor.StopRequest{By: requester(r)}
	if text := q.Get("signal"); text != "" {
		if stop.Signal, err = proc.ParseSignal(text); err != nil {
			return nil, Refuse(http.StatusUnprocessableEntity, "bad-parameter", "?signal=HUP: a name with or without SIG, or a number", "%v", err)
		}
	}
	if text := q.Get("grace"); text != "" {
		grace, err := time.ParseDuration(text)
		if err != nil || grace < 0 {
			return nil, badRequest("grace is %q, want a duration such as 10s", text)
		}
		stop.Grace = &grace
	}
	j, err = s.opts.Backend.StopJob(r.Context(), j.ID, stop)
	return brief(j), err
}

// control pauses, resumes or drains the executor.
func (s *Server) control(verb executor.Verb) handler {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		if err := s.opts.Backend.ControlExecutor(verb, requester(r)); err != nil {
			return nil, err
		}
		return s.opts.Backend.ExecutorStatus(), nil
	}
}

// jobRefusal returns the error of an answer for a typed error of the executor; nil: it is none.
func jobRefusal(err error) *StatusError {
	var spec *executor.SpecError
	var conflict *executor.ConflictError
	var full *executor.FullError
	var unavailable *executor.UnavailableError
	switch {
	case errors.As(err, &spec):
		return &StatusError{http.StatusUnprocessableEntity, executor.CodeBadSpec, err.Error(), specHint}
	case errors.As(err, &conflict):
		return &StatusError{http.StatusConflict, executor.CodeConflict, err.Error(), "another job needs another key"}
	case errors.As(err, &full):
		return &StatusError{http.StatusTooManyRequests, executor.CodeFull, err.Error(), "try again later; stoker job list shows what waits"}
	case errors.As(err, &unavailable) && unavailable.NoSpace:
		return &StatusError{http.StatusInsufficientStorage, executor.CodeNoSpace, err.Error(), "make room in executor.journal"}
	case errors.As(err, &unavailable):
		return &StatusError{http.StatusServiceUnavailable, executor.CodeUnavailable, err.Error(), "stoker job status and stoker's log tell more"}
	}
	return nil
}

// addJob adds what an error about a job has beside its text.
func (e *Error) addJob(header http.Header, err error) {
	var spec *executor.SpecError
	var conflict *executor.ConflictError
	var full *executor.FullError
	switch {
	case errors.As(err, &spec):
		for _, f := range spec.Fields {
			e.Error.Fields = append(e.Error.Fields, executor.FieldError{Field: f.Field, Why: redact.Text(f.Why)})
		}
	case errors.As(err, &conflict):
		e.Error.Job = conflict.ID.String()
		for _, line := range conflict.Diff {
			e.Error.Diff = append(e.Error.Diff, redact.Text(line))
		}
	case errors.As(err, &full):
		header.Set("Retry-After", strconv.FormatInt(max(1, int64(math.Ceil(full.RetryAfter.Seconds()))), 10))
	}
}
