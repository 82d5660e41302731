package launch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// watchSettings is what the reading of Tomcat's output depends on.
type watchSettings struct {
	patterns  *tomcat.Patterns
	base      string
	wanted    []string     // context paths that must be deployed
	probed    string       // the path of ready.http; empty: none
	apps      []string     // known context paths that Tomcat deploys
	options   []jvm.Option // given to the JVM
	since     time.Time
	serverErr error // why server.xml is unreadable; nil: it was read
	holder    func(port int) string
}

// tomcatWatch reads the output of one start of Tomcat.
type tomcatWatch struct {
	watchSettings
	mu     sync.Mutex // guards the fields below
	output *tomcat.OutputReader
	failed []string // contexts
}

func newTomcatWatch(s watchSettings) *tomcatWatch {
	return &tomcatWatch{watchSettings: s, output: tomcat.NewOutputReader(s.patterns)}
}

// line returns why Tomcat will not become ready, if an output line says so.
func (w *tomcatWatch) line(line []byte) (failure string) {
	f, ok := w.read(line)
	if ok && (isApplication(f) && w.needs(f.Context) ||
		f.Kind == tomcat.ConnectorFailed || f.Kind == tomcat.ServerFailed || f.Kind == tomcat.ConfigError) {
		return f.String()
	}
	return ""
}

// isApplication reports whether a finding is the failure of an application.
func isApplication(f tomcat.Finding) bool {
	return f.Kind == tomcat.ContextFailed || f.Kind == tomcat.DeployFailed
}

// read parses the next line.
func (w *tomcatWatch) read(line []byte) (tomcat.Finding, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, ok := w.output.Line(string(line))
	if ok && isApplication(f) {
		w.failed = append(w.failed, tomcat.ContextOf(f.Context))
	}
	return f, ok
}

// started reports whether Tomcat has printed its startup message.
func (w *tomcatWatch) started() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.output.Started()
}

// needs reports whether the failure of an application fails the service: it is wanted, or ready.http is in it, or none are wanted and no
// other is known to work. An application with an unknown name may be any of these.
func (w *tomcatWatch) needs(context string) bool {
	if context == "" {
		return true
	}
	context = tomcat.ContextOf(context)
	switch {
	case slices.ContainsFunc(w.wanted, func(wanted string) bool { return tomcat.ContextOf(wanted) == context }),
		w.probed != "" && w.serving(w.probed, context) == context:
		return true
	case len(w.wanted) > 0:
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
		read := before()
		again := newTomcatWatch(w.watchSettings)
		return func(line []byte) *supervisor.HealthIssue {
			if c := read(line); c != nil || again.started() {
				return c
			}
			f, ok := again.read(line)
			if !ok || !isApplication(f) {
				return nil
			}
			needed := again.needs(f.Context)
			return &supervisor.HealthIssue{Kind: "application " + f.Context, Cause: incident.CauseDegraded, Text: f.String(),
				Unhealthy: needed, Degraded: !needed, Detail: func(ctx context.Context) string { return again.failureCause(ctx, f) }}
		}
	}
}

// explain describes the failed start: what failed, why, and in which file and line. An application that is not needed is not the reason.
func (w *tomcatWatch) explain(ctx context.Context) string {
	w.mu.Lock()
	findings := w.output.Findings()
	w.mu.Unlock()
	worst, ok := tomcat.Worst(slices.DeleteFunc(findings, func(f tomcat.Finding) bool {
		return isApplication(f) && !w.needs(f.Context)
	}))
	switch {
	case !ok && w.serverErr != nil && !w.started():
		return w.serverErr.Error()
	case !ok:
		return ""
	}
	switch worst.Kind {
	case tomcat.JVMOption:
		for _, o := range rejectedBy(w.options, hotspot.StartupError{Option: worst.Option}) {
			if o.Source != "" {
				worst.Option = o.String() + " (" + o.Source + ")"
				break
			}
		}
	case tomcat.ConnectorFailed:
		if held := w.holder(worst.Port); worst.Port > 0 && held != "" {
			return worst.String() + "; the port " + held
		}
	case tomcat.ContextFailed, tomcat.DeployFailed:
		return w.failureCause(ctx, worst)
	}
	return worst.String()
}

// failureCause returns the cause of an application failure. Tomcat writes it after the failure line, or to a log file a moment later.
func (w *tomcatWatch) failureCause(ctx context.Context, f tomcat.Finding) string {
	w.mu.Lock()
	for _, now := range w.output.Findings() {
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

// watchTomcatLogs reads the log files of Tomcat for exceptions of its applications.
func watchTomcatLogs(base string) func(context.Context, func(*supervisor.HealthIssue)) {
	return func(ctx context.Context, report func(*supervisor.HealthIssue)) {
		read := watchOutput()
		tomcat.FollowLogs(ctx, base, func(line []byte) {
			if c := read(line); c != nil {
				report(c)
			}
		})
	}
}
