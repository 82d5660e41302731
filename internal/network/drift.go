package network

import (
	"context"
	"maps"
	"net"
	"slices"
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
	driftSettle = time.Second           // from a notification to the comparison: programs change several things in a row
	driftLook   = 10 * time.Millisecond // between two looks at the links
	driftCalm   = 30 * time.Second      // a repair that lasts so long ends the back-off
	driftPause  = time.Minute           // the longest back-off
	driftReason = 1024                  // bytes of the differences in an event
	staleWait   = 2 * time.Second       // for a description in place of the last good one: repairs wait meanwhile
)

// repairBrake spaces the repairs of the same differences: up to a minute while they fail or do not last. The second repair does not wait
// longer than for driftSettle: that a link was down for a moment may not be seen.
type repairBrake map[string]spacing

type spacing struct {
	next  time.Time // not before
	pause time.Duration
}

// used records a repair of differences, and returns the time to the next.
func (b repairBrake) used(differences string) time.Duration {
	now := time.Now()
	maps.DeleteFunc(b, func(_ string, s spacing) bool { return now.Sub(s.next) >= driftCalm })
	pause := min(max(2*b[differences].pause, driftSettle/2), driftPause)
	b[differences] = spacing{now.Add(pause), pause}
	return pause
}

// keep compares the network with what was applied, regularly and after changes, until ctx ends. Where the last attempt to configure it
// has failed (pending), or the last good description was used, it is repeated. at once: the first comparison does not wait.
func (w *worker) keep(ctx context.Context, pending, atOnce bool) {
	drift := w.cfg.Drift
	w.changed = w.watch(ctx)
	attempt := time.Now().Add(drift.Every)
	wait := drift.Every
	if atOnce {
		wait = 0
	}
	for pending || w.stale() || drift.Then != ignoreDrift {
		if w.idle(ctx, wait); ctx.Err() != nil {
			return
		}
		if (pending || w.stale()) && !time.Now().Before(attempt) {
			w.awaited = false
			pending = w.configureNow(ctx, w.stale()) != nil
			attempt = time.Now().Add(drift.Every)
		}
		if wait = drift.Every; pending || w.stale() {
			wait = max(time.Until(attempt), 0)
		}
		if drift.Then != ignoreDrift {
			if again := w.check(ctx); !again.IsZero() {
				wait = max(min(wait, time.Until(again)), 0)
			}
		}
	}
}

// stale reports whether the last good description was applied.
func (w *worker) stale() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status.Stale != ""
}

// idle waits for the next comparison, and notes whether a link goes down or away meanwhile.
func (w *worker) idle(ctx context.Context, wait time.Duration) {
	up, over, settles := w.upLinks(), time.After(wait), false
	changed, pause := w.changed, (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-pause:
			changed = w.changed
		case _, open := <-changed:
			if !open {
				w.changed = nil
			}
			if !settles {
				settles, over = true, time.After(driftSettle)
			}
			now := w.upLinks()
			w.went = w.went || slices.ContainsFunc(up, func(index int) bool { return !slices.Contains(now, index) })
			up, changed, pause = now, nil, time.After(driftLook)
		}
	}
}

// upLinks returns the indexes of the links that are up.
func (w *worker) upLinks() (up []int) {
	links, err := w.tools.links()
	if err != nil {
		w.log.Debug("cannot see whether a link goes down", "error", err)
	}
	for _, l := range links {
		if l.Flags&net.FlagUp != 0 {
			up = append(up, l.Index)
		}
	}
	return up
}

// watch returns the notifications of the kernel; nil: there are none.
func (w *worker) watch(ctx context.Context) <-chan struct{} {
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
func (w *worker) plan() *netinit.Plan {
	if w.cfg.StateDir == "" {
		return w.applied
	}
	record, err := w.tools.record(w.cfg.StateDir)
	w.cannotCompare(err)
	if record == nil || w.before(record.Time) {
		return w.applied
	}
	return record.Plan
}

// before reports whether something was applied before this container, which has applied nothing yet.
func (w *worker) before(applied time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status.Applied == nil && applied.Before(w.began)
}

// cannotCompare logs why the network cannot be compared, once.
func (w *worker) cannotCompare(err error) {
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
func (w *worker) check(ctx context.Context) (again time.Time) {
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
	down := slices.ContainsFunc(found, func(c kernel.Change) bool { return c.Object == "link" && c.Detail == "up" })
	if w.went && !down { // the kernel has removed what the link had
		clear(w.brake)
		w.went = false
	}
	switch repair := w.cfg.Drift.Then == repairDrift; {
	case text == "", !repair && text == w.published:
		return again
	case time.Now().Before(w.brake[text].next):
		return w.brake[text].next
	case repair:
		return w.repair(ctx, plan, text)
	}
	w.brake.used(text)
	w.log.Warn("the network differs from what was applied", "needs", redact.Clip(text, driftReason))
	w.publish(text, "needs: ")
	return again
}

// repair applies the plan again.
func (w *worker) repair(ctx context.Context, plan *netinit.Plan, text string) (again time.Time) {
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
	w.went = false
	pause := w.brake.used(text)
	if err != nil {
		w.unrepaired = "cannot repair the network: " + explain(err)
		w.set(func(s *api.NetworkStatus) { s.RepairFailures++ })
		if result != nil { // a part is repaired
			w.announce(result)
		}
		if text != w.published {
			w.log.Error("the network differs from what was applied, and cannot be repaired", "needs", redact.Clip(text, driftReason),
				"error", explain(err))
			w.publish(text, w.unrepaired+"; needs: ")
		}
		return w.brake[text].next
	}
	w.unrepaired = ""
	w.set(func(s *api.NetworkStatus) { s.Repairs, s.Differences = s.Repairs+1, nil })
	w.warn(result.Warnings)
	w.announce(result)
	changes := strings.Join(changeTexts(result.Changes), "; ")
	w.log.Warn("the network differed from what was applied, and is repaired", "changes", redact.Clip(changes, driftReason))
	w.publish(changes, "repaired: ")
	w.published = ""
	if pause > driftSettle {
		w.log.Warn("the network does not stay as it was applied: another program changes it too", "next_repair_in", pause)
	}
	return again
}

// publish publishes the event of differences.
func (w *worker) publish(differences, outcome string) {
	w.published = differences
	w.drifted(redact.Clip(outcome+differences, driftReason))
}

// changeTexts describes what would be changed.
func changeTexts(list []kernel.Change) (out []string) {
	for _, c := range list {
		text := c.String()
		if c.Verb == "add" && c.Object == "link" && strings.HasPrefix(c.Detail, "there is none ") {
			text = "link " + c.Link + ": " + c.Detail // it appears by itself
		}
		out = append(out, text)
	}
	return out
}
