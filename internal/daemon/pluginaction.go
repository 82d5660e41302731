package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
)

// actionKillDelay is the time between TERM and KILL of an action, and between KILL and the error.
const actionKillDelay = 5 * time.Second

// RunAction runs a plugin action until it exits, its timeout expires, or the client disconnects.
func (d *daemon) RunAction(ctx context.Context, of, name string, args []string, by string) (done api.ActionResult, err error) {
	if d.plugins == nil {
		return done, errNoPlugins()
	}
	action, err := d.plugins.Action(of, name)
	var none *plugin.NotFoundError
	if errors.As(err, &none) {
		return done, err
	}
	if err != nil {
		return done, fmt.Errorf("%w: %w", api.ErrNotNow, err)
	}
	spec, err := d.actionSpec(of, action, args)
	if err != nil {
		return done, fmt.Errorf("cannot run the action %q of the plugin %s: %w", name, of, err)
	}
	d.log.Info("plugin action", "plugin", of, "action", name, "by", by)
	if done, err = d.awaitAction(ctx, spec, action.Timeout); err != nil {
		return done, fmt.Errorf("cannot run the action %q of the plugin %s: %w", name, of, err)
	}
	var hide service.Mask
	for _, value := range action.Secrets {
		hide.Add(value)
	}
	done.Output = hide.Values(done.Output)
	return done, nil
}

func (d *daemon) actionSpec(of string, action plugin.ResolvedAction, args []string) (proc.Spec, error) {
	if slices.ContainsFunc(args, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		return proc.Spec{}, errors.New("an argument has a NUL byte")
	}
	spec := proc.Spec{ID: service.ProcessID("plugin-" + of), Argv: slices.Concat(action.Command, args)}
	env := jvm.WithoutOptions(service.EnvironMap(os.Environ()))
	if action.RunAs != "" {
		user, err := asuser.Lookup(action.RunAs)
		if err != nil {
			return spec, err
		}
		spec.User = user
		user.AdaptEnv(env)
	}
	if spec.Argv[0] != ownPath(d.m) {
		spec.Open = hooks.OpenTrusted(spec.User)
	}
	hooks.SetLabels(env, d.currentPlan().Config.Labels)
	maps.Copy(env, service.EnvironMap(action.Env))
	if delete(env, "STOKER_SOCKET"); d.socket() != "" {
		env["STOKER_SOCKET"] = d.socket()
	}
	if action.Service == plugin.ActionOfMain {
		main := d.currentPlan().main
		s, ok := d.sup.Service(main)
		if !ok || s.Pid == 0 {
			return spec, fmt.Errorf("%w: it is about the main service, which has no process", api.ErrNotNow)
		}
		env["STOKER_SERVICE"], env["STOKER_PID"] = main, strconv.Itoa(s.Pid)
	}
	spec.Env = service.EnvironList(env)
	return spec, nil
}

// awaitAction runs a program until it exits. At its timeout the process group gets TERM, then KILL. Processes left in the group are
// killed.
func (d *daemon) awaitAction(ctx context.Context, spec proc.Spec, limit time.Duration) (done api.ActionResult, err error) {
	log, err := logs.NewTemporary(spec.ID)
	if err != nil {
		return done, err
	}
	defer log.Close() // a descendant may still be writing
	spec.Stdio = proc.Stdio{Mode: proc.Capture, Log: log, Merge: true}
	p, err := d.m.Start(ctx, spec)
	if err != nil {
		return done, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.Exited():
	case <-ctx.Done():
		done.Why = "the client disconnected"
	case <-timer.C:
		done.Why = fmt.Sprintf("it was ended: it did not end within %v", limit)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if _, ended := p.Exit(); ended {
			break
		}
		_ = p.SignalGroup(sig) // it may have exited
		select {
		case <-p.Exited():
		case <-time.After(actionKillDelay):
		}
	}
	x, ended := p.Exit()
	if !ended {
		go func() { // ends with the process
			<-p.Exited()
			p.Done()
		}()
		return done, fmt.Errorf("pid %d does not die", p.Pid())
	}
	_ = p.SignalGroup(syscall.SIGKILL) // an action must not leave a daemon behind
	p.FlushOutput()
	p.Done()
	done.Code, done.Output = x.Status(), log.Text()
	done.Truncated = log.End() > int64(len(done.Output))
	return done, nil
}
