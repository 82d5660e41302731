package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/internal/redact"
	"golang.org/x/sys/unix"
)

// Times around the end of a process that must end.
const (
	killAfter  = 5 * time.Second // from TERM to KILL
	shortGrace = time.Second     // the same in a stop or after a cancellation
	dieTime    = time.Second     // that a killed process may take
)

// maxTail is what an Outcome has of the output or the response, in bytes.
const maxTail = 4 << 10

// execution executes one try of a hook.
type execution struct {
	r          *Runner
	hook       *ResolvedHook
	occurrence lifecycle.Occurrence
	ctx        context.Context
	attempt    *attempt
	onBegin    func() // saves the attempt before it begins; nil: it is saved

	term, kill time.Time // when the process gets these signals
}

// setDeadlines sets the times of TERM and KILL.
func (x *execution) setDeadlines(limit time.Time) {
	grace := killAfter
	if x.occurrence.Budget > 0 {
		grace = shortGrace
	}
	x.term = x.attempt.Begun.Add(x.hook.Timeout)
	x.kill = x.term.Add(grace)
	if limit.IsZero() || !limit.Before(x.kill) {
		return
	}
	// The last fifth of a shorter time is between TERM and KILL.
	room := limit.Sub(x.attempt.Begun)
	x.kill = limit
	if last := limit.Add(-min(grace, room/5)); last.Before(x.term) {
		x.term = last
	}
}

// run makes the request, or starts the program, or continues with a running one.
func (x *execution) run(running Process) (out Outcome) {
	defer func() { out.Why = redact.Text(out.Why) }() // it has a line of the output
	if x.hook.URL != "" {
		return x.request()
	}
	if running == nil {
		var err error
		if running, err = x.start(); err != nil {
			if x.ctx.Err() != nil && errors.Is(err, context.Canceled) {
				err = context.Cause(x.ctx)
			}
			return Outcome{Why: strings.ReplaceAll(err.Error(), "\nhint: ", ": "), Code: startCode(err)}
		}
	}
	out = x.wait(running)
	x.readOutput(&out)
	return out
}

// startCode is the exit code with which shells report that a program did not start.
func startCode(err error) int {
	var s *program.StartError
	if errors.As(err, &s) {
		return s.Code()
	}
	return 126
}

// start starts the program.
func (x *execution) start() (Process, error) {
	h := x.hook
	spec := proc.Spec{ID: x.attempt.ID, Argv: h.Command, Dir: h.PluginDir, WhileStopping: x.occurrence.Event.Ending()}
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
			x.attempt.User = &user.UID
		}
	}
	if self := x.r.opts.Self; self != "" && len(spec.Argv) > 0 && (spec.Argv[0] == "stoker" || spec.Argv[0] == self) {
		spec.Argv = append([]string{self}, spec.Argv[1:]...)
	} else {
		spec.Open = OpenTrusted(spec.User)
	}
	if n, _, ok := x.r.oomKills(); ok {
		x.attempt.OOMKills = &n
	}
	x.attempt.Out = x.r.newOutFile(spec.User)
	x.attempt.removeLater(x.attempt.Out)
	if x.onBegin != nil {
		x.onBegin()
	}
	env, err := x.environment(spec.User, x.attempt.Out).environ(h, x.occurrence)
	if err != nil {
		return nil, err
	}
	spec.Env = pairs(env)
	return x.r.host.Start(x.ctx, spec, "hook "+h.FullName())
}

// environment is what the environment of the hook is made of.
func (x *execution) environment(user *asuser.User, out string) *environment {
	e := &environment{own: x.r.opts.Env, user: user, out: out, deadline: x.term}
	e.contributed = x.r.Output(x.occurrence.Service, user.ID()).Env
	if x.r.opts.Labels != nil {
		e.labels = x.r.opts.Labels()
	}
	if x.r.opts.Socket != nil {
		e.socket = x.r.opts.Socket()
	}
	return e
}

// wait waits for the end of the process, or enforces it. The hook ends with its first process; what
// that has left behind is killed.
func (x *execution) wait(p Process) (out Outcome) {
	if !x.waitOrKill(p, &out) {
		out.Why += fmt.Sprintf(", and does not die of KILL within %v", dieTime)
		release(p)
		return out
	}
	exit, _ := p.Exit()
	p.SignalGroup(syscall.SIGKILL)
	out.Code = exit.Status()
	var stderr string
	out.Output, stderr = p.Tail(maxTail)
	switch {
	case out.Why != "":
	case exit.Signal != 0:
		out.Why = "killed by " + unix.SignalName(exit.Signal)
		if kills := x.newOOMKills(exit); kills != "" {
			out.Why = "killed by the kernel's OOM killer: the memory limit was reached (" + kills + ")"
		}
	case exit.Code != 0:
		out.Why = fmt.Sprintf("exit code %d", exit.Code)
		if kills := x.newOOMKills(exit); kills != "" {
			out.Why += ": what it waited for was killed by the kernel's OOM killer (" + kills + ")"
		}
	default:
		out.OK = true
	}
	if last := cmp.Or(lastLine(stderr), lastLine(out.Output)); !out.OK && last != "" {
		out.Why += ": " + last
	}
	x.attempt.cleanups = append(x.attempt.cleanups, p.Done)
	return out
}

// oomKills reads the counter of OOM kills.
func (r *Runner) oomKills() (count uint64, source string, ok bool) {
	if r.opts.OOMKills == nil {
		return 0, "", false
	}
	return r.opts.OOMKills()
}

// newOOMKills describes how the counter of OOM kills has risen since the start of a hook that KILL
// ended, itself or what its shell waited for. Empty: it has not, or that is unknown.
func (x *execution) newOOMKills(exit proc.Exit) string {
	now, source, ok := x.r.oomKills()
	before := x.attempt.OOMKills
	if !ok || before == nil || now <= *before || exit.Status() != 128+int(syscall.SIGKILL) {
		return ""
	}
	return fmt.Sprintf("%s: oom_kill %d -> %d", source, *before, now)
}

// waitOrKill waits until the process has ended, and enforces that when its time is up or the run is
// cancelled: out.Why is why. false: it does not die.
func (x *execution) waitOrKill(p Process, out *Outcome) bool {
	cancelled := x.ctx.Done()
	switch waitFor(p, x.term, cancelled) {
	case hasEnded:
		return true
	case isLate:
		out.TimedOut = true
		out.Why = fmt.Sprintf("did not end within %v", x.term.Sub(x.attempt.Begun).Round(time.Millisecond))
	case isCancelled:
		out.Why = context.Cause(x.ctx).Error()
	}
	p.SignalGroup(syscall.SIGTERM)
	result := isCancelled
	if out.TimedOut {
		result = waitFor(p, x.kill, cancelled)
	}
	if result == isCancelled {
		kill := time.Now().Add(shortGrace)
		if x.kill.Before(kill) {
			kill = x.kill
		}
		result = waitFor(p, kill, nil)
	}
	if result == hasEnded {
		return true
	}
	out.Why += ", ignored TERM and was killed"
	p.SignalGroup(syscall.SIGKILL)
	return waitFor(p, time.Now().Add(dieTime), nil) == hasEnded
}

// waitResult is the result of waitFor.
type waitResult int

const (
	hasEnded waitResult = iota
	isLate
	isCancelled
)

// waitFor waits for the end of a process until a time, or until it is cancelled.
func waitFor(p Process, until time.Time, cancelled <-chan struct{}) waitResult {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-p.Exited(): // before what else is the case too
		return hasEnded
	default:
	}
	select {
	case <-p.Exited():
		return hasEnded
	case <-timer.C:
		return isLate
	case <-cancelled:
		return isCancelled
	}
}

// readOutput reads what a successful hook has written to STOKER_OUT.
func (x *execution) readOutput(out *Outcome) {
	if x.attempt.Out == "" || !out.OK {
		return
	}
	raw, err := readOut(x.attempt.Out)
	if err == nil {
		out.Given, err = ParseOut(raw, x.occurrence.Event, x.hook.Title(), x.hook.AllowEnv)
	}
	if err != nil {
		out.OK, out.Why = false, "STOKER_OUT: "+err.Error()
		return
	}
	x.attempt.raw = raw
}
