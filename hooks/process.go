package hooks

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// kill kills a process of which nothing is expected.
func kill(p Process) {
	p.SignalGroup(syscall.SIGKILL)
	release(p)
}

// release releases a process once it has ended.
func release(p Process) {
	go func() { // ends with the process
		<-p.Exited()
		p.Done()
	}()
}

// wait waits for the end of the process, or enforces it. The hook ends with its first process; what
// that has left behind is killed.
func (x *execution) wait(p Process) (out Outcome) {
	if !x.waitOrKill(p, &out) {
		out.Why += fmt.Sprintf(", and does not die of KILL within %v", dieTime)
		release(p)
		return out
	}
	x.process = p
	exit, _ := p.Exit()
	p.SignalGroup(syscall.SIGKILL)
	out.Code = exit.Status()
	var stderr string
	out.Output, stderr = p.Tail(maxTail)
	kills := x.newOOMKills(exit)
	switch {
	case out.Why != "":
	case exit.Signal != 0 && kills != "":
		out.Why = "killed by the kernel's OOM killer: the memory limit was reached (" + kills + ")"
	case exit.Signal != 0:
		out.Why = "killed by " + unix.SignalName(exit.Signal)
	case exit.Code != 0 && kills != "":
		out.Why = fmt.Sprintf("exit code %d: what it waited for was killed by the kernel's OOM killer (%s)", exit.Code, kills)
	case exit.Code != 0:
		out.Why = fmt.Sprintf("exit code %d", exit.Code)
	default:
		out.OK = true
		x.readOutput(&out)
		return out
	}
	if last := cmp.Or(lastLine(stderr), lastLine(out.Output)); last != "" {
		out.Why += ": " + last
	}
	return out
}

// newOOMKills describes how the counter of OOM kills has risen since the start of a hook that KILL
// ended, itself or what its shell waited for. Empty: it has not, or that is unknown.
func (x *execution) newOOMKills(exit proc.Exit) string {
	now, source, ok := x.q.r.opts.OOMKills()
	if !ok || x.OOMKills == nil || now <= *x.OOMKills || exit.Status() != 128+int(syscall.SIGKILL) {
		return ""
	}
	return fmt.Sprintf("%s: oom_kill %d -> %d", source, *x.OOMKills, now)
}

// waitOrKill waits until the process has ended, and enforces that when its time is up or the run is
// cancelled: out.Why is why. false: it does not die.
func (x *execution) waitOrKill(p Process, out *Outcome) bool {
	ctx := x.run.ctx
	if waitFor(ctx, p, x.term) {
		return true
	}
	if cause := context.Cause(ctx); cause != nil {
		out.Why = cause.Error()
	} else {
		out.TimedOut = true
		out.Why = fmt.Sprintf("did not end within %v", x.term.Sub(x.Begun).Round(time.Millisecond))
	}
	p.SignalGroup(syscall.SIGTERM)
	if out.TimedOut && waitFor(ctx, p, x.kill) {
		return true
	}
	if ctx.Err() != nil {
		kill := time.Now().Add(shortGrace)
		if x.kill.Before(kill) {
			kill = x.kill
		}
		if waitFor(context.Background(), p, kill) {
			return true
		}
	}
	out.Why += ", ignored TERM and was killed"
	p.SignalGroup(syscall.SIGKILL)
	return waitFor(context.Background(), p, time.Now().Add(dieTime))
}

// waitFor waits for the end of a process until a time, or until ctx is done; false: it lives.
func waitFor(ctx context.Context, p Process, until time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	select {
	case <-p.Exited():
		return true
	case <-ctx.Done():
		_, ended := p.Exit() // both may be the case
		return ended
	}
}

// readOutput reads what a successful hook has written to STOKER_OUT.
func (x *execution) readOutput(out *Outcome) {
	if x.Out == "" {
		return
	}
	raw, err := readOut(x.Out)
	if err == nil {
		out.Given, err = ParseOut(raw, x.run.Event, x.hook.Title(), x.hook.AllowEnv)
	}
	if err != nil {
		out.OK, out.Why = false, "STOKER_OUT: "+err.Error()
		return
	}
	x.raw = raw
}

// lastLine is the last non-empty line of a program's output that is not a hint of stoker itself.
func lastLine(text string) string {
	for {
		text = strings.TrimRight(text, "\r\n\t ")
		at := strings.LastIndexByte(text, '\n') + 1
		if at == 0 || !strings.HasPrefix(text[at:], "hint: ") {
			return printable.OneLine(text[at:])
		}
		text = text[:at]
	}
}
