package hooks

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Options configure a Runner. Functions may be nil unless stated otherwise.
type Options struct {
	Host      Host
	Recovered Recovered
	Log       hclog.Logger
	// Registry returns the hooks in force. It must not be nil.
	Registry func() *Registry
	// Env is stoker's own environment; Labels returns the labels in force.
	Env    map[string]string
	Labels func() map[string]string
	// Runtime is a folder for files of STOKER_OUT, made on demand; empty: hooks have none.
	Runtime string
	// Socket returns the path of the API's socket, or nothing while it is unknown.
	Socket func() string
	// Self is the path of stoker's binary, for commands that begin with stoker; empty: PATH is searched.
	Self string
	// OOMKills counts the OOM kills in the container, and names the file of the counter.
	OOMKills func() (count uint64, source string, ok bool)
	// OnPluginFailure is called for a failed hook with Optional.
	OnPluginFailure func(plugin string, event lifecycle.Event, reason string)
	// OnFailure is called for a failed hook of started or ready with on_failure: fail.
	OnFailure func(lifecycle.Occurrence, Outcome)
	// OnDone is called when all hooks of an occurrence have ended. A supervisor that takes over may call it again.
	OnDone func(lifecycle.Occurrence, []Outcome)
}

// Runner runs hooks. It is safe for concurrent use.
type Runner struct {
	opts       Options
	host       Host
	log        hclog.Logger
	manualRuns atomic.Int64
	warnNoOut  sync.Once

	mu       sync.Mutex // guards what follows
	queues   map[string]*queue
	lastSeq  uint64
	counters map[Counter]Counter
}

// NewRunner makes a Runner that continues with what an earlier supervisor has begun.
func NewRunner(o Options) *Runner {
	if o.OOMKills == nil {
		o.OOMKills = func() (uint64, string, bool) { return 0, "", false }
	}
	r := &Runner{opts: o, host: o.Host, log: o.Log, queues: map[string]*queue{}, counters: map[Counter]Counter{}}
	r.opts.Recovered = Recovered{}
	r.restore(o.Recovered.Items, maps.Clone(o.Recovered.Processes))
	for _, q := range r.allQueues() {
		if len(q.runs) > 0 {
			go q.loop() // ends when there are no runs
		}
	}
	return r
}

// restore reads the queues, their runs and outputs, and kills the processes that no run continues with.
func (r *Runner) restore(items fdstore.Items, processes map[string]Process) {
	take := func(item string, value any) bool {
		_, err := items.TakeJSON(item, value)
		if err != nil {
			r.log.Error("cannot continue with hooks of an earlier supervisor", "item", item, "error", err)
			r.host.Delete(item)
		}
		return err == nil
	}
	for _, item := range items.Names(queuePrefix) {
		q := r.queue(strings.TrimPrefix(item, queuePrefix), true)
		if !take(item, &q.saved) {
			q.saved = savedQueue{}
		}
	}
	for _, item := range items.Names(runPrefix) {
		e := &run{}
		if take(item, e) {
			q := r.queue(queueOf(&e.Occurrence), true)
			q.runs = append(q.runs, e)
		}
	}
	for _, item := range items.Names(outputPrefix) {
		o := savedOutput{}
		if take(item, &o) {
			name := strings.TrimPrefix(item[:strings.LastIndexByte(item, '/')], outputPrefix)
			o.output, _ = ParseOut(o.Raw, o.Event, o.Hook, []string{"*"}) // it was parsed before
			q := r.queue(name, true)
			q.outputs = append(q.outputs, o)
		}
	}
	for _, q := range r.queues {
		slices.SortFunc(q.outputs, func(a, b savedOutput) int { return cmp.Compare(a.Seq, b.Seq) })
		slices.SortFunc(q.runs, func(a, b *run) int { return cmp.Compare(a.Seq, b.Seq) })
		for _, e := range q.runs {
			newRun(e)
			q.saved.Port = cmp.Or(e.Port, q.saved.Port)
			if q.saved.marked(&e.Occurrence) == nil {
				q.saved.mark(&e.Occurrence)
			}
			for k, a := range e.Running {
				e.Running[k].process = processes[a.ID]
				delete(processes, a.ID)
			}
		}
	}
	for _, p := range processes {
		kill(p)
	}
}

// nextSeq is a number for a run, an output or a process. It is above all that earlier supervisors have used.
func (r *Runner) nextSeq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastSeq = max(r.lastSeq+1, uint64(initproto.BootNow()))
	return r.lastSeq
}

// queue returns a queue; nil: it does not exist and create is false.
func (r *Runner) queue(name string, create bool) *queue {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[name]
	if q == nil && create {
		q = &queue{r: r, name: name}
		r.queues[name] = q
	}
	return q
}

// allQueues returns the queues sorted by name.
func (r *Runner) allQueues() []*queue {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.queues), func(a, b *queue) int { return strings.Compare(a.name, b.name) })
}

// Wants reports whether hooks run at an event of a service, or must end before it.
func (r *Runner) Wants(e lifecycle.Event, service string) bool {
	o := lifecycle.Occurrence{Event: e, Service: service}
	if len(r.opts.Registry().For(e, subjectOf(&o))) > 0 {
		return true
	}
	q := r.queue(queueOf(&o), false)
	return e == lifecycle.PreStart && q != nil && q.busyUntil() != nil
}

// hooksOf returns the hooks that run at an occurrence.
func (r *Runner) hooksOf(o *lifecycle.Occurrence) []ResolvedHook {
	all := r.opts.Registry().For(o.Event, subjectOf(o))
	return slices.DeleteFunc(all, func(h ResolvedHook) bool { return !h.matchesEnd(o) })
}

// Tell enqueues an occurrence. When it returns, that is saved for a later supervisor.
func (r *Runner) Tell(o lifecycle.Occurrence) { _, _, _ = r.enqueue(o) }

func (r *Runner) enqueue(o lifecycle.Occurrence) (*queue, *run, error) {
	hooks := len(r.hooksOf(&o))
	q := r.queue(queueOf(&o), hooks > 0)
	if q == nil {
		return nil, nil, nil
	}
	e, err := q.enqueue(o, hooks)
	return q, e, err
}

// cancelTime is how long cancelled hooks may take to end.
const cancelTime = shortGrace + dieTime + time.Second

// Await enqueues an occurrence and waits until its hooks have ended; they are cancelled when ctx is
// done. The error is why what waits must not continue.
func (r *Runner) Await(ctx context.Context, o lifecycle.Occurrence) error {
	q, e, err := r.enqueue(o)
	if e == nil {
		return err
	}
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
	}
	if !q.cancelNow(e, whyCancelled) {
		return cancelError{whyCancelled} // it waits in the queue, and none of its hooks will run
	}
	select {
	case <-e.done:
		return e.err
	case <-time.After(cancelTime):
		return cancelError{whyCancelled}
	}
}

// Settle waits until no hook runs or waits. All are cancelled when ctx is done; those of
// config-changed, network-drift, limits-changed and job-started earlier if ctx has a deadline.
func (r *Runner) Settle(ctx context.Context) {
	if until, ok := ctx.Deadline(); ok { // the end of the container does not wait for these
		late := []lifecycle.Event{lifecycle.ConfigChanged, lifecycle.NetworkDrift, lifecycle.LimitsChanged, lifecycle.JobStarted}
		at := time.Now().Add(min(max(time.Until(until)/3, 0), lateGrace))
		for _, q := range r.allQueues() {
			q.cancelRuns(whyLast, at, func(e *run) bool { return slices.Contains(late, e.Event) })
		}
	}
	if r.waitIdle(ctx) {
		return
	}
	for _, q := range r.allQueues() {
		q.cancelRuns(whyCancelled, time.Now(), func(*run) bool { return true })
	}
	last, cancel := context.WithTimeout(context.Background(), cancelTime)
	defer cancel()
	r.waitIdle(last)
}

// waitIdle waits until no hook runs or waits; false: ctx is done before.
func (r *Runner) waitIdle(ctx context.Context) bool {
	for {
		var busy <-chan struct{}
		for _, q := range r.allQueues() {
			if busy = q.busyUntil(); busy != nil {
				break
			}
		}
		if busy == nil {
			return true
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return false
		}
	}
}

// maxReserved bounds Reserve, as a divisor of the budget.
const maxReserved = 4

// Reserve is what the exit hooks need of a stop's budget, at most a quarter.
func (r *Runner) Reserve(budget time.Duration) time.Duration {
	var sum time.Duration
	for _, group := range groups(r.opts.Registry().For(lifecycle.Exit, "")) {
		var longest time.Duration
		for _, h := range group {
			longest = max(longest, min(h.Timeout, time.Duration(h.Share*float64(budget))))
		}
		sum += longest
	}
	return min(sum, budget/maxReserved)
}

// Output merges what the hooks of init, network-ready and the present start of a service have output for processes of a user.
func (r *Runner) Output(service string, uid int) Output {
	var out Output
	for _, name := range []string{containerQueue, service} {
		if q := r.queue(name, false); q != nil {
			out.merge(q.output(uid))
		}
	}
	return out
}

// newOutFile makes a file for STOKER_OUT; empty: that is impossible, which is logged once.
func (r *Runner) newOutFile(user *asuser.User) string {
	path, err := "", errors.New("there is no folder for it that can be written")
	if r.opts.Runtime != "" {
		path, err = makeOut(r.opts.Runtime, user)
	}
	if err != nil {
		r.warnNoOut.Do(func() { r.log.Warn("hooks have no STOKER_OUT and cannot output variables or options", "error", err) })
		return ""
	}
	return path
}
