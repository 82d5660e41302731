package incident

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/redact"
)

const (
	maxQueued    = 64                    // failures that wait to be recorded
	recordDelay  = 20 * time.Millisecond // lets the next start of the service go first
	flushTime    = 2 * time.Second       // limit of the wait of a query for what is queued
	evidenceTime = 5 * time.Second       // limit of Failure.Evidence
	explainTime  = 3 * time.Second       // limit of Failure.Explain
)

// Services is what a Recorder asks of the supervisor.
type Services interface {
	// Kind is the kind of a service.
	Kind(service string) string
	// OutputOf returns at most the last most bytes of a service's output between two offsets; to 0: up to now.
	OutputOf(service string, from, to int64, most int) []byte
	// ReasonFound gives a better reason for the failure of a start.
	ReasonFound(service string, start uint64, reason string)
}

// Recorder makes incidents of failures, one at a time, while the services go on.
type Recorder struct {
	store    *Store
	services Services
	log      hclog.Logger
	queue    chan func()
	begin    sync.Once
	pending  atomic.Int32 // queued and not done
}

// NewRecorder returns a Recorder that keeps its incidents in store.
func NewRecorder(store *Store, services Services, log hclog.Logger) *Recorder {
	return &Recorder{store: store, services: services, log: log, queue: make(chan func(), maxQueued)}
}

// do runs f in the background, after what was queued before; false: the queue is full.
func (r *Recorder) do(f func()) bool {
	r.begin.Do(func() {
		go func() { // ends with the process: the container's end is recorded too
			for f := range r.queue {
				<-time.After(recordDelay)
				f()
				r.pending.Add(-1)
			}
		}()
	})
	r.pending.Add(1)
	select {
	case r.queue <- f:
		return true
	default:
		r.pending.Add(-1)
		return false
	}
}

// flush waits for what is queued: a caller that has seen a service fail finds its incident.
func (r *Recorder) flush() {
	done := make(chan struct{})
	if r.pending.Load() == 0 || !r.do(func() { close(done) }) {
		return
	}
	select {
	case <-done:
	case <-time.After(flushTime):
	}
}

// List lists the incidents, the newest first.
func (r *Recorder) List() []Summary {
	r.flush()
	return r.store.List()
}

// Get returns an incident with its evidence; false: it is not kept.
func (r *Recorder) Get(number uint64) (Incident, bool) {
	r.flush()
	return r.store.Get(number)
}

// Latest is the number of a service's latest incident; 0: none is kept.
func (r *Recorder) Latest(service string) uint64 {
	for _, i := range r.store.List() {
		if i.Service == service {
			return i.Number
		}
	}
	return 0
}

// Record makes an incident of a failure, in the background.
func (r *Recorder) Record(f *Failure) {
	if !r.do(func() { r.record(f) }) {
		r.log.Error("no incident is kept of a failure: too many wait", "name", f.Service, "reason", f.Reason)
	}
}

// Resume records failures that an earlier supervisor saved, unless it recorded them.
func (r *Recorder) Resume(failures []*Failure) {
	known := r.store.List()
	for _, f := range failures {
		if f == nil {
			continue
		}
		older := slices.ContainsFunc(known, func(i Summary) bool { return i.At.Before(f.At) })
		if len(known) == maxIncidents && !older {
			continue // its incident was dropped for others
		}
		if !slices.ContainsFunc(known, func(i Summary) bool { return i.Service == f.Service && i.Start == f.Start && i.At.Equal(f.At) }) {
			r.Record(f)
		}
	}
}

// record makes the incident of a failure: at once what is known, then what is found.
func (r *Recorder) record(f *Failure) {
	to := f.To
	if f.Exit == nil && f.GaveUp != "" {
		to = 0 // it lives, and may have written more since
	}
	output := r.services.OutputOf(f.Service, f.From, to, MaxOutput)
	known := Classify(*f)
	if !known.Incident {
		return
	}
	number := r.store.Add(Incident{
		Summary: Summary{Service: f.Service, Kind: r.services.Kind(f.Service), At: f.At, Cause: known.Cause, Reason: known.Reason,
			Start: f.Start, Pid: f.Pid, Ran: f.Ran},
		Exit: f.Exit, StopRequestedBy: f.Asked, Notes: known.Notes, Output: output, Options: redact.Args(f.Argv)})
	find := f.Evidence
	if find == nil {
		find = ProcessEvidence
	}
	ctx, cancel := context.WithTimeout(context.Background(), evidenceTime)
	defer cancel()
	found := find(ctx, End{Service: f.Service, Pid: f.Pid, Exit: f.Exit, Started: f.At.Add(-f.Ran), Dir: f.Dir, Argv: f.Argv, Output: output})
	if f.Found.Reason != "" { // the status says so already
		found.Cause, found.Reason = f.Found.Cause, f.Found.Reason
	}
	complete := *f
	complete.Found = found
	v := Classify(complete)
	if f.Explain != nil {
		ctx, cancel := context.WithTimeout(context.Background(), explainTime)
		defer cancel()
		if text := f.Explain(ctx); text != "" && !v.Cause.proven() {
			v.Reason = text
		}
	}
	r.store.Amend(number, func(i *Incident) { i.add(v, found) })
	if v.Reason != known.Reason {
		r.services.ReasonFound(f.Service, f.Start, v.Reason)
	}
}

func (i *Incident) add(v Verdict, f Findings) {
	i.Cause, i.Reason, i.Notes, i.Files = v.Cause, v.Reason, v.Notes, f.Files
	if f.Options != nil {
		i.Options = f.Options
	}
	if f.Limits != nil {
		i.Limits = f.Limits
	}
	if len(i.ThreadDump) == 0 {
		i.ThreadDump = f.ThreadDump
	}
}

// AddThreadDump adds a thread dump to the incidents of a start that have none.
func (r *Recorder) AddThreadDump(service string, start uint64, text []byte) {
	r.do(func() {
		for _, i := range r.store.List() {
			if len(text) == 0 || i.Service != service || i.Start != start {
				continue
			}
			r.store.Amend(i.Number, func(i *Incident) {
				if len(i.ThreadDump) == 0 {
					i.ThreadDump = text
				}
			})
		}
	})
}
