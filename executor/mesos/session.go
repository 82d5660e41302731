package mesos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Times of a subscription.
const (
	// registrationTime is within what time an agent wants to hear from a new executor.
	registrationTime = time.Minute
	// eventTime is the longest time from the request to SUBSCRIBED, and from the first byte of an event to its last.
	eventTime = 30 * time.Second
	// silenceTime is the longest time between two events of an agent that has sent a heartbeat, which comes every 30 minutes.
	silenceTime = 75 * time.Minute
	// lastReports is how long the ends of tasks are reported when the container stops.
	lastReports = time.Second
)

var (
	errSilent = errors.New("the agent is silent")
	errEnded  = errors.New("the stream of events ended")
)

// Run works until ctx ends, the agent shuts the executor down, or is lost.
func (a *Adapter) Run(ctx context.Context) {
	if err := a.o.Environment.err; err != nil {
		a.o.Log.Error("no tasks of Mesos are run", "error", err)
		a.end(ctx, "off: "+err.Error(), nil)
		return
	}
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.leave = cancel
	defer a.agent.client.CloseIdleConnections()
	defer a.watchers.Wait()
	defer cancel()
	a.watchers.Go(func() { // ends with ctx, or with Run
		select {
		case <-ctx.Done():
			time.AfterFunc(lastReports, cancel)
			a.end(live, "the container stops", nil)
			a.leaveIfDone()
		case <-live.Done():
		}
	})
	a.subscribe(live)
}

// leaveIfDone ends the connection once there is nothing more to report.
func (a *Adapter) leaveIfDone() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over != "" && len(a.tasks) == 0 && !a.restoring {
		a.leave()
	}
}

// subscribe subscribes again and again, until ctx ends or the agent is lost.
func (a *Adapter) subscribe(ctx context.Context) {
	env := &a.o.Environment
	since, limit := time.Now(), max(registrationTime, env.Recovery) // of the outage; an earlier supervisor may have been subscribed
	for {
		a.restoreRecent(ctx)
		subscribed, err := a.session(ctx, time.Until(since.Add(limit)))
		if ctx.Err() != nil {
			return
		}
		if a.isOver() { // the agent has nothing more to say to an executor that it has shut down
			return
		}
		if subscribed {
			since, limit = time.Now(), env.Recovery
			if !errors.Is(err, errEnded) { // it was this side that broke it
				limit = max(limit, registrationTime)
			}
		}
		if a.set("not subscribed: " + err.Error()) {
			a.o.Log.Warn("not subscribed at the Mesos agent", "error", err, "until", since.Add(limit).UTC().Format(time.RFC3339))
		}
		var refused *statusError
		final := !subscribed && errors.As(err, &refused) && refused.final() // an update may come when the agent knows the stream as broken
		left := time.Until(since.Add(limit))
		if final || left <= 0 {
			a.lost(ctx, fmt.Sprintf("the agent is lost: %v", err), nil)
			return
		}
		// At least one attempt falls into the time within which the agent wants to hear from its executors.
		if !pause(ctx, min(rand.N(max(env.Backoff/2, time.Millisecond)), left)) {
			return
		}
	}
}

// lost ends all tasks, and the container if that is configured.
func (a *Adapter) lost(ctx context.Context, why string, grace *time.Duration) {
	if a.isOver() {
		return
	}
	if a.o.Config.OnAgentLost == Detach {
		why = "detached: " + why
	}
	a.o.Log.Error("no tasks of Mesos are run any more", "why", why)
	a.end(ctx, why, grace)
	if a.o.Config.OnAgentLost != Detach {
		a.o.Exit(why)
	}
}

// session subscribes and handles events until the stream ends. SUBSCRIBED has to come within a time.
func (a *Adapter) session(ctx context.Context, within time.Duration) (subscribed bool, err error) {
	life := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel(nil)
	guard := time.AfterFunc(min(max(within, time.Second), eventTime), func() { cancel(errSilent) })
	defer guard.Stop()
	body, err := a.agent.subscribe(ctx, a.subscription())
	if err != nil {
		return false, causeOf(ctx, err)
	}
	defer body.Close()
	beats := false
	for stream := bufio.NewReader(body); ; {
		record, err := readRecord(stream, func() { guard.Reset(eventTime) })
		if err != nil {
			return subscribed, causeOf(ctx, fmt.Errorf("%w: %w", errEnded, err))
		}
		var e event
		if err := json.Unmarshal(record, &e); err != nil {
			return subscribed, fmt.Errorf("cannot read an event: %w", err)
		}
		if e.Type == "SUBSCRIBED" && !subscribed {
			subscribed = true
			guard.Stop()
			a.subscribed(life, &e)
			sender.Go(func() { cancel(a.sendUpdates(ctx)) }) // ends with the session, which it ends if the agent does not answer
		}
		if subscribed {
			guard.Stop()
		}
		if err := a.handle(life, &e); err != nil {
			return subscribed, err
		}
		a.leaveIfDone()
		if beats = beats || e.Type == "HEARTBEAT"; beats && subscribed {
			guard.Reset(silenceTime)
		}
	}
}

// causeOf is why ctx has ended, if it has, else err.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// subscription is what the agent has to know of an executor that it may have known before.
func (a *Adapter) subscription() *subscribe {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &subscribe{Tasks: []taskHead{}, Updates: []update{}}
	for _, t := range a.tasks {
		if !t.acknowledged {
			s.Tasks = append(s.Tasks, t.head)
		}
	}
	for _, p := range a.updates {
		p.sent = true
		s.Updates = append(s.Updates, p.update)
	}
	return s
}

func (a *Adapter) subscribed(ctx context.Context, e *event) {
	a.o.Log.Info("subscribed at the Mesos agent", "url", a.o.Environment.URL)
	a.set("subscribed at " + a.o.Environment.URL)
	a.mu.Lock()
	a.can = nil
	for _, c := range e.Subscribed.Framework.Capabilities {
		a.can = append(a.can, c.Type)
	}
	a.mu.Unlock()
	a.restoreAll(ctx)
}

// handle handles an event. Those that it does not know are ignored.
func (a *Adapter) handle(ctx context.Context, e *event) error {
	switch e.Type {
	case "LAUNCH":
		a.launch(ctx, e.Launch.Task)
	case "LAUNCH_GROUP":
		for _, t := range e.Group.Tasks.Tasks {
			a.launch(ctx, t)
		}
	case "KILL":
		a.kill(ctx, e.Kill.Task.Value, e.Kill.Policy)
	case "ACKNOWLEDGED":
		a.acknowledged(e.Acknowledged.Task.Value, e.Acknowledged.UUID)
	case "MESSAGE":
		a.o.Log.Info("a message of the framework is answered with the state of the executor", "bytes", len(e.Message.Data))
		a.mu.Lock()
		a.answer = true
		a.awake()
		a.mu.Unlock()
	case "SHUTDOWN":
		grace := a.o.Environment.ShutdownGrace
		time.AfterFunc(grace, a.leave)
		a.lost(ctx, "the agent shuts the executor down", new(grace/2))
	case "ERROR":
		return fmt.Errorf("the agent reports an error: %.300q", e.Error.Message)
	}
	return nil
}

// sendUpdates sends updates, one after the other, until ctx ends or one cannot be sent. The next subscription repeats them.
func (a *Adapter) sendUpdates(ctx context.Context) error {
	for {
		a.mu.Lock()
		answer := a.answer
		a.answer = false
		var next *pending
		if k := slices.IndexFunc(a.updates, func(p *pending) bool { return !p.sent }); k >= 0 {
			next = a.updates[k]
			next.sent = true
		}
		a.mu.Unlock()
		if answer {
			text, _ := json.Marshal(a.o.State()) // it has no member that could fail
			if err := a.agent.send(ctx, call{Type: "MESSAGE", Message: &message{text}}); err != nil {
				return fmt.Errorf("cannot send a message: %w", err)
			}
		}
		if next != nil {
			if err := a.sendUpdate(ctx, next); err != nil {
				return fmt.Errorf("cannot send an update: %w", err)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.wake:
		}
	}
}

// sendUpdate sends one update. One that the agent calls invalid is dropped: it would make each later subscription fail.
func (a *Adapter) sendUpdate(ctx context.Context, p *pending) error {
	err := a.agent.send(ctx, call{Type: "UPDATE", Update: &p.update})
	var refused *statusError
	if !errors.As(err, &refused) || refused.Code != http.StatusBadRequest {
		return err
	}
	a.o.Log.Error("the agent does not take an update", "task", p.Status.Task.Value, "state", p.Status.State, "error", err)
	a.acknowledged(p.Status.Task.Value, p.Status.UUID)
	return nil
}
