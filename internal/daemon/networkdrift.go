package daemon

import (
	"context"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
)

// Values of netinit.drift.then that matter here; the third is report.
const (
	repairDrift = "repair"
	ignoreDrift = "ignore"
)

// Times of the comparison.
const (
	driftSettle = time.Second      // from a notification to the comparison: programs change several things in a row
	driftCalm   = 30 * time.Second // a repair that lasts so long ends the back-off
	driftPause  = time.Minute      // the longest back-off
	driftReason = 1024             // bytes of the differences in an event
)

// repairBrake spaces repairs: by a second, and up to a minute while they fail or do not last.
type repairBrake struct {
	next  time.Time // not before
	pause time.Duration
}

// used records a repair, and reports whether the brake works.
func (b *repairBrake) used(now time.Time, failed bool) bool {
	if failed || now.Sub(b.next) < driftCalm {
		b.pause = min(max(2*b.pause, time.Second), driftPause)
	} else {
		b.pause = time.Second
	}
	b.next = now.Add(b.pause)
	return b.pause > time.Second
}

// keep compares the network with what was applied, regularly and after changes, until ctx ends. Where the last attempt to configure it
// has failed (pending), it is repeated. at once: the first comparison does not wait.
func (w *networkWorker) keep(ctx context.Context, pending, atOnce bool) {
	drift := w.cfg.Drift
	changed := w.watch(ctx)
	attempt := time.Now().Add(drift.Every)
	wait := drift.Every
	if atOnce {
		wait = 0
	}
	for pending || drift.Then != ignoreDrift {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case _, open := <-changed:
			if !open {
				changed = nil
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(driftSettle):
			}
		}
		if pending && !time.Now().Before(attempt) {
			w.awaited = false
			pending = w.configureNow(ctx) != nil
			attempt = time.Now().Add(drift.Every)
		}
		if wait = drift.Every; pending {
			wait = max(time.Until(attempt), 0)
		}
		if drift.Then != ignoreDrift {
			if again := w.check(ctx); !again.IsZero() {
				wait = max(min(wait, time.Until(again)), 0)
			}
		}
	}
}

// watch returns the notifications of the kernel; nil: there are none.
func (w *networkWorker) watch(ctx context.Context) <-chan struct{} {
	if w.cfg.Drift.Then == ignoreDrift {
		return nil
	}
	changed, err := w.tools.watch(ctx)
	if err != nil {
		w.log.Warn("changes of the network are not noticed at once", "compared_every", w.cfg.Drift.Every, "error", err)
	}
	return changed
}

// plan returns what was applied in this network namespace, also by hand; nil: nothing, or it is unknown.
func (w *networkWorker) plan() *netinit.Plan {
	if w.cfg.StateDir == "" {
		return w.applied
	}
	record, err := w.tools.record(w.cfg.StateDir)
	w.cannotCompare(err)
	if record == nil {
		return w.applied
	}
	return record.Plan
}

// cannotCompare logs why the network cannot be compared, once.
func (w *networkWorker) cannotCompare(err error) {
	why := ""
	if err != nil {
		why = "cannot compare the network with what was applied: " + err.Error()
	}
	if why != "" && why != w.unknown {
		w.log.Error(why)
	}
	w.unknown = why
}

// check compares the network with what was applied, and repairs or reports the differences. again is when that must be done again;
// zero: at the usual time.
func (w *networkWorker) check(ctx context.Context) (again time.Time) {
	plan := w.plan()
	if plan == nil {
		w.set(func(*api.NetworkStatus) {}) // shows the error, if there is one
		return again
	}
	found, err := w.tools.compare(plan, w.options)
	w.cannotCompare(err)
	if err != nil {
		w.set(func(*api.NetworkStatus) {})
		return again
	}
	list := changeTexts(found)
	if len(list) == 0 {
		if w.published != "" {
			w.log.Info("the network is again what was applied")
		}
		w.published, w.unrepaired = "", ""
	}
	w.set(func(s *api.NetworkStatus) { s.Differences = list })
	text := strings.Join(list, "; ")
	switch repair := w.cfg.Drift.Then == repairDrift; {
	case text == "", !repair && text == w.published:
		return again
	case time.Now().Before(w.brake.next):
		return w.brake.next
	case repair:
		return w.repair(ctx, plan, text)
	}
	w.brake.used(time.Now(), false)
	w.log.Warn("the network differs from what was applied", "needs", redact.Clip(text, driftReason))
	w.publish(text, "needs: ")
	return again
}

// repair applies the plan again.
func (w *networkWorker) repair(ctx context.Context, plan *netinit.Plan, text string) (again time.Time) {
	limited, cancel := context.WithTimeout(ctx, w.cfg.Wait)
	defer cancel()
	options := w.options
	options.Repair = true
	result, err := w.tools.apply(limited, plan, options)
	if ctx.Err() != nil {
		return again
	}
	if err == nil && len(result.Changes) == 0 { // another program was about to change it
		w.published, w.unrepaired = "", ""
		w.set(func(s *api.NetworkStatus) { s.Differences = nil })
		return again
	}
	braked := w.brake.used(time.Now(), err != nil)
	if err != nil {
		w.unrepaired = "cannot repair the network: " + explain(err)
		w.set(func(s *api.NetworkStatus) { s.RepairFailures++ })
		if text != w.published {
			w.log.Error("the network differs from what was applied, and cannot be repaired", "needs", redact.Clip(text, driftReason),
				"error", explain(err))
			w.publish(text, w.unrepaired+"; needs: ")
		}
		return w.brake.next
	}
	w.unrepaired = ""
	w.set(func(s *api.NetworkStatus) { s.Repairs, s.Differences = s.Repairs+1, nil })
	w.warn(result.Warnings)
	w.announce(result)
	w.log.Warn("the network differed from what was applied, and is repaired", "changes", redact.Clip(text, driftReason))
	w.publish(text, "repaired: ")
	w.published = ""
	if braked {
		w.log.Warn("the network does not stay as it was applied: another program changes it too", "next_repair_in", w.brake.pause)
	}
	return again
}

// publish publishes the event of differences.
func (w *networkWorker) publish(differences, outcome string) {
	w.published = differences
	w.drifted(redact.Clip(outcome+differences, driftReason))
}

// changeTexts describes what would be changed.
func changeTexts(list []kernel.Change) (out []string) {
	for _, c := range list {
		out = append(out, c.String())
	}
	return out
}
