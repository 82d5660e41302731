package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/jvm"
)

// AppLabel is the label by which a job finds its containers: both have it with the same value, or both have none.
const AppLabel = "appid"

// keyPrefix begins the keys of jobs that were submitted without one.
const keyPrefix = "agent-"

// candidate is a container that may have or get a job.
type candidate struct {
	*container
	asked  time.Time // for the status
	status executor.Status
	has    bool  // a job with the key
	err    error // why nothing more is known of it
}

// placement is a job that was sent to a container.
type placement struct {
	memory   int64     // declared, in bytes
	answered time.Time // zero: not yet
}

// Submit places a job on the container of its application that has the most room. With a key that a container has already it is that
// job; without one it gets a key. Errors are those of an answer.
func (f *Fleet) Submit(ctx context.Context, spec executor.Spec) (job executor.Job, created bool, where string, err error) {
	memory := int64(0)
	if spec.Memory != "" {
		if memory, err = jvm.ParseMemory(spec.Memory); err != nil {
			return job, false, "", &executor.SpecError{Fields: []executor.FieldError{{Field: "memory", Why: err.Error()}}}
		}
	}
	key := spec.Key
	if key == "" {
		spec.Key = keyPrefix + rand.Text()
	} else {
		unlock, err := f.lockKey(ctx, key)
		if err != nil {
			return job, false, "", err
		}
		defer unlock()
	}
	all, err := f.candidates(ctx, spec.Labels[AppLabel], key)
	if err != nil {
		return job, false, "", err
	}
	if k := slices.IndexFunc(all, func(x *candidate) bool { return x.has }); k >= 0 {
		job, created, err = all[k].submit(ctx, spec)
		return job, created, all[k].name, answerOf(all[k], spec.Key, err)
	}
	able := slices.DeleteFunc(slices.Clone(all), func(x *candidate) bool { return x.err != nil })
	if len(able) < len(all) && (key != "" || len(able) == 0) {
		return job, false, "", silentError(all)
	}
	if len(all) == 0 {
		return job, false, "", noContainer(spec.Labels)
	}
	var refused error // the first
	for len(able) > 0 {
		x, p := f.reserve(&able, memory)
		job, created, err = x.submit(ctx, spec)
		f.settle(p)
		if err = answerOf(x, spec.Key, err); err == nil || !elsewhere(err) {
			return job, created, x.name, err
		}
		if refused == nil {
			refused = err
		}
	}
	return job, false, "", refused
}

// lockKey waits until no other job with the key is being placed.
func (f *Fleet) lockKey(ctx context.Context, key string) (unlock func(), err error) {
	for {
		f.mu.Lock()
		busy := f.keys[key]
		if busy == nil {
			done := make(chan struct{})
			f.keys[key] = done
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				delete(f.keys, key)
				f.mu.Unlock()
				close(done)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// candidates asks the containers of an application, and those of which it is not known whose they are, for their state and whether
// they have a key; empty: none is looked for.
func (f *Fleet) candidates(ctx context.Context, app, key string) ([]*candidate, error) {
	all, err := f.containers()
	if err != nil {
		return nil, err
	}
	out := make([]*candidate, len(all))
	err = f.each(ctx, all, func(ctx context.Context, k int, c *container) {
		labels, known, err := c.lookUpLabels(ctx)
		if known && labels[AppLabel] != app {
			return
		}
		x := &candidate{container: c, err: err}
		if err == nil && key != "" {
			x.has, x.err = c.has(ctx, "key:"+key)
		}
		if x.err == nil {
			x.asked = time.Now()
			x.err = c.ask(ctx, "/v1/executor", &x.status)
		}
		if !noExecutor(x.err) {
			out[k] = x
		}
	})
	return slices.DeleteFunc(out, func(x *candidate) bool { return x == nil }), err
}

func noExecutor(err error) bool {
	var refused *api.StatusError
	return errors.As(err, &refused) && refused.Code == executor.CodeNoExecutor
}

// settled is how long a placement is remembered after its answer: longer than a state that was asked for before is used.
const settled = 2 * answerTime

// reserve takes the best candidate out of a list, and counts the job there.
func (f *Fleet) reserve(list *[]*candidate, memory int64) (*candidate, *placement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	best := slices.MaxFunc(*list, func(a, b *candidate) int { return slices.Compare(a.rank(memory), b.rank(memory)) })
	*list = slices.DeleteFunc(*list, func(x *candidate) bool { return x == best })
	p := &placement{memory: memory}
	best.placed = slices.DeleteFunc(best.placed, func(p *placement) bool { return !p.answered.IsZero() && time.Since(p.answered) > settled })
	best.placed = append(best.placed, p)
	return best, p
}

func (f *Fleet) settle(p *placement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.answered = time.Now()
}

// rank orders candidates for a job: the greater the better. The memory that waiting jobs have declared is not free: it is reserved for
// the first of them, which holds back the later ones in its container. Fleet.mu is held.
func (x *candidate) rank(memory int64) []int64 {
	slots := int64(x.status.Slots - x.status.Running - x.status.Waiting)
	total, free, possible := int64(math.MaxInt64), int64(math.MaxInt64), true
	if m := x.status.Memory; m != nil {
		total, free, possible = m.Room-m.Waiting, m.Room-m.Waiting-m.Running, memory <= m.Room
	}
	for _, p := range x.placed {
		if p.answered.IsZero() || p.answered.After(x.asked) { // the state may not have it yet
			slots--
			total, free = total-p.memory, free-p.memory
		}
	}
	fits := slots > 0 && (memory == 0 || free >= memory)
	s := x.status
	order := []int64{boolean(s.Draining == "" && s.Unavailable == ""), boolean(s.Paused == ""), boolean(possible), boolean(fits)}
	switch {
	case memory == 0:
		return append(order, slots, free)
	case fits:
		return append(order, free, slots)
	}
	return append(order, total, slots)
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// answerOf turns what came of a submission into the error of an answer.
func answerOf(x *candidate, key string, err error) error {
	refused := new(client.Error)
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refused):
		return api.Refuse(http.StatusServiceUnavailable, executor.CodeUnavailable, "submit it again with the key "+key,
			"it is not known whether container %s has accepted the job: %v", x.name, cause(err))
	case refused.Unwrap() != nil: // a typed error, with its own text
		return refused
	}
	return &api.StatusError{Status: refused.Status, Code: refused.Code, Message: refused.Message, Hint: refused.Hint}
}

// elsewhere reports whether a refusal is about the container, not about the job.
func elsewhere(err error) bool {
	var full *executor.FullError
	var unavailable *executor.UnavailableError
	return errors.As(err, &full) || errors.As(err, &unavailable) || errors.Is(err, executor.ErrDraining) || noExecutor(err)
}

// silentError is the answer where containers do not answer that may have the job.
func silentError(all []*candidate) error {
	var names []string
	for _, x := range all {
		if x.err != nil {
			names = append(names, fmt.Sprintf("%s (%v)", x.name, x.err))
		}
	}
	return api.Refuse(http.StatusServiceUnavailable, executor.CodeUnavailable,
		"try again later; remove the folder of a container that will not come back",
		"the job may be in a container that does not answer: %s", strings.Join(names, ", "))
}

// noContainer is the answer where no container may run the job.
func noContainer(labels map[string]string) error {
	why := "there is no label " + AppLabel + ", and no container without one runs jobs"
	if app, ok := labels[AppLabel]; ok {
		why = fmt.Sprintf("no container with %s=%.100s runs jobs", AppLabel, app)
	}
	return &api.HintedError{Err: &executor.SpecError{Fields: []executor.FieldError{{Field: "labels", Why: why}}},
		Hint: "stoker agent ps shows the containers; docs/reference/agent.md says where a job runs"}
}
