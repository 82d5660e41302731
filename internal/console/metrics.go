package console

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/stoker-init/stoker/internal/program"
)

// Metrics count what this supervisor has done.
type Metrics struct {
	Open   int              // sessions that run
	Opened map[string]int64 // calls of Open by result, see Results
	In     int64            // bytes that the processes have taken
	Out    int64            // bytes that they have written
}

// Results are what Metrics.Opened distinguishes.
func Results() []string {
	return []string{"started", "bad-spec", "denied", "limit", "unavailable", "not-started"}
}

// resultOf names the result of Open.
func resultOf(err error) string {
	var spec *SpecError
	var limit *LimitError
	var start *program.StartError
	switch {
	case err == nil:
		return "started"
	case errors.As(err, &spec):
		return "bad-spec"
	case errors.Is(err, ErrNotAllowed):
		return "denied"
	case errors.As(err, &limit):
		return "limit"
	case errors.As(err, &start):
		return "not-started"
	}
	return "unavailable"
}

// counters are the parts of Metrics that are not of sessions that run.
type counters struct {
	mu      sync.Mutex // guards the rest
	opened  map[string]int64
	in, out int64
}

// open counts a call of Open.
func (c *counters) open(err error) {
	if errors.Is(err, ErrOff) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil {
		c.opened = map[string]int64{}
	}
	c.opened[resultOf(err)]++
}

// end counts the bytes of a session that has ended.
func (c *counters) end(s Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in, c.out = c.in+s.StdinBytes, c.out+s.StdoutBytes+s.StderrBytes
}

// metrics adds the sessions that run.
func (c *counters) metrics(all []Info) Metrics {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := Metrics{Opened: maps.Clone(c.opened), In: c.in, Out: c.out}
	for _, s := range all {
		if s.Exit == nil {
			m.Open, m.In, m.Out = m.Open+1, m.In+s.StdinBytes, m.Out+s.StdoutBytes+s.StderrBytes
		}
	}
	return m
}

// Metrics counts the sessions of this supervisor.
func (m *Manager) Metrics() Metrics { return m.count.metrics(m.Sessions()) }

// End ends a session, and returns when it has ended or ctx is done.
func (m *Manager) End(ctx context.Context, id, why string) {
	s, err := m.Session(id)
	if err != nil {
		return
	}
	s.End(why)
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
}
