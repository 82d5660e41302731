//go:build container

package tests

import (
	"slices"
	"testing"
	"time"
)

// A JVM sized by stoker answers as many requests a second as the naive one, under a load that the
// naive one survives. Both run at the same time and are loaded in turns, so that other work on the
// machine affects both. The median of the ratios of the rounds is reported; the goal is 0.95, and
// the test fails below 0.8 three times in a row.
func TestSizedJVMServes(t *testing.T) {
	memories := []string{"1g"}
	if longLoad() {
		memories = []string{"512m", "1g", "2g"}
	}
	for _, memory := range memories {
		t.Run(memory, func(t *testing.T) { testServes(t, memory) })
	}
}

func testServes(t *testing.T, memory string) {
	sized, naive := newSized(t, memory), newNaive(t, memory, naiveOptions(memory))
	turn, rounds, enough := 1500*time.Millisecond, 5, 0.8
	if longLoad() {
		turn, rounds, enough = 5*time.Second, 9, 0.95
	}
	for _, p := range []*pressed{sized, naive, naive, sized, sized, naive} {
		p.rate(t, 3*turn) // warm-up
	}
	var ratio float64
	for range 3 {
		if ratio = medianRatio(t, sized, naive, turn, rounds); ratio >= enough {
			break
		}
	}
	t.Logf("%s: stoker's JVM answers %.3f of what the naive one does (%s in use, %s)", memory, ratio, sized.peak(), naive.peak())
	if ratio < 0.8 {
		t.Errorf("stoker's JVM answers %.3f of what the naive one does", ratio)
	}
	sized.wantNoKill("plain work")
	if !naive.alive() {
		t.Error("the naive JVM did not survive plain work")
	}
}

// medianRatio loads two containers in turns, each first in every other round.
func medianRatio(t *testing.T, one, other *pressed, turn time.Duration, rounds int) float64 {
	t.Helper()
	var ratios []float64
	for n := range rounds {
		var a, b float64
		if n%2 == 0 {
			a, b = one.rate(t, turn), other.rate(t, turn)
		} else {
			b, a = other.rate(t, turn), one.rate(t, turn)
		}
		ratios = append(ratios, a/b)
	}
	t.Logf("ratios of the rounds: %.3f", ratios)
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// rate returns the answered requests per second.
func (p *pressed) rate(t *testing.T, during time.Duration) float64 {
	t.Helper()
	from, l := time.Now(), newLoad(p.pages+"work.jsp", pressureClients)
	pass(during)
	answered, failed, first := l.stop()
	took := time.Since(from)
	if failed != 0 { // timeouts of a slow machine
		t.Logf("%d requests were answered and %d failed: %s", answered, failed, first)
	}
	if answered == 0 {
		t.Fatal("no request is answered")
	}
	return float64(answered) / took.Seconds()
}
