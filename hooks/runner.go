package hooks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Options say with what a Runner works.
type Options struct {
	Host      Host
	Recovered Recovered // of an earlier supervisor
	Log       hclog.Logger
	// Book gives the hooks that are in force.
	Registry func() *Registry
	// Env is stoker's own environment, Labels gives the labels in force; nil: none.
	Env    map[string]string
	Labels func() map[string]string
	// Runtime is a folder for STOKER_OUT, made when it is needed; empty: hooks have none.
	Runtime string
	// Socket gives the path of the API's, empty while it is not known; nil: never.
	Socket func() string
	// Self is the path of stoker's own binary, for commands that begin with stoker;
	// empty: it is looked for as any other.
	Self string
	// OOMKills counts the processes of the container that the kernel's OOM killer has
	// killed, and says where that stands; nil: they are not counted.
	OOMKills func() (count uint64, source string, ok bool)
	// PluginFailed hears of a plugin whose hook of an event failed that must not fail;
	// nil: nobody.
	OnPluginFailure func(plugin string, event lifecycle.Event, reason string)
	// Failed hears of a hook of started or ready that must not fail; nil: nobody.
	OnFailure func(lifecycle.Occurrence, Outcome)
	// Done hears how the hooks of an occasion ended; nil: nobody. A supervisor that
	// takes over may tell it again.
	OnDone func(lifecycle.Occurrence, []Outcome)
}

// Runner runs hooks. It is safe for concurrent use.
type Runner struct {
	opts       Options
	host       Host
	log        hclog.Logger
	ctx        context.Context // of everything that is under way; never done
	counters   *counters
	manualRuns atomic.Int64 // runs by hand that are under way
	noOut      sync.Once    // for the one warning

	mu        sync.Mutex // guards what follows
	queues    map[string]*queue
	orphans   map[string]Process // of an earlier supervisor, not yet claimed
	manualSeq uint64             // numbers runs by hand
}

// NewRunner makes one, and goes on with what an earlier supervisor began.
func NewRunner(o Options) *Runner {
	r := &Runner{opts: o, host: o.Host, log: o.Log, ctx: context.Background(), counters: newCounters(), queues: map[string]*queue{}, orphans: map[string]Process{}}
	for _, x := range o.Recovered.Processes {
		r.orphans[x.ID()] = x
	}
	for name, k := range r.readSaved() {
		r.resume(name, k)
	}
	r.killOrphans()
	for _, l := range r.queues {
		l.mu.Lock()
		l.start()
		l.mu.Unlock()
	}
	return r
}

// readKept reads what an earlier supervisor has kept of the lanes.
func (r *Runner) readSaved() map[string]*savedQueue {
	lanes, queued := map[string]*savedQueue{}, map[string][]*run{}
	for item, body := range r.opts.Recovered.Items {
		var err error
		if name, ok := strings.CutPrefix(item, queuePrefix); ok {
			k := &savedQueue{}
			if err = unpack(body, k); err == nil {
				lanes[name] = k
			}
		} else if strings.HasPrefix(item, runPrefix) {
			e := &run{}
			if err = unpack(body, e); err == nil {
				name := queueOf(e.Occurrence)
				queued[name] = append(queued[name], e)
			}
		}
		if err != nil {
			r.log.Error("hooks of an earlier supervisor are not gone on with", "item", item, "error", err)
			r.host.Del(item)
		}
	}
	for name, q := range queued {
		if lanes[name] == nil {
			lanes[name] = &savedQueue{}
		}
		lanes[name].Runs = append(lanes[name].Runs, q...)
	}
	return lanes
}

// resume takes up a lane.
func (r *Runner) resume(name string, k *savedQueue) {
	k.complete()
	l := &queue{r: r, name: name, saved: *k}
	moved := false
	for _, e := range l.saved.Runs {
		l.newFlow(e)
		if e.Seq == 0 { // of a version that kept the queue with the lane
			e.Seq, moved = l.sequence(), true
			l.saveRun(e)
		}
	}
	l.saved.Outputs = slices.DeleteFunc(l.saved.Outputs, func(g savedOutput) bool { return r.opts.Recovered.Items[outputItem(name, g.Seq)] == nil })
	for i := range l.saved.Outputs {
		g := &l.saved.Outputs[i]
		g.output, _ = ParseOut(r.opts.Recovered.Items[outputItem(name, g.Seq)], g.Event, g.Hook, []string{"*"}) // it was read before
	}
	if moved {
		l.save()
	}
	r.queues[name] = l
}

// sweep ends processes that no lane goes on with, and forgets gifts that none has.
func (r *Runner) killOrphans() {
	claimed, items := map[string]bool{}, map[string]bool{}
	for _, l := range r.queues {
		for _, e := range l.saved.Runs {
			for _, t := range e.Running {
				claimed[t.ID] = true
			}
		}
		for _, g := range l.saved.Outputs {
			items[outputItem(l.name, g.Seq)] = true
		}
	}
	for item := range r.opts.Recovered.Items {
		if strings.HasPrefix(item, outputPrefix) && !items[item] {
			r.host.Del(item)
		}
	}
	for id, x := range r.orphans {
		if claimed[id] {
			continue
		}
		delete(r.orphans, id)
		kill(x)
	}
	r.opts.Recovered = Recovered{}
}

// endStray ends a process that nothing goes on with.
func kill(x Process) {
	x.SignalGroup(syscall.SIGKILL)
	go func() { // ends with the process
		<-x.Exited()
		x.Done()
	}()
}

// adopted claims the process of a try; nil: there is none of that name.
func (r *Runner) claim(id string) Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.orphans[id]
	if !ok {
		return nil
	}
	delete(r.orphans, id)
	return x
}

// lane finds one; nil: there is none yet, and it is not to be made.
func (r *Runner) queue(name string, wanted bool) *queue {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.queues[name]
	if l == nil && wanted {
		l = &queue{r: r, name: name}
		r.queues[name] = l
	}
	return l
}

// all are the lanes.
func (r *Runner) allQueues() []*queue {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*queue
	for _, l := range r.queues {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *queue) int { return strings.Compare(a.name, b.name) })
	return out
}

// Wants says whether anything is to be done at an event of a service, or waited for
// before it.
func (r *Runner) Wants(e lifecycle.Event, service string) bool {
	o := lifecycle.Occurrence{Event: e, Service: service}
	if len(r.opts.Registry().For(e, subjectOf(&o))) > 0 {
		return true
	}
	if e != lifecycle.PreStart {
		return false
	}
	l := r.queue(queueOf(o), false)
	return l != nil && l.busyUntil() != nil
}

// hooksOf are the hooks that are run at an occasion.
func (r *Runner) hooksOf(o *lifecycle.Occurrence) []ResolvedHook {
	all := r.opts.Registry().For(o.Event, subjectOf(o))
	return slices.DeleteFunc(slices.Clone(all), func(b ResolvedHook) bool { return !b.matchesEnd(o) })
}

// Tell hands an occasion over. When it returns, that is kept for a later supervisor.
func (r *Runner) Tell(o lifecycle.Occurrence) { _, _, _ = r.tell(o) }

func (r *Runner) tell(o lifecycle.Occurrence) (*queue, *flow, error) {
	hooks := len(r.hooksOf(&o))
	l := r.queue(queueOf(o), hooks > 0)
	if l == nil {
		return nil, nil, nil
	}
	p, err := l.enqueue(o, hooks)
	return l, p, err
}

// endTime is what hooks get at most to come to their end.
const cancelTime = shortGrace + dieTime + time.Second

// Await hands an occasion over and waits until its hooks are through; when ctx is
// done they are ended. The error is why what waits must not go on.
func (r *Runner) Await(ctx context.Context, o lifecycle.Occurrence) error {
	l, p, err := r.tell(o)
	if p == nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	if !l.cancel(p, whyCancelled) {
		return cancelError{whyCancelled} // its turn has not come, and nothing of it will run
	}
	timer := time.NewTimer(cancelTime)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		return cancelError{whyCancelled}
	}
}

// cancel brings an occasion to an end now. It says whether it is under way.
func (l *queue) cancel(p *flow, why string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, e := range l.saved.Runs {
		if e.flow == p {
			l.cancelAt(e, why, time.Now())
			return k == 0
		}
	}
	return true
}

// underWay is closed when nothing is under way any more; nil: nothing is.
func (l *queue) busyUntil() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy {
		return nil
	}
	return l.idle
}

// Settle waits until no hook is under way. When ctx is done those that are are
// ended; where it has a deadline, those of config-changed and job-started sooner.
func (r *Runner) Settle(ctx context.Context) {
	var last <-chan time.Time
	done := ctx.Done()
	if until, ok := ctx.Deadline(); ok {
		for _, l := range r.allQueues() {
			l.limitAtShutdown(until)
		}
	}
	for {
		var busy <-chan struct{}
		for _, l := range r.allQueues() {
			if busy = l.busyUntil(); busy != nil {
				break
			}
		}
		if busy == nil {
			return
		}
		select {
		case <-busy:
		case <-done:
			done = nil
			for _, l := range r.allQueues() {
				l.cancelAll()
			}
			timer := time.NewTimer(cancelTime)
			defer timer.Stop()
			last = timer.C
		case <-last:
			return
		}
	}
}

// cancelAll brings everything to an end.
func (l *queue) cancelAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.saved.Runs {
		if e.Cancelled == "" || e.CancelAt.After(time.Now()) {
			l.cancelAt(e, whyCancelled, time.Now())
		}
	}
}

// reservedShare bounds Reserve: what a stop takes from the services for the hooks
// that come behind them.
const reservedShare = 4

// Reserve is what the exit hooks need of a stop's budget, a quarter of it at most.
func (r *Runner) Reserve(budget time.Duration) time.Duration {
	hooks := r.opts.Registry().For(lifecycle.Exit, "")
	var sum time.Duration
	for k := 0; k < len(hooks); {
		var longest time.Duration
		end := groupEnd(hooks, k)
		for _, b := range hooks[k:end] {
			longest = max(longest, min(b.Timeout, time.Duration(b.Share*float64(budget))))
		}
		sum, k = sum+longest, end
	}
	return min(sum, budget/reservedShare)
}

// Given is what the hooks of init, of network-ready and of the present start of a
// service have given to processes of a user, later ones over earlier ones.
func (r *Runner) Output(service string, uid int) Output {
	var out Output
	for _, name := range []string{containerQueue, service} {
		if l := r.queue(name, false); l != nil && name != "" {
			out.merge(l.output(uid))
		}
	}
	return out
}

// through tells of an occasion.
func (r *Runner) reportDone(o lifecycle.Occurrence, outcomes []Outcome) {
	if r.opts.OnDone != nil && len(outcomes) > 0 {
		r.opts.OnDone(o, outcomes)
	}
}

// say logs how a hook ended.
func (r *Runner) logOutcome(b *ResolvedHook, service string, out Outcome) {
	if out.OK {
		r.log.Debug("a hook is through", "hook", b.FullName(), "name", service, "took", out.Took.Round(time.Millisecond))
		return
	}
	r.log.Warn("a hook failed", "hook", b.FullName(), "name", service, "why", out.Why, "tries", out.Tries)
}

// out makes the file of STOKER_OUT; empty: it cannot be made, and the operator was
// told once.
func (r *Runner) newOutFile(user *asuser.User) string {
	err := errors.New("there is no folder for it that can be written")
	path := ""
	if r.opts.Runtime != "" {
		path, err = makeOut(r.opts.Runtime, user)
	}
	if err != nil {
		r.noOut.Do(func() { r.log.Warn("hooks cannot give anything back: they have no STOKER_OUT", "error", err) })
		return ""
	}
	return path
}
