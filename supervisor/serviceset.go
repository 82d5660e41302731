package supervisor

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// ServiceSet is what is to run.
type ServiceSet struct {
	Definitions []Definition
	Main        string        // whose exit code the container gets; empty: none
	StopTimeout time.Duration // the budget of the whole shutdown
	OnFatal     string        // OnFatalStay or OnFatalExit; empty: stay
}

// activeSet is a ServiceSet at work: a value, replaced as a whole by a reload.
type activeSet struct {
	ServiceSet
	*graph
	services map[string]*Service
	inOrder  []*Service            // as the graph has them
	names    []string              // in the order of the configuration
	defined  map[string]Definition // without the services that are not configured any more
}

// newActiveSet puts a set together. Services that are not defined any more are in it
// until they are gone.
func newActiveSet(want ServiceSet, services map[string]*Service) *activeSet {
	s := &activeSet{ServiceSet: want, services: services, defined: map[string]Definition{}}
	defs := want.Definitions
	for _, d := range defs {
		s.names = append(s.names, d.Name)
		s.defined[d.Name] = d
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if _, defined := s.defined[name]; !defined {
			s.names = append(s.names, name)
			snap := services[name].snap.Load()
			defs = append(slices.Clip(defs), Definition{Name: name, Config: Config{Requires: snap.Requires, After: snap.After}})
		}
	}
	s.graph = newGraph(defs)
	for _, name := range s.order {
		s.inOrder = append(s.inOrder, services[name])
	}
	return s
}

// leftOver defines the services that have a saved state and the
// configuration does not: a reload was cut short.
func leftOver(want ServiceSet, states map[string][]byte) []Definition {
	var out []Definition
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if slices.ContainsFunc(want.Definitions, func(d Definition) bool { return d.Name == name }) {
			continue
		}
		d := Definition{Name: name, Launcher: noLauncher{}, Config: Config{SuccessCodes: []int{0, 143}, Restart: Restart{Policy: Never},
			Stop: Stop{Signal: "TERM", Timeout: max(want.StopTimeout-2*time.Second, want.StopTimeout/2)}}}
		var k savedState
		if json.Unmarshal(states[name], &k) == nil && k.RemovedStop != nil {
			d.Config.Stop = *k.RemovedStop
		}
		out = append(out, d)
	}
	return out
}
