package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/supervisor"
)

// edge is a dependency between services.
type edge struct {
	from, to string
	path     string // of the name in the list
	verb     string // "requires", "is after"
}

// order checks that requires and after name services, and have no cycle.
func (v *validator) order() {
	names := slices.Sorted(maps.Keys(v.cfg.Services))
	edges := map[string][]edge{}
	for _, name := range names {
		add := func(verb, key string, names []string) {
			for i, to := range names {
				if e := (edge{name, to, layeredyaml.Index(ServicePath(name, key), i), verb}); v.edge(e) {
					edges[name] = append(edges[name], e)
				}
			}
		}
		add("requires", "requires", v.raw.Services[name].Requires)
		add("is after", "after", v.raw.Services[name].After)
	}
	for _, cycle := range cycles(names, edges) {
		steps := make([]string, len(cycle))
		for i, e := range cycle {
			steps[i] = fmt.Sprintf("%s %s %s%s", e.from, e.verb, e.to, v.Where(e.path))
		}
		v.Bad(cycle[0].path, "remove one of these", "the services wait for each other: %s", strings.Join(steps, ", "))
	}
}

// edge checks one dependency; false: it is wrong.
func (v *validator) edge(e edge) bool {
	if e.to == e.from {
		v.Bad(e.path, "remove it", "the service %s itself", e.verb)
		return false
	}
	if !v.service(e.path, e.to) {
		return false
	}
	to := v.cfg.Services[e.to]
	if e.verb == "requires" && !to.Oneshot && to.Restart.Policy == supervisor.Never {
		v.Warn(e.path, "write oneshot: true for "+e.to+" if it is to end, else another restart.policy",
			"%s is not started again when it has ended (restart.policy never%s), and %s cannot start from then on",
			e.to, v.Where(layeredyaml.Join("services", e.to)+".restart.policy"), e.from)
	}
	return true
}

// cycles finds a shortest cycle through each service that is in one, but in none found before.
func cycles(names []string, edges map[string][]edge) [][]edge {
	var out [][]edge
	found := map[string]bool{}
	for _, name := range names {
		if found[name] {
			continue
		}
		if cycle := shortestCycle(name, edges); cycle != nil {
			out = append(out, cycle)
			for _, e := range cycle {
				found[e.from] = true
			}
		}
	}
	return out
}

// shortestCycle goes breadth first from a service back to it.
func shortestCycle(start string, edges map[string][]edge) []edge {
	by := map[string]edge{} // how a service was reached
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, e := range edges[queue[0]] {
			if e.to == start {
				cycle := []edge{e}
				for at := e.from; at != start; at = by[at].from {
					cycle = append(cycle, by[at])
				}
				slices.Reverse(cycle)
				return cycle
			}
			if _, reached := by[e.to]; !reached {
				by[e.to] = e
				queue = append(queue, e.to)
			}
		}
	}
	return nil
}
