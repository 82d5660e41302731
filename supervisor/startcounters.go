package supervisor

import (
	"encoding/json"
	"sync"
)

// startCounters remembers how often services were started that are not configured any more:
// when one is configured again its starts go on from there, and none has a number
// that was used before. It may be used by several goroutines.
type startCounters struct {
	mu  sync.Mutex // guards gen
	gen map[string]uint64
}

// resume takes up what an earlier supervisor kept, nil included.
func (g *startCounters) resume(blob []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gen = map[string]uint64{}
	if json.Unmarshal(blob, &g.gen) != nil || g.gen == nil {
		g.gen = map[string]uint64{} // nothing was kept
	}
}

// starts is how often a service was started before it went.
func (g *startCounters) starts(name string) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gen[name]
}

// maxGone bounds how many are remembered; the state must fit into one bag item.
const maxGone = 500

// add remembers one more, and gives what is to be kept.
func (g *startCounters) add(name string, gen uint64) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gen == nil || len(g.gen) >= maxGone {
		g.gen = map[string]uint64{}
	}
	g.gen[name] = gen
	blob, err := json.Marshal(g.gen)
	if err != nil {
		return nil // a map of numbers can be written
	}
	return blob
}
