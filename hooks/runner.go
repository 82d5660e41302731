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
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
)

// Options say with what a Runner works.
type Options struct {
	Host Host
	Past Past // of an earlier supervisor
	Log  hclog.Logger
	// Book gives the hooks that are in force.
	Book func() *Book
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
	PluginFailed func(plugin string, event lifecycle.Event, reason string)
	// Failed hears of a hook of started or ready that must not fail; nil: nobody.
	Failed func(lifecycle.Occurrence, Outcome)
	// Done hears how the hooks of an occasion ended; nil: nobody. A supervisor that
	// takes over may tell it again.
	Done func(lifecycle.Occurrence, []Outcome)
}

// Runner runs hooks. It is safe for concurrent use.
type Runner struct {
	opts    Options
	host    Host
	log     hclog.Logger
	ctx     context.Context // of everything that is under way; never done
	counts  *counts
	byHands atomic.Int64 // runs by hand that are under way
	noOut   sync.Once    // for the one warning

	mu    sync.Mutex // guards what follows
	lanes map[string]*lane
	runs  map[string]Execution // of an earlier supervisor, not yet claimed
	hand  uint64               // numbers runs by hand
}

// NewRunner makes one, and goes on with what an earlier supervisor began.
func NewRunner(o Options) *Runner {
	r := &Runner{opts: o, host: o.Host, log: o.Log, ctx: context.Background(), counts: newCounts(), lanes: map[string]*lane{}, runs: map[string]Execution{}}
	for _, x := range o.Past.Runs {
		r.runs[x.ID()] = x
	}
	for name, k := range r.readKept() {
		r.resume(name, k)
	}
	r.sweep()
	for _, l := range r.lanes {
		l.mu.Lock()
		l.begin()
		l.mu.Unlock()
	}
	return r
}

// readKept reads what an earlier supervisor has kept of the lanes.
func (r *Runner) readKept() map[string]*kept {
	lanes, queued := map[string]*kept{}, map[string][]*entry{}
	for item, body := range r.opts.Past.Items {
		var err error
		if name, ok := strings.CutPrefix(item, lanePrefix); ok {
			k := &kept{}
			if err = unpack(body, k); err == nil {
				lanes[name] = k
			}
		} else if strings.HasPrefix(item, entryPrefix) {
			e := &entry{}
			if err = unpack(body, e); err == nil {
				name := laneOf(e.Occurrence)
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
			lanes[name] = &kept{}
		}
		lanes[name].Queue = append(lanes[name].Queue, q...)
	}
	return lanes
}

// resume takes up a lane.
func (r *Runner) resume(name string, k *kept) {
	k.complete()
	l := &lane{r: r, name: name, kept: *k}
	moved := false
	for _, e := range l.kept.Queue {
		l.newPassage(e)
		if e.Seq == 0 { // of a version that kept the queue with the lane
			e.Seq, moved = l.sequence(), true
			l.keepEntry(e)
		}
	}
	l.kept.Gifts = slices.DeleteFunc(l.kept.Gifts, func(g gift) bool { return r.opts.Past.Items[giftItem(name, g.Seq)] == nil })
	for i := range l.kept.Gifts {
		g := &l.kept.Gifts[i]
		g.given, _ = ParseOut(r.opts.Past.Items[giftItem(name, g.Seq)], g.Event, g.Hook, []string{"*"}) // it was read before
	}
	if moved {
		l.keep()
	}
	r.lanes[name] = l
}

// sweep ends processes that no lane goes on with, and forgets gifts that none has.
func (r *Runner) sweep() {
	claimed, items := map[string]bool{}, map[string]bool{}
	for _, l := range r.lanes {
		for _, e := range l.kept.Queue {
			for _, t := range e.Trying {
				claimed[t.ID] = true
			}
		}
		for _, g := range l.kept.Gifts {
			items[giftItem(l.name, g.Seq)] = true
		}
	}
	for item := range r.opts.Past.Items {
		if strings.HasPrefix(item, giftPrefix) && !items[item] {
			r.host.Del(item)
		}
	}
	for id, x := range r.runs {
		if claimed[id] {
			continue
		}
		delete(r.runs, id)
		endStray(x)
	}
	r.opts.Past = Past{}
}

// endStray ends a process that nothing goes on with.
func endStray(x Execution) {
	x.SignalGroup(syscall.SIGKILL)
	go func() { // ends with the process
		<-x.Exited()
		x.Done()
	}()
}

// adopted claims the process of a try; nil: there is none of that name.
func (r *Runner) adopted(id string) Execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.runs[id]
	if !ok {
		return nil
	}
	delete(r.runs, id)
	return x
}

// lane finds one; nil: there is none yet, and it is not to be made.
func (r *Runner) lane(name string, wanted bool) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lanes[name]
	if l == nil && wanted {
		l = &lane{r: r, name: name}
		r.lanes[name] = l
	}
	return l
}

// all are the lanes.
func (r *Runner) all() []*lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*lane
	for _, l := range r.lanes {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *lane) int { return strings.Compare(a.name, b.name) })
	return out
}

// Wants says whether anything is to be done at an event of a service, or waited for
// before it.
func (r *Runner) Wants(e lifecycle.Event, service string) bool {
	o := lifecycle.Occurrence{Event: e, Service: service}
	if len(r.opts.Book().For(e, subjectOf(&o))) > 0 {
		return true
	}
	if e != lifecycle.PreStart {
		return false
	}
	l := r.lane(laneOf(o), false)
	return l != nil && l.underWay() != nil
}

// hooksOf are the hooks that are run at an occasion.
func (r *Runner) hooksOf(o *lifecycle.Occurrence) []Bound {
	all := r.opts.Book().For(o.Event, subjectOf(o))
	return slices.DeleteFunc(slices.Clone(all), func(b Bound) bool { return !b.at(o) })
}

// Tell hands an occasion over. When it returns, that is kept for a later supervisor.
func (r *Runner) Tell(o lifecycle.Occurrence) { _, _, _ = r.tell(o) }

func (r *Runner) tell(o lifecycle.Occurrence) (*lane, *passage, error) {
	hooks := len(r.hooksOf(&o))
	l := r.lane(laneOf(o), hooks > 0)
	if l == nil {
		return nil, nil, nil
	}
	p, err := l.tell(o, hooks)
	return l, p, err
}

// endTime is what hooks get at most to come to their end.
const endTime = hurried + dieTime + time.Second

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
		return errEnded{whyCancelled} // its turn has not come, and nothing of it will run
	}
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		return errEnded{whyCancelled}
	}
}

// cancel brings an occasion to an end now. It says whether it is under way.
func (l *lane) cancel(p *passage, why string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, e := range l.kept.Queue {
		if e.pass == p {
			l.drop(e, why, time.Now())
			return k == 0
		}
	}
	return true
}

// underWay is closed when nothing is under way any more; nil: nothing is.
func (l *lane) underWay() <-chan struct{} {
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
		for _, l := range r.all() {
			l.lastCall(until)
		}
	}
	for {
		var busy <-chan struct{}
		for _, l := range r.all() {
			if busy = l.underWay(); busy != nil {
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
			for _, l := range r.all() {
				l.cancelAll()
			}
			timer := time.NewTimer(endTime)
			defer timer.Stop()
			last = timer.C
		case <-last:
			return
		}
	}
}

// cancelAll brings everything to an end.
func (l *lane) cancelAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.kept.Queue {
		if e.Drop == "" || e.Due.After(time.Now()) {
			l.drop(e, whyCancelled, time.Now())
		}
	}
}

// reservedShare bounds Reserve: what a stop takes from the services for the hooks
// that come behind them.
const reservedShare = 4

// Reserve is what the exit hooks need of a stop's budget, a quarter of it at most.
func (r *Runner) Reserve(budget time.Duration) time.Duration {
	hooks := r.opts.Book().For(lifecycle.Exit, "")
	var sum time.Duration
	for k := 0; k < len(hooks); {
		var longest time.Duration
		end := together(hooks, k)
		for _, b := range hooks[k:end] {
			longest = max(longest, min(b.Timeout, time.Duration(b.Share*float64(budget))))
		}
		sum, k = sum+longest, end
	}
	return min(sum, budget/reservedShare)
}

// Given is what the hooks of init, of network-ready and of the present start of a
// service have given to processes of a user, later ones over earlier ones.
func (r *Runner) Given(service string, uid int) Given {
	var out Given
	for _, name := range []string{containerLane, service} {
		if l := r.lane(name, false); l != nil && name != "" {
			out.add(l.given(uid))
		}
	}
	return out
}

// through tells of an occasion.
func (r *Runner) through(o lifecycle.Occurrence, outcomes []Outcome) {
	if r.opts.Done != nil && len(outcomes) > 0 {
		r.opts.Done(o, outcomes)
	}
}

// say logs how a hook ended.
func (r *Runner) say(b *Bound, service string, out Outcome) {
	if out.OK {
		r.log.Debug("a hook is through", "hook", b.full(), "name", service, "took", out.Took.Round(time.Millisecond))
		return
	}
	r.log.Warn("a hook failed", "hook", b.full(), "name", service, "why", out.Why, "tries", out.Tries)
}

// out makes the file of STOKER_OUT; empty: it cannot be made, and the operator was
// told once.
func (r *Runner) out(user *proc.User) string {
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
