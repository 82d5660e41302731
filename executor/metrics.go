package executor

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// Metrics are the state of the executor, and counts since it started.
type Metrics struct {
	Status
	Accepted int64            // jobs
	Refused  map[string]int64 // submissions, by the code of the answer
	Retries  int64            // attempts after the first one of a job
	// Starts are the times from when an attempt could begin, which is the acceptance unless it has to wait, to its process.
	Starts Histogram
	Output int64 // bytes of stdout and stderr of attempts that have ended
	// Oldest is since when the job that waits longest could have begun; 0: none waits.
	Oldest time.Duration
	Held   bool // by an operator, with Pause
	Braked bool // for infrastructure failures
}

// Histogram counts durations.
type Histogram struct {
	Bounds []time.Duration // the highest duration of each bucket but the last one
	Counts []int64         // of each bucket
	Sum    time.Duration
}

func newHistogram(bounds ...time.Duration) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]int64, len(bounds)+1)}
}

func (h *Histogram) add(d time.Duration) {
	d = max(d, 0) // the clock was set back
	bucket, _ := slices.BinarySearch(h.Bounds, d)
	h.Counts[bucket]++
	h.Sum += d
}

func newMetrics() Metrics {
	const ms = time.Millisecond
	m := Metrics{Refused: map[string]int64{}, Starts: newHistogram(2*ms, 5*ms, 10*ms, 50*ms, 250*ms, time.Second, 5*time.Second,
		30*time.Second, 2*time.Minute, 10*time.Minute)}
	for _, code := range []string{CodeBadSpec, CodeConflict, CodeFull, CodeDraining, CodeUnavailable, CodeNoSpace} {
		m.Refused[code] = 0
	}
	return m
}

// Metrics returns the present ones.
func (e *Executor) Metrics() Metrics {
	status := e.ExecutorStatus()
	e.mu.Lock()
	defer e.mu.Unlock()
	m, now := e.metrics, time.Now()
	m.Status = status
	m.Refused, m.Starts.Counts = maps.Clone(m.Refused), slices.Clone(m.Starts.Counts)
	m.Held, m.Braked = e.paused != "", e.brake.reason(now) != ""
	for _, t := range e.tasks {
		if !t.serving {
			m.Oldest = max(m.Oldest, now.Sub(t.job.due()))
		}
	}
	return m
}

// due is when the next attempt of a job may begin.
func (j *Job) due() time.Time {
	due := j.Accepted
	for _, t := range []time.Time{j.Spec.NotBefore, j.NextAttempt} {
		if t.After(due) {
			due = t
		}
	}
	return due
}

// countSubmission counts the answer to a submission.
func (e *Executor) countSubmission(created bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if created && err == nil {
		e.metrics.Accepted++
	}
	if code := refusal(err); code != "" {
		e.metrics.Refused[code]++
	}
}

// refusal is the code of the answer to a submission; empty: it was not refused.
func refusal(err error) string {
	var unavailable *UnavailableError
	switch {
	case errors.As(err, new(*SpecError)):
		return CodeBadSpec
	case errors.As(err, new(*ConflictError)):
		return CodeConflict
	case errors.As(err, new(*FullError)):
		return CodeFull
	case errors.Is(err, ErrDraining):
		return CodeDraining
	case errors.As(err, &unavailable) && unavailable.NoSpace:
		return CodeNoSpace
	case unavailable != nil:
		return CodeUnavailable
	}
	return ""
}
