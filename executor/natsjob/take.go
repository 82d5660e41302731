package natsjob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

// take pulls messages until ctx is done, there is an error, or it is time to look at the consumer again. A pull is for one message and
// lasts until it is submitted, and there are never more pulls than free slots: another one is made when the container has become emptier
// than the last one says. Pulls that are left over end by themselves, since a server cannot take one back without a risk for a message.
func (a *Adapter) take(ctx, inner context.Context, c jetstream.Consumer) error {
	ended, left := make(chan error), make(chan struct{})
	defer close(left)
	again := time.NewTimer(checkEvery)
	defer again.Stop()
	connects := a.nc.Stats().Reconnects
	for count, best := 0, uint8(lowest+1); ; {
		free, changed := a.opts.Executor.Free()
		if p := a.priority(free); count < free && p < best {
			count, best = count+1, p
			a.work.Go(func() { // ends with inner, or with the time of the pull
				select {
				case ended <- a.pull(inner, c, p):
				case <-left:
				}
			})
		}
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			count, best = count-1, lowest+1
		case <-changed:
		case <-a.awake:
			if a.nc.Stats().Reconnects != connects {
				return nil
			}
		case <-again.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// priority is that of a pull now: 0 is the highest.
func (a *Adapter) priority(free int) uint8 {
	a.mu.Lock()
	ranked := a.terms.ranked
	a.mu.Unlock()
	if !ranked {
		return 0
	}
	if now := time.Now(); now.Sub(a.room.read) > roomAge {
		a.room.read, a.room.slots = now, a.opts.Executor.ExecutorStatus().Slots
		if a.opts.Memory != nil {
			a.room.used, a.room.limit = a.opts.Memory()
		}
	}
	return priority(free, a.room.slots, a.room.used, a.room.limit)
}

// roomAge is how long the slots and the memory that were read are believed.
const roomAge = time.Second

// pull asks for one message and submits it.
func (a *Adapter) pull(ctx context.Context, c jetstream.Consumer, p uint8) error {
	a.mu.Lock()
	t := a.terms
	a.mu.Unlock()
	options := []jetstream.FetchOpt{jetstream.FetchMaxWait(t.pull)}
	if t.group != "" {
		options = append(options, jetstream.FetchPriorityGroup(t.group))
	}
	if t.ranked {
		options = append(options, jetstream.FetchPrioritized(p))
	}
	batch, err := c.Fetch(1, options...)
	if err != nil {
		return err
	}
	select {
	case msg := <-batch.Messages():
		if msg != nil {
			a.handle(ctx, msg)
		}
	case <-ctx.Done():
		return nil
	}
	switch err = batch.Error(); {
	case errors.Is(err, jetstream.ErrConsumerLeadershipChanged), errors.Is(err, jetstream.ErrServerShutdown):
		return nil // the next pull goes to another server
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "maxwaiting"):
		return fmt.Errorf("max_waiting of the consumer must be twice the number of containers: %w", err)
	}
	return err
}

// handle submits a message, or says why not.
func (a *Adapter) handle(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		a.opts.Log.Warn("NATS: a message is not of a stream", "subject", msg.Subject(), "error", err)
		return
	}
	if header(msg.Headers(), targetHeader) != "" { // the server makes messages of it, and needs it
		a.opts.Log.Warn("NATS: a schedule is no job: the filter of the consumer must not match its subject", "subject", msg.Subject())
		a.giveBack(msg, scheduleDelay)
		return
	}
	a.mu.Lock()
	from := origin{Reply: msg.Reply(), Made: a.made}
	a.mu.Unlock()
	data, err := json.Marshal(from)
	spec, wrong := specOf(msg.Data(), msg.Headers(), meta, time.Now())
	have, unknown := a.opts.Executor.Job("key:" + spec.Key)
	known := unknown == nil
	if !known && !errors.Is(unknown, executor.ErrNoJob) {
		return // its job may run here, and is in progress then; else it comes again after AckWait
	}
	if !known && a.notNow(msg, &spec, wrong) {
		return
	}
	if err == nil && wrong == nil {
		if header(msg.Headers(), ttlHeader) != "" && have.Spec.StartWithin > 0 {
			spec.StartWithin = have.Spec.StartWithin // what was left then
		}
		var job executor.Job
		job, _, err = a.opts.Executor.SubmitFrom(ctx, spec, Engine, executor.Origin{Engine: Engine, Data: string(data)})
		if err == nil {
			a.follow(ctx, job.ID, from)
			return
		}
	}
	var fields *executor.SpecError
	var conflict *executor.ConflictError
	var full *executor.FullError
	switch {
	case wrong != nil:
		a.reject(ctx, msg, placeOf(meta), spec, wrong)
	case errors.As(err, &fields), errors.As(err, &conflict):
		a.reject(ctx, msg, placeOf(meta), spec, err)
	case known: // no other container may start it
	case errors.As(err, &full):
		a.giveBack(msg, full.RetryAfter)
	default:
		a.giveBack(msg, refusedDelay)
	}
}

// notNow gives a message of a new job back if it cannot start now.
func (a *Adapter) notNow(msg jetstream.Msg, spec *executor.Spec, wrong error) bool {
	if free, _ := a.opts.Executor.Free(); free < 1 { // jobs from elsewhere were faster
		a.giveBack(msg, 0)
		return true
	}
	if until := time.Until(spec.NotBefore); wrong == nil && until > 0 {
		a.giveBack(msg, until) // the stream keeps it, for whoever lives then
		return true
	}
	return false
}

// Delays of messages that are given back.
const (
	scheduleDelay = time.Hour
	refusedDelay  = 5 * time.Second // the executor is drained or not available, and takes nothing more
)

// giveBack lets another container have a message, or this one later.
func (a *Adapter) giveBack(msg jetstream.Msg, delay time.Duration) {
	if err := msg.NakWithDelay(delay); err != nil { // it comes again after AckWait
		a.opts.Log.Debug("NATS: cannot give a message back", "error", err)
	}
}

// reject ends an invalid message: its result is REJECTED.
func (a *Adapter) reject(ctx context.Context, msg jetstream.Msg, place string, spec executor.Spec, why error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	reason := cut(oneLine(why))
	job := executor.Job{Spec: executor.Spec{Key: cut(spec.Key), Traceparent: cut(header(msg.Headers(), traceparentHeader))},
		State: executor.Rejected, Reason: reason, Ended: time.Now().UTC()}
	err := a.publishResult(ctx, &job, place)
	if err == nil {
		err = a.confirm(ctx, msg.Reply(), "+TERM "+reason)
	}
	a.opts.Log.Warn("NATS: a message is no job", "key", job.Spec.Key, "why", reason, "error", err)
}

// maxText is the largest size of a text in a REJECTED result, in bytes: a message may be nearly all key, or an unknown field.
const maxText = 2000

// cut returns the beginning of a text, as valid UTF-8 of at most maxText bytes.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") // the last character may be half
	}
	return text
}

// confirm sends an acknowledgement and waits until the server has it.
func (a *Adapter) confirm(ctx context.Context, reply, what string) error {
	if _, err := a.nc.RequestWithContext(ctx, reply, []byte(what)); err != nil {
		if errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("cannot acknowledge a message: the consumer is gone: %w", err)
		}
		return fmt.Errorf("cannot acknowledge a message: %w", err)
	}
	return nil
}
