package console

import (
	"errors"
	"maps"
	"slices"

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

// count counts a call of Open.
func (m *Manager) count(err error) {
	if errors.Is(err, ErrOff) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics.Opened[resultOf(err)]++
}

// add counts what a session is now.
func (m *Metrics) add(s Info) {
	if s.Exit == nil {
		m.Open++
	}
	m.In, m.Out = m.In+s.StdinBytes, m.Out+s.StdoutBytes+s.StderrBytes
}

// Metrics counts the sessions of this supervisor.
func (m *Manager) Metrics() Metrics {
	m.mu.Lock()
	out := m.metrics
	out.Opened = maps.Clone(out.Opened)
	current := slices.Collect(maps.Values(m.sessions))
	m.mu.Unlock()
	for _, s := range current {
		out.add(s.Info())
	}
	return out
}
