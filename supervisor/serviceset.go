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

// newActiveSet puts a set together. Removed services are in it until they are STOPPED.
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

// leftOver defines the services of a saved state that the configuration does not have: a reload was cut short.
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

type graph struct {
	order      []string            // every service behind those that it needs
	requires   map[string][]string // directly
	after      map[string][]string
	requiredBy map[string][]string
	before     map[string][]string // those that start after it, or require it
	rank       map[string]int      // in a stop: 0 goes first
}

// newGraph orders the services, otherwise as they come. A cycle, which the configuration's check refuses, is cut.
func newGraph(defs []Definition) *graph {
	g := &graph{requires: map[string][]string{}, after: map[string][]string{}, requiredBy: map[string][]string{},
		before: map[string][]string{}, rank: map[string]int{}}
	known := map[string]bool{}
	for _, d := range defs {
		known[d.Name] = true
	}
	for _, d := range defs {
		for _, r := range slices.Concat(d.Config.Requires, d.Config.After) {
			if !known[r] || slices.Contains(g.before[r], d.Name) {
				continue
			}
			g.before[r] = append(g.before[r], d.Name)
			if slices.Contains(d.Config.Requires, r) {
				g.requires[d.Name] = append(g.requires[d.Name], r)
				g.requiredBy[r] = append(g.requiredBy[r], d.Name)
			} else {
				g.after[d.Name] = append(g.after[d.Name], r)
			}
		}
	}
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, n := range slices.Concat(g.requires[name], g.after[name]) {
			visit(n)
		}
		g.order = append(g.order, name)
	}
	for _, d := range defs {
		visit(d.Name)
	}
	for _, name := range slices.Backward(g.order) {
		for _, b := range g.before[name] {
			g.rank[name] = max(g.rank[name], g.rank[b]+1)
		}
	}
	return g
}

// closure follows edges from name, itself left out, in the order of the graph.
func (g *graph) closure(edges map[string][]string, name string) []string {
	found := map[string]bool{}
	var visit func(string)
	visit = func(n string) {
		for _, m := range edges[n] {
			if !found[m] {
				found[m] = true
				visit(m)
			}
		}
	}
	visit(name)
	var out []string
	for _, n := range g.order {
		if found[n] && n != name {
			out = append(out, n)
		}
	}
	return out
}
