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

// journal records events of the container in the event journal.
type journal struct{ events *events.Journal }

// newJournal continues the journal of an earlier supervisor.
func newJournal(m *proc.Manager, rec *proc.Recovered, log hclog.Logger) *journal {
	return &journal{events.Resume(m.FDStore(), rec.Items, rec.Starts <= 1, func(text string) { log.Warn(text) })}
}

// occurred records a lifecycle event of a service or the container.
func (j *journal) occurred(o lifecycle.Occurrence) {
	j.events.Append(events.Event{Kind: string(o.Event), Service: o.Service, Start: o.Start, Pid: o.Pid, Code: o.ExitCode, Signal: o.Signal,
		OOM: o.OOM, Expected: o.Expected, Reason: o.Reason, Time: o.At})
}

// hooks records the results of the hooks of an event.
func (j *journal) hooks(o lifecycle.Occurrence, outcomes []hooks.Outcome) {
	for _, out := range outcomes {
		j.events.Append(events.Event{Kind: events.KindHook, Service: o.Service, Start: o.Start, Hook: &events.Hook{
			Event: string(o.Event), Name: out.Hook, Plugin: out.Plugin, Moment: o.At, OK: out.OK, Why: out.Why,
			Tries: out.Tries, Code: out.Code, Took: out.Took, Output: out.Output, Annotations: out.Given.Annotations}})
	}
}

func (j *journal) plugin(name, state, reason string) {
	j.events.Append(events.Event{Kind: events.KindPlugin, Plugin: name, State: state, Reason: reason})
}

// reloaded records the result of a reload, unless it changed nothing.
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

// stopping records the start of the container's stop.
func (j *journal) stopping(why string, budget time.Duration) {
	j.events.Append(events.Event{Kind: events.KindContainer, State: "stopping",
		Reason: fmt.Sprintf("%s; the budget is %v", why, budget.Round(10*time.Millisecond))})
}
