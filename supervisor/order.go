package supervisor

import "slices"

type graph struct {
	order      []string            // every service behind those that it needs
	requires   map[string][]string // directly
	after      map[string][]string
	requiredBy map[string][]string
	before     map[string][]string // those that start after it, or require it
	rank       map[string]int      // in a stop: 0 goes first
}

// newGraph orders the services: each behind what it requires and is to start
// after, and otherwise as they come. A cycle, which the configuration's check
// refuses, is cut somewhere.
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
