package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/internal/redact"
)

// Times around the end of a process that must end.
const (
	killAfter  = 5 * time.Second // from TERM to KILL
	shortGrace = time.Second     // the same in a stop or after a cancellation
	dieTime    = time.Second     // that a killed process may take
)

// maxTail is what an Outcome has of the output or the response, in bytes.
const maxTail = 4 << 10

// execution executes a hook of a run with all its tries.
type execution struct {
	q     *queue
	run   *run
	hook  *ResolvedHook
	order int // among the hooks of its event

	attempt              // the present try
	recovered  Process   // of the present try, which an earlier supervisor has begun; nil: there is none
	earlier    attempt   // the one before; its resources are needed until the present one is saved
	deadline   time.Time // of all tries; zero: none
	term, kill time.Time // when the process gets these signals
}

// execute tries the hook until a try succeeds, the last one has failed, or the run is cancelled. It is
// not run after failed, or if an earlier supervisor has run it.
func (x *execution) execute(failed *ResolvedHook) (out Outcome) {
	if ended := x.resume(); ended != nil {
		return *ended
	}
	if failed != nil {
		out = Outcome{Hook: x.hook.Name, Plugin: x.hook.Plugin, Why: fmt.Sprintf(whyAfterOther, failed.FullName())}
		x.recordEnd(out)
		return out
	}
	x.deadline = x.run.Until
	if budget := x.run.Budget; budget > 0 {
		share := x.First.Add(time.Duration(x.hook.Share * float64(budget)))
		if x.deadline.IsZero() || share.Before(x.deadline) {
			x.deadline = share
		}
	}
	for {
		out = x.try()
		out.Hook, out.Plugin, out.Took = x.hook.Name, x.hook.Plugin, time.Since(x.First)
		if out.Tries == x.Try { // else it could not begin
			x.q.r.count(x.hook, out, time.Since(x.Begun))
		}
		if out.OK || x.Try > x.hook.policy().Retries || x.run.ctx.Err() != nil || !x.pause() {
			x.recordEnd(out)
			return out
		}
		x.Try++
	}
}

// resume continues with the try that an earlier supervisor has begun; ended is the outcome if it has ended the hook.
func (x *execution) resume() (ended *Outcome) {
	x.attempt = attempt{Hook: x.hook.Title(), Try: 1, First: time.Now()}
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	for _, out := range x.run.Ended {
		if out.Hook == x.hook.Name && out.Plugin == x.hook.Plugin {
			return &out
		}
	}
	for _, a := range x.run.Running {
		if a.Hook == x.Hook {
			x.attempt = a
			x.recovered, x.process = a.process, nil
		}
	}
	return nil
}

// recordEnd saves how the hook ended and what it output, and then releases what it used.
func (x *execution) recordEnd(out Outcome) {
	q, e := x.q, x.run
	switch {
	case q.manual:
	case out.OK:
		q.r.log.Debug("hook succeeded", "hook", x.hook.FullName(), "name", e.Service, "took", out.Took.Round(time.Millisecond))
	default:
		q.r.log.Warn("a hook failed", "hook", x.hook.FullName(), "name", e.Service, "why", out.Why, "tries", out.Tries)
	}
	q.update(e, func() {
		title, short := x.hook.Title(), out.short()
		e.removeRunning(title)
		e.Ended = append(e.Ended, short)
		q.saved.noteOutcome(&e.Occurrence, title, time.Now(), short)
		if out.OK && e.Event.Contributes() && len(x.raw) > 0 {
			// An earlier supervisor may have saved the output and not the end.
			q.dropOutputs(func(o savedOutput) bool { return o.Event == e.Event && o.Hook == title })
			o := savedOutput{Seq: q.r.nextSeq(), Event: e.Event, Hook: title, Order: x.order, User: x.User, Raw: x.raw, output: out.Given}
			q.put(itemName(outputPrefix, q.name, o.Seq), &o)
			q.outputs = append(q.outputs, o)
		}
		q.unsaved = true
	})
	x.cleanUp()
}

// pause waits before another try; false: there is none.
func (x *execution) pause() bool {
	if !x.deadline.IsZero() && time.Until(x.deadline) <= x.hook.RetryEvery {
		return false
	}
	select {
	case <-time.After(x.hook.RetryEvery):
		return true
	case <-x.run.ctx.Done():
		return false
	}
}

// try runs one try, or continues with that of an earlier supervisor.
func (x *execution) try() (out Outcome) {
	running := x.recovered
	if x.recovered = nil; running == nil {
		if cause := context.Cause(x.run.ctx); cause != nil {
			return Outcome{Why: cause.Error(), Tries: x.Try - 1}
		}
		if !x.deadline.IsZero() && time.Until(x.deadline) <= 0 {
			return Outcome{Why: whyNoTime, Tries: x.Try - 1}
		}
		x.earlier = x.attempt
		defer x.earlier.cleanUp() // where nothing has begun
		x.attempt = attempt{Hook: x.Hook, Try: x.Try, First: x.First, Begun: time.Now()}
	}
	x.setDeadlines()
	switch {
	case x.hook.URL != "":
		out = x.request()
	case running != nil:
		out = x.wait(running)
	default:
		out = x.runProgram()
	}
	out.Why = redact.Text(out.Why) // it has a line of the output
	out.Tries = x.Try
	return out
}

// begin saves the try before it begins.
func (x *execution) begin() {
	x.q.update(x.run, func() {
		x.run.removeRunning(x.Hook)
		x.run.Running = append(x.run.Running, x.attempt)
	})
	x.earlier.cleanUp()
}

// setDeadlines sets the times of TERM and KILL.
func (x *execution) setDeadlines() {
	grace := killAfter
	if x.run.Budget > 0 {
		grace = shortGrace
	}
	x.term = x.Begun.Add(x.hook.Timeout)
	x.kill = x.term.Add(grace)
	if x.deadline.IsZero() || !x.deadline.Before(x.kill) {
		return
	}
	// The last fifth of a shorter time is between TERM and KILL.
	x.kill = x.deadline
	if last := x.kill.Add(-min(grace, x.kill.Sub(x.Begun)/5)); last.Before(x.term) {
		x.term = last
	}
}

// runProgram starts the program and waits for its end.
func (x *execution) runProgram() Outcome {
	p, err := x.start()
	if err == nil {
		return x.wait(p)
	}
	if x.run.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(x.run.ctx)
	}
	code := 126 // with which shells report that a program did not start
	if s := (*program.StartError)(nil); errors.As(err, &s) {
		code = s.Code()
	}
	return Outcome{Why: strings.ReplaceAll(err.Error(), "\nhint: ", ": "), Code: code}
}

// start starts the program.
func (x *execution) start() (Process, error) {
	h, r := x.hook, x.q.r
	x.ID = itemName(idPrefix, x.q.name, r.nextSeq())
	spec := proc.Spec{ID: x.ID, Argv: h.Command, Dir: h.PluginDir, WhileStopping: x.run.Event.Ending()}
	if h.Path != "" {
		if err := checkExecutable(h.Path); err != nil {
			return nil, err
		}
		spec.Argv = []string{h.Path}
	}
	if h.RunAs != "" {
		user, err := asuser.Lookup(h.RunAs)
		if err != nil {
			return nil, fmt.Errorf("run_as: %w", err)
		}
		spec.User = user
		if user.ID() != os.Geteuid() {
			x.User = &user.UID
		}
	}
	if self := r.opts.Self; self != "" && len(spec.Argv) > 0 && (spec.Argv[0] == "stoker" || spec.Argv[0] == self) {
		spec.Argv = append([]string{self}, spec.Argv[1:]...)
	} else {
		spec.Open = OpenTrusted(spec.User)
	}
	if n, _, ok := r.opts.OOMKills(); ok {
		x.OOMKills = &n
	}
	x.Out = r.newOutFile(spec.User)
	x.begin()
	env, err := x.environ(spec.User)
	if err != nil {
		return nil, err
	}
	spec.Env = pairs(env)
	return r.host.Start(x.run.ctx, spec, "hook "+h.FullName())
}
