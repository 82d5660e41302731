package main

import "time"

const (
	// idleSettle is the time after which every peer has started.
	idleSettle = 5 * time.Second
	// idleSpan is long enough for two of stoker's watchdog pings.
	idleSpan = 60 * time.Second
)

// idleUsage is the usage of an idle peer.
type idleUsage struct {
	usage
	rate float64 // context switches a second
}

// idleUsages runs the selected peers with count services at the same time and returns their usage while idle.
func (b *bench) idleUsages(all []peer, count int, span time.Duration) (map[string]idleUsage, error) {
	boxes := map[string]*box{}
	defer func() {
		for _, x := range boxes {
			x.close()
		}
	}()
	for _, p := range all {
		x, _, err := b.open(p, b.probes(count))
		if err != nil {
			return nil, err
		}
		boxes[p.name] = x
		for range count {
			if _, err := x.waitMark(""); err != nil {
				return nil, err
			}
		}
	}
	time.Sleep(idleSettle)
	before, err := usages(boxes)
	if err != nil {
		return nil, err
	}
	time.Sleep(span)
	after, err := usages(boxes)
	if err != nil {
		return nil, err
	}
	out := map[string]idleUsage{}
	for name, u := range after {
		out[name] = idleUsage{u, (u.switches - before[name].switches) / span.Seconds()}
	}
	return out, nil
}

func usages(boxes map[string]*box) (map[string]usage, error) {
	out := map[string]usage{}
	for name, x := range boxes {
		own, _, err := x.processes()
		if err != nil {
			return nil, err
		}
		if out[name], err = measureUsage(own); err != nil {
			return nil, err
		}
	}
	return out, nil
}
