package natsjob

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

// delivery is a message that notes for how long it is given back.
type delivery struct {
	jetstream.Msg
	body  string
	delay time.Duration // negative: it is not given back
}

func (d *delivery) Metadata() (*jetstream.MsgMetadata, error) { return meta(), nil }
func (d *delivery) Headers() nats.Header                      { return nil }
func (d *delivery) Data() []byte                              { return []byte(d.body) }
func (d *delivery) Reply() string                             { return "reply" }
func (d *delivery) NakWithDelay(delay time.Duration) error    { d.delay = delay; return nil }

// refusing is an executor that takes nothing.
type refusing struct {
	Executor
	lookup error // of a job; nil: it is there
	free   int
}

func (r *refusing) Job(string) (executor.Job, error)     { return executor.Job{}, r.lookup }
func (r *refusing) Free() (slots int, _ <-chan struct{}) { return r.free, nil }
func (r *refusing) SubmitFrom(context.Context, executor.Spec, string, executor.Origin) (executor.Job, bool, error) {
	return executor.Job{}, false, errors.New("the disk is gone")
}

// TestGiveBack holds that a message is left to another container only if its job is not here.
func TestGiveBack(t *testing.T) {
	const plain, later = `{"command":["a"]}`, `{"command":["a"],"not_before":"2999-01-01T00:00:00Z"}`
	unknown := errors.New("the journal is gone")
	for name, test := range map[string]struct {
		body     string
		executor refusing
		delay    time.Duration
	}{
		"new, no slot":        {plain, refusing{lookup: executor.ErrNoJob}, 0},
		"new, refused":        {plain, refusing{lookup: executor.ErrNoJob, free: 1}, refusedDelay},
		"here, no slot":       {plain, refusing{}, -1},
		"here, refused":       {plain, refusing{free: 1}, -1},
		"here, clock is back": {later, refusing{free: 1}, -1},
		"unknown, no slot":    {plain, refusing{lookup: unknown}, -1},
		"unknown, a slot":     {plain, refusing{lookup: unknown, free: 1}, -1},
	} {
		msg := &delivery{body: test.body, delay: -1}
		New(Options{Executor: &test.executor, Log: hclog.NewNullLogger()}).handle(t.Context(), msg)
		if msg.delay != test.delay {
			t.Errorf("%s: given back for %v, want %v", name, msg.delay, test.delay)
		}
	}
	msg := &delivery{body: later, delay: -1}
	New(Options{Executor: &refusing{lookup: executor.ErrNoJob, free: 1}, Log: hclog.NewNullLogger()}).handle(t.Context(), msg)
	if msg.delay < time.Hour {
		t.Errorf("a message for later is given back for %v", msg.delay)
	}
}
