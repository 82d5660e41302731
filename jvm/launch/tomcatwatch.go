package launch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// tomcatWatch reads the output of one start of Tomcat.
type tomcatWatch struct {
	patterns  *tomcat.Patterns
	base      string
	wanted    []string     // context paths that must be deployed
	asked     string       // the path of ready.http; empty: none
	apps      []string     // known context paths that Tomcat deploys
	options   []jvm.Option // given to the JVM
	since     time.Time
	serverErr error // why server.xml is unreadable; nil: it was read

	mu     sync.Mutex // guards the fields below
	watch  *tomcat.OutputReader
	failed []string // contexts
}

func (w *tomcatWatch) begin() { w.watch = tomcat.NewOutputReader(w.patterns) }

// line returns why Tomcat will not become ready, if an output line says so.
func (w *tomcatWatch) line(line []byte) (failure string) {
	f, ok := w.read(line)
	if !ok {
		return ""
	}
	switch f.Kind {
	case tomcat.ContextFailed, tomcat.DeployFailed:
		if w.needs(f.Context) {
			return f.String()
		}
	case tomcat.ConnectorFailed, tomcat.ServerFailed, tomcat.ConfigError:
		return f.String()
	}
	return ""
}

// read parses the next line.
func (w *tomcatWatch) read(line []byte) (tomcat.Finding, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, ok := w.watch.Line(string(line))
	if ok && (f.Kind == tomcat.ContextFailed || f.Kind == tomcat.DeployFailed) {
		w.failed = append(w.failed, tomcat.ContextOf(f.Context))
	}
	return f, ok
}

// started reports whether Tomcat has printed its startup message.
func (w *tomcatWatch) started() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watch.Started()
}

// notStarted describes what is missing for readiness where no connector can be probed.
func (w *tomcatWatch) notStarted(p readyProof) string {
	text := "Tomcat has not said yet that it has started"
	if p.Unknown != "" {
		text += "; " + p.Unknown
	}
	return text
}

// needs reports whether the failure of an application fails the service: it is wanted, or ready.http is in it, or none are wanted and no
// other is known to work. An application with an unknown name may be any of these.
func (w *tomcatWatch) needs(context string) bool {
	if context == "" {
		return true
	}
	context = tomcat.ContextOf(context)
	for _, wanted := range w.wanted {
		if tomcat.ContextOf(wanted) == context {
			return true
		}
	}
	if w.asked != "" && w.serving(w.asked, context) == context {
		return true
	}
	if len(w.wanted) > 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(w.apps, func(app string) bool { return app != context && !slices.Contains(w.failed, app) })
}

// serving returns the context that a path is in, among the known ones and the given one.
func (w *tomcatWatch) serving(path, context string) string {
	best := ""
	for _, app := range append([]string{context}, w.apps...) {
		if prefix := strings.TrimSuffix(app, "/"); strings.HasPrefix(path+"/", prefix+"/") && len(app) > len(best) {
			best = app
		}
	}
	return best
}

// watchRunning reports the applications that failed during the start of a running Tomcat. Later deployments are ignored. before reads the
// lines first.
func (w *tomcatWatch) watchRunning(before func() func([]byte) *supervisor.HealthIssue) func() func([]byte) *supervisor.HealthIssue {
	return func() func([]byte) *supervisor.HealthIssue {
		hear := before()
		again := &tomcatWatch{patterns: w.patterns, base: w.base, wanted: w.wanted, asked: w.asked, apps: w.apps, since: w.since}
		again.begin()
		return func(line []byte) *supervisor.HealthIssue {
			if c := hear(line); c != nil || again.started() {
				return c
			}
			f, ok := again.read(line)
			if !ok || f.Kind != tomcat.ContextFailed && f.Kind != tomcat.DeployFailed {
				return nil
			}
			needed := again.needs(f.Context)
			return &supervisor.HealthIssue{Kind: "application " + f.Context, Cause: incident.CauseDegraded, Text: f.String(),
				Unhealthy: needed, Degraded: !needed, Detail: func(ctx context.Context) string { return again.failureCause(ctx, f) }}
		}
	}
}

// writtenOption returns a rejected option as it was written, and its source.
func (w *tomcatWatch) writtenOption(refused string) string {
	for _, o := range rejectedBy(w.options, hotspot.StartupError{Option: refused}) {
		if o.Source != "" {
			return o.String() + " (" + o.Source + ")"
		}
	}
	return refused
}

// explain describes the failed start: what failed, why, and in which file and line. An application that is not needed is not the reason.
func (w *tomcatWatch) explain(ctx context.Context) string {
	w.mu.Lock()
	findings := w.watch.Findings()
	w.mu.Unlock()
	worst, ok := tomcat.Worst(slices.DeleteFunc(findings, func(f tomcat.Finding) bool {
		return (f.Kind == tomcat.ContextFailed || f.Kind == tomcat.DeployFailed) && !w.needs(f.Context)
	}))
	switch {
	case !ok && w.serverErr != nil && !w.started():
		return w.serverErr.Error()
	case !ok:
		return ""
	}
	switch worst.Kind {
	case tomcat.JVMOption:
		worst.Option = w.writtenOption(worst.Option)
	case tomcat.ConnectorFailed:
		if who := proc.PortHolder(worst.Port); worst.Port > 0 && who != "" {
			return worst.String() + "; the port is held by another process" + who
		}
	case tomcat.ContextFailed, tomcat.DeployFailed:
		return w.failureCause(ctx, worst)
	}
	return worst.String()
}

// failureCause returns the cause of an application failure. Tomcat writes it after the failure line, or to a log file a moment later.
func (w *tomcatWatch) failureCause(ctx context.Context, f tomcat.Finding) string {
	w.mu.Lock()
	for _, now := range w.watch.Findings() {
		if now.Kind == f.Kind && now.Context == f.Context {
			f = now
		}
	}
	w.mu.Unlock()
	for {
		found, ok, err := w.patterns.FindCause(w.base, f, w.since)
		if ok {
			return found.String()
		}
		select {
		case <-time.After(100 * time.Millisecond):
			if err == nil {
				continue
			}
		case <-ctx.Done():
		}
		return f.String()
	}
}
