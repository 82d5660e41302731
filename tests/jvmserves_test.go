//go:build container

package tests

import (
	"slices"
	"testing"
	"time"
)

// A JVM sized by stoker answers as many requests a second as one with caps that were set by hand.
// Both run at the same time and are loaded in turns, so that other work on the machine affects both.
// The median of the ratios of the rounds is reported; the goal is 0.95, and the test fails below 0.8
// three times in a row. STOKER_LOAD=long tries every size, and ZGC.
func TestSizedJVMServes(t *testing.T) {
	cases := [][2]string{{"1g", "Serial"}}
	if longLoad() {
		cases = [][2]string{{"512m", "Serial"}, {"1g", "Serial"}, {"2g", "G1"}, {"4g", "G1"}, {"1g", "Z"}, {"2g", "Z"}, {"4g", "Z"}}
	}
	for _, c := range cases {
		t.Run(c[0]+" "+c[1], func(t *testing.T) { testServes(t, c[0], c[1]) })
	}
}

func testServes(t *testing.T, memory, collector string) {
	options := ""
	if collector == "Z" { // the others are those that the rule chooses
		options = "-XX:+UseZGC"
	}
	sized, capped := newSized(t, memory, options), newNaive(t, memory, handSet(memory, collector))
	turn, rounds := 1500*time.Millisecond, 5
	if longLoad() {
		turn, rounds = 5*time.Second, 9
	}
	for _, p := range []*pressed{sized, capped, capped, sized, sized, capped} {
		p.rate(t, 3*turn) // warm-up
	}
	var ratio float64
	for range 3 {
		if ratio = medianRatio(t, sized, capped, turn, rounds); ratio >= 0.95 {
			break
		}
	}
	t.Logf("%s: stoker's JVM answers %.3f of what the one with caps does (%s in use, %s)", memory, ratio, sized.peak(), capped.peak())
	if ratio < 0.8 {
		t.Errorf("stoker's JVM answers %.3f of what the one with caps does", ratio)
	}
	sized.wantNoKill("plain work")
	if !capped.alive() {
		t.Error("the JVM with caps did not survive plain work")
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
