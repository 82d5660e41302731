package daemon

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
)

// journal tells the journal of events what has happened, in its words.
type journal struct{ events *events.Journal }

// newJournal goes on with that of an earlier supervisor.
func newJournal(m *proc.Manager, rec *proc.Recovered, log hclog.Logger) *journal {
	return &journal{events.Resume(m.FDStore(), rec.Items, rec.Starts <= 1, func(text string) { log.Warn(text) })}
}

// occurred appends what happened to a service or the container.
func (j *journal) occurred(o lifecycle.Occurrence) {
	j.events.Append(events.Event{Kind: string(o.Event), Service: o.Service, Start: o.Start, Pid: o.Pid, Code: o.ExitCode, Signal: o.Signal,
		OOM: o.OOM, Expected: o.Expected, Reason: o.Reason, Time: o.At})
}

// hooks are those of an occasion, as they ended.
func (j *journal) hooks(o lifecycle.Occurrence, outcomes []hooks.Outcome) {
	for _, out := range outcomes {
		j.events.Append(events.Event{Kind: events.KindHook, Service: o.Service, Start: o.Start, Hook: &events.Hook{
			Event: string(o.Event), Name: out.Hook, Plugin: out.Plugin, Moment: o.At, OK: out.OK, Why: out.Why,
			Tries: out.Tries, Code: out.Code, Took: out.Took, Output: out.Output, Annotations: out.Given.Annotations}})
	}
}

// plugin has another state: inactive, active or failed.
func (j *journal) plugin(name, state, reason string) {
	j.events.Append(events.Event{Kind: events.KindPlugin, Plugin: name, State: state, Reason: reason})
}

// reloaded is what a reload came to; one that changed nothing is no event.
func (j *journal) reloaded(by string, done api.ReloadResult, err error) {
	e := events.Event{Kind: events.KindConfig, By: by, Changes: done.Changes, State: "in force"}
	switch {
	case err != nil:
		e.State, e.Reason = "refused", err.Error()
	case len(done.Changes) == 0:
		return
	}
	j.events.Append(e)
}

// stopping is the beginning of the container's end.
func (j *journal) stopping(why string, budget time.Duration) {
	j.events.Append(events.Event{Kind: events.KindContainer, State: "stopping",
		Reason: fmt.Sprintf("%s; the budget is %v", why, budget.Round(10*time.Millisecond))})
}
