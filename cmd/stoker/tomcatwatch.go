package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/hotspot"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/tomcat"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// tomcatWatch reads one start of a Tomcat.
type tomcatWatch struct {
	patterns *tomcat.Patterns
	base     string
	wanted   []string     // context paths; empty: all
	options  []jvm.Option // that the JVM was given
	since    time.Time
	next     func([]byte) supervisor.Observation // the line that readiness waits for; nil: none

	mu    sync.Mutex // guards watch
	watch *tomcat.Watch
}

// line looks at one line of output.
func (w *tomcatWatch) line(line []byte) supervisor.Observation {
	w.mu.Lock()
	f, ok := w.watch.Line(string(line))
	w.mu.Unlock()
	var o supervisor.Observation
	if w.next != nil {
		o = w.next(line)
	}
	if !ok {
		return o
	}
	switch f.Kind {
	case tomcat.ContextFailed, tomcat.DeployFailed:
		if w.wants(f.Context) {
			o.Failed = f.String()
		}
	case tomcat.ConnectorFailed, tomcat.ServerFailed, tomcat.ConfigError:
		o.Failed = f.String()
	}
	return o
}

// wants says whether an application must be deployed.
func (w *tomcatWatch) wants(context string) bool {
	return len(w.wanted) == 0 || slices.ContainsFunc(w.wanted, func(c string) bool {
		return "/"+strings.Trim(c, "/") == "/"+strings.Trim(context, "/")
	})
}

// given is a refused option as it was written, and where.
func (w *tomcatWatch) given(refused string) string {
	for _, o := range blamed(w.options, hotspot.Refusal{Option: refused}) {
		if o.Source != "" {
			return o.String() + " (" + o.Source + ")"
		}
	}
	return refused
}

// explain gives the operator's line: what failed, why, in which file and line.
// Tomcat writes the cause of a failed application to a log file of its own, a
// moment later.
func (w *tomcatWatch) explain(ctx context.Context) string {
	w.mu.Lock()
	worst, ok := tomcat.Worst(w.watch.Findings())
	w.mu.Unlock()
	if !ok {
		return ""
	}
	switch worst.Kind {
	case tomcat.JVMOption:
		worst.Option = w.given(worst.Option)
	case tomcat.ConnectorFailed:
		if who := proc.PortHolder(worst.Port); worst.Port > 0 && who != "" {
			return worst.String() + "; the port is held by another process" + who
		}
	}
	if worst.Kind != tomcat.ContextFailed && worst.Kind != tomcat.DeployFailed {
		return worst.String()
	}
	for {
		found, ok, err := w.patterns.FindCause(w.base, worst, w.since)
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
		return worst.String()
	}
}
