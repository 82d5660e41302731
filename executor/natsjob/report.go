package natsjob

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

// follow reports the states of a job. A further delivery only replaces the earlier one.
func (a *Adapter) follow(ctx context.Context, id executor.ID, from origin) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.jobs[id]; o != nil {
		*o = from
		return
	}
	a.jobs[id] = &from
	a.work.Go(func() { // ends when the end of the job is reported, or with ctx
		err := a.report(ctx, id)
		if err != nil && ctx.Err() == nil {
			a.opts.Log.Warn("NATS: the end of a job is not noted as reported", "job", id, "error", err)
		}
	})
}

// report waits for the end of a job and reports it, until a server has it.
func (a *Adapter) report(ctx context.Context, id executor.ID) error {
	job, err := a.await(ctx, id)
	for pause := leastPause; err == nil; pause = min(2*pause, reportPause) {
		if err = a.reportEnd(ctx, &job); err == nil {
			break
		}
		a.opts.Log.Debug("NATS: the end of a job is not reported yet", "job", id, "error", err)
		err = wait(ctx, pause)
	}
	if err == nil {
		err = a.opts.Executor.Reported(id)
	}
	a.mu.Lock()
	delete(a.jobs, id)
	a.mu.Unlock()
	return err
}

// await waits for the end of a job, and publishes its states until then.
func (a *Adapter) await(ctx context.Context, id executor.ID) (executor.Job, error) {
	last := ""
	for {
		job, err := a.opts.Executor.AwaitJob(ctx, id, func(job executor.Job) {
			now := fmt.Sprint(job.State, job.Attempt)
			if now != last && a.opts.Config.States != "" {
				_ = a.send(a.opts.Config.States, &job, a.nc.PublishMsg) // the next one may come through
			}
			last = now
		})
		if err == nil || errors.Is(err, executor.ErrNoJob) {
			return job, err
		}
		if err := wait(ctx, mostPause); err != nil { // the journal cannot be used
			return job, err
		}
	}
}

// wait returns an error if ctx is done before the time is over.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// reportEnd publishes the result of a job, and then acknowledges its message.
func (a *Adapter) reportEnd(ctx context.Context, job *executor.Job) error {
	ctx, cancel := context.WithTimeout(ctx, reportPause)
	defer cancel()
	if err := a.publishResult(ctx, job, job.Spec.Key+"/"+job.ID.String()); err != nil {
		return err
	}
	a.mu.Lock()
	known := time.Since(a.looked) < madeAge
	a.mu.Unlock()
	if !known {
		if _, err := a.stream(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	from, made := *a.jobs[job.ID], a.made
	a.mu.Unlock()
	if !made.Equal(from.Made) {
		return nil // its message is gone, and another one has its number
	}
	return a.confirm(ctx, from.Reply, "+ACK")
}

// madeAge is how long the time when the stream was made is believed.
const madeAge = time.Second

// publishResult publishes a final state. A second one with the same ID is dropped by the stream, within its window.
func (a *Adapter) publishResult(ctx context.Context, job *executor.Job, id string) error {
	if a.opts.Config.Results == "" {
		return nil
	}
	err := a.send(a.opts.Config.Results, job, func(m *nats.Msg) error {
		_, err := a.js.PublishMsg(ctx, m, jetstream.WithMsgID(id))
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot publish a result: %w", err)
	}
	return nil
}

// send publishes a state of a job; one that is too large without what may be large.
func (a *Adapter) send(subject string, job *executor.Job, publish func(*nats.Msg) error) error {
	err := publish(a.message(subject, job))
	if !errors.Is(err, nats.ErrMaxPayload) && !errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
		return err
	}
	small := *job
	small.Spec.Command, small.Spec.Labels, small.Spec.Artifacts, small.Artifacts = nil, nil, nil, nil
	small.Spec.Tracestate, small.Spec.Baggage = "", ""
	small.Notes = append(slices.Clip(job.Notes), "too large for a message: command, labels, artifacts, tracestate and baggage are left out")
	return publish(a.message(subject, &small))
}

// message has a state of a job, without what may be secret or large.
func (a *Adapter) message(subject string, job *executor.Job) *nats.Msg {
	shown := *job
	shown.Spec.Env, shown.Spec.Stdin, shown.Origin = nil, nil, executor.Origin{}
	m := nats.NewMsg(subject)
	for name, value := range map[string]string{
		jobHeader: job.ID.String(), keyHeader: job.Spec.Key, stateHeader: string(job.State),
		containerHeader: a.opts.Host, labelsHeader: a.labels,
		traceparentHeader: job.Spec.Traceparent, tracestateHeader: job.Spec.Tracestate, baggageHeader: job.Spec.Baggage,
	} {
		if value != "" {
			m.Header.Set(name, value)
		}
	}
	m.Data, _ = json.Marshal(shown) // it came from JSON
	return m
}

// keepInProgress tells the servers that the jobs go on, so that no other container gets their messages.
func (a *Adapter) keepInProgress(ctx context.Context) {
	for done := error(nil); done == nil; {
		a.mu.Lock()
		every := cmp.Or(a.terms.progress, leastAckWait/3) // the consumer may not be known yet
		var replies []string
		for _, from := range a.jobs {
			if a.made.IsZero() || a.made.Equal(from.Made) {
				replies = append(replies, from.Reply)
			}
		}
		a.mu.Unlock()
		if a.nc.IsConnected() {
			for _, reply := range replies {
				_ = a.nc.Publish(reply, []byte("+WPI")) // the next one may come through
			}
		}
		done = wait(ctx, every)
	}
}

// cancel stops the job that a message names by ID or "key:KEY". Of a container that does not have it there is no answer.
func (a *Adapter) cancel(ctx context.Context, m *nats.Msg) {
	job, err := a.opts.Executor.Job(strings.TrimSpace(string(m.Data)))
	if err != nil || job.Origin.Engine != Engine {
		return
	}
	job, why := a.opts.Executor.StopJob(ctx, job.ID, executor.StopRequest{By: Engine})
	if m.Reply == "" || ctx.Err() != nil {
		return
	}
	err = a.send(m.Reply, &job, func(reply *nats.Msg) error {
		if why != nil && !errors.Is(why, executor.ErrFinal) {
			reply.Data = []byte(oneLine(why))
		}
		return m.RespondMsg(reply)
	})
	if err != nil {
		a.opts.Log.Warn("NATS: cannot answer a request to stop a job", "job", job.ID, "error", err)
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
