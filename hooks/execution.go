package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"golang.org/x/sys/unix"
)

// Times around the end of a process that must end.
const (
	killAfter  = 5 * time.Second // from TERM to KILL
	shortGrace = time.Second     // the same where somebody waits for it
	dieTime    = time.Second     // that a killed process may take
)

// keptTail is what an Outcome keeps of the output or the answer, in bytes.
const keptTail = 4 << 10

// attempt is one try of a hook.
type execution struct {
	r          *Runner
	b          *ResolvedHook
	occurrence lifecycle.Occurrence
	ctx        context.Context // done: it is brought to an end
	attempt    *attempt
	begin      func() // keeps the try, before anything is done; nil: it is kept

	term, kill time.Time // when it is ended
}

// bounds finds out when the process is told to end, and when it is killed.
func (a *execution) setDeadlines(limit time.Time) {
	grace := killAfter
	if a.occurrence.Budget > 0 {
		grace = shortGrace
	}
	a.term = a.attempt.Begun.Add(a.b.Timeout)
	a.kill = a.term.Add(grace)
	if limit.IsZero() || !limit.Before(a.kill) {
		return
	}
	// Within what there is, the last fifth is for dying.
	room := limit.Sub(a.attempt.Begun)
	a.kill = limit
	if last := limit.Add(-min(grace, room/5)); last.Before(a.term) {
		a.term = last
	}
}

// run does it, or goes on with what runs.
func (a *execution) run(running Process) (out Outcome, raw []byte) {
	defer func() { out.Why = redact.Text(out.Why) }() // it has a line of the output, and everybody may look
	if a.b.URL != "" {
		return a.request(), nil
	}
	if running == nil {
		var err error
		if running, err = a.start(); err != nil {
			if a.ctx.Err() != nil && errors.Is(err, context.Canceled) {
				err = context.Cause(a.ctx)
			}
			return Outcome{Why: err.Error(), Code: startCode(err)}, nil
		}
	}
	out = a.wait(running)
	return out, a.readOutput(&out)
}

// startCode is the exit code by which shells report that a program was not started.
func startCode(err error) int {
	var s *proc.StartError
	if errors.As(err, &s) {
		return s.Code()
	}
	return 126
}

// startFailure words why a program was not started.
type startFailure struct {
	error
	text string
}

func (s *startFailure) Error() string { return s.text }
func (s *startFailure) Unwrap() error { return s.error }

// start starts the program.
func (a *execution) start() (Process, error) {
	spec := proc.Spec{ID: a.attempt.ID, Argv: a.b.Command, Dir: a.b.PluginDir, WhileStopping: a.occurrence.Event.Ending()}
	if a.b.Path != "" {
		if err := checkExecutable(a.b.Path); err != nil {
			return nil, err
		}
		spec.Argv = []string{a.b.Path}
	}
	if a.b.RunAs != "" {
		user, err := asuser.Lookup(a.b.RunAs)
		if err != nil {
			return nil, fmt.Errorf("run_as: %w", err)
		}
		spec.User = user
		if user.ID() != os.Geteuid() {
			a.attempt.User = &user.UID
		}
	}
	switch self := a.r.opts.Self; {
	case self != "" && len(spec.Argv) > 0 && (spec.Argv[0] == "stoker" || spec.Argv[0] == self):
		spec.Argv = append([]string{self}, spec.Argv[1:]...)
	default:
		spec.Open = OpenTrusted(spec.User)
	}
	if a.r.opts.OOMKills != nil {
		if n, _, ok := a.r.opts.OOMKills(); ok {
			a.attempt.OOMKills = &n
		}
	}
	a.attempt.Out = a.r.newOutFile(spec.User)
	a.attempt.removeLater(a.attempt.Out)
	if a.begin != nil {
		a.begin()
	}
	env, err := a.environment(spec.User, a.attempt.Out).environ(a.b, a.occurrence)
	if err != nil {
		return nil, err
	}
	spec.Env = pairs(env)
	x, err := a.r.host.Start(a.ctx, spec, "hook "+a.b.FullName())
	if err == nil {
		return x, nil
	}
	return nil, &startFailure{err, strings.ReplaceAll(err.Error(), "\nhint: ", ": ")}
}

func (a *execution) environment(user *asuser.User, out string) *environment {
	s := &environment{own: a.r.opts.Env, user: user, out: out, deadline: a.term, labels: a.r.labels()}
	s.contributed = a.r.Output(a.occurrence.Service, user.ID()).Env
	if a.r.opts.Socket != nil {
		s.socket = a.r.opts.Socket()
	}
	return s
}

// await waits for the end of a process, or brings it about. The hook is over when
// its leader is; what that has left behind is killed.
func (a *execution) wait(x Process) (out Outcome) {
	ended := a.waitOrKill(x, &out)
	if !ended {
		out.Why += fmt.Sprintf(", and does not die of KILL within %v", dieTime)
		go func() { // ends with the process
			<-x.Exited()
			x.Done()
		}()
		return out
	}
	exit, _ := x.Exit()
	x.SignalGroup(syscall.SIGKILL)
	out.Code = exit.Status()
	var stderr string
	out.Output, stderr = x.Tail(keptTail)
	switch {
	case out.Why != "":
	case exit.Signal != 0:
		out.Why = "killed by " + unix.SignalName(exit.Signal)
		if kills := a.oomKills(exit); kills != "" {
			out.Why = "killed by the kernel's OOM killer: the memory limit was reached (" + kills + ")"
		}
	case exit.Code != 0:
		out.Why = fmt.Sprintf("exit code %d", exit.Code)
		if kills := a.oomKills(exit); kills != "" {
			out.Why += ": what it waited for was killed by the kernel's OOM killer (" + kills + ")"
		}
	default:
		out.OK = true
	}
	if last := cmp.Or(lastLine(stderr), lastLine(out.Output)); !out.OK && last != "" {
		out.Why += ": " + last
	}
	a.attempt.left = append(a.attempt.left, x.Done)
	return out
}

// oomKills is the rise of the counter of OOM kills since the hook was started; empty:
// it did not rise, that cannot be known, or it was not KILL that ended the hook or what
// its shell has waited for.
func (a *execution) oomKills(exit proc.Exit) string {
	if exit.Status() != 128+int(syscall.SIGKILL) || a.r.opts.OOMKills == nil || a.attempt.OOMKills == nil {
		return ""
	}
	now, source, ok := a.r.opts.OOMKills()
	if !ok || now <= *a.attempt.OOMKills {
		return ""
	}
	return fmt.Sprintf("%s: oom_kill %d -> %d", source, *a.attempt.OOMKills, now)
}

// end waits until the process has ended. out.Why says why it was made to.
func (a *execution) waitOrKill(x Process, out *Outcome) bool {
	term := time.NewTimer(time.Until(a.term))
	defer term.Stop()
	select {
	case <-x.Exited():
		return true
	default:
	}
	var kill time.Time
	select {
	case <-x.Exited():
		return true
	case <-term.C:
		out.TimedOut, kill = true, a.kill
		out.Why = fmt.Sprintf("did not end within %v", a.term.Sub(a.attempt.Begun).Round(time.Millisecond))
	case <-a.ctx.Done():
		kill = time.Now().Add(shortGrace)
		out.Why = context.Cause(a.ctx).Error()
	}
	if kill.After(a.kill) {
		kill = a.kill
	}
	x.SignalGroup(syscall.SIGTERM)
	if a.waitUntil(x, kill) {
		return true
	}
	out.Why += ", ignored TERM and was killed"
	x.SignalGroup(syscall.SIGKILL)
	die := time.NewTimer(dieTime)
	defer die.Stop()
	select {
	case <-x.Exited():
		return true
	case <-die.C:
		return false
	}
}

// wait waits for a process until it has to be killed: sooner, where the occasion is
// brought to an end meanwhile.
func (a *execution) waitUntil(x Process, kill time.Time) bool {
	timer := time.NewTimer(time.Until(kill))
	defer timer.Stop()
	done := a.ctx.Done()
	if a.ctx.Err() != nil {
		done = nil
	}
	for {
		select {
		case <-x.Exited():
			return true
		case <-timer.C:
			return false
		case <-done:
			done = nil
			timer.Reset(min(time.Until(kill), shortGrace))
		}
	}
}

// takeOut reads what the hook has given, if it succeeded.
func (a *execution) readOutput(out *Outcome) []byte {
	if a.attempt.Out == "" || !out.OK {
		return nil
	}
	raw, err := readOut(a.attempt.Out)
	if err == nil {
		out.Contributed, err = ParseOut(raw, a.occurrence.Event, a.b.Title(), a.b.AllowEnv)
	}
	if err != nil {
		out.OK, out.Why = false, "STOKER_OUT: "+err.Error()
		return nil
	}
	return raw
}

// ask makes the request.
func (a *execution) request() (out Outcome) {
	if a.begin != nil {
		a.begin()
	}
	env, err := a.environment(nil, "").environ(a.b, a.occurrence)
	if err != nil {
		return Outcome{Why: err.Error()}
	}
	ctx, cancel := context.WithDeadline(a.ctx, a.term)
	defer cancel()
	resp, err := remote.Send(ctx, remote.Request{Method: a.b.Method, URL: a.b.URL, Headers: a.b.Headers, Body: a.b.Body, CAFile: a.b.CAFile, Timeout: a.b.Timeout},
		func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	out.Code, out.Output = resp.Status, string(resp.Body[:min(len(resp.Body), keptTail)])
	what := a.b.Method + " " + redact.URL(a.b.URL)
	switch {
	case a.ctx.Err() != nil && err != nil:
		out.Why = context.Cause(a.ctx).Error()
	case ctx.Err() != nil && err != nil:
		out.TimedOut = true
		out.Why = fmt.Sprintf("%s: no answer within %v", what, a.term.Sub(a.attempt.Begun).Round(time.Millisecond))
	case err != nil:
		out.Why = fmt.Sprintf("%s: %s", what, proc.OneLine(err.Error()))
	case !a.isSuccess(resp.Status):
		out.Why = fmt.Sprintf("%s: it answers with the status %d", what, resp.Status)
		if line := firstLine(out.Output); line != "" {
			out.Why += ": " + line
		}
	default:
		out.OK = true
	}
	return out
}

// wanted says whether a status is a success.
func (a *execution) isSuccess(status int) bool {
	if len(a.b.Status) > 0 {
		return slices.Contains(a.b.Status, status)
	}
	return status >= 200 && status < 300
}

// labels are those in force.
func (r *Runner) labels() map[string]string {
	if r.opts.Labels == nil {
		return nil
	}
	return maps.Clone(r.opts.Labels())
}
