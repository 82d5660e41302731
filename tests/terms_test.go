//go:build container

package tests

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// shutdownConfig has a service that is always about to be started again and one
// that ignores TERM and is the main one, so that its death decides the code.
const shutdownConfig = `
main: stubborn
stop: {timeout: 2s}
services:
  restless:
    command: [sh, -c, '` + recordStart + `']
    restart: {backoff: {first: 3ms, factor: 1, max: 3ms, jitter: 0}, limit: {starts: 100000}}
  stubborn:
    command: [sh, -c, 'trap "" TERM; ` + recordStart + `; echo yes >trapped; while :; do sleep 1; done']
    stop: {timeout: 100ms}
`

const shutdownBudget = 2 * time.Second

// moments are n times after the start, from 0 to 700 ms: half of them in the
// first 100 ms, where everything is still being set up.
func moments(n int) []time.Duration {
	out := make([]time.Duration, 0, n)
	for k := range n {
		if half := n / 2; k < half {
			out = append(out, 100*time.Millisecond*time.Duration(k)/time.Duration(half))
		} else {
			out = append(out, 100*time.Millisecond+600*time.Millisecond*time.Duration(k-half)/time.Duration(n-half))
		}
	}
	return out
}

// TERM at any moment ends the container within its budget, with the right code,
// and nothing is started once the end has begun. STOKER_TERMS says how often.
func TestTermAtAnyMoment(t *testing.T) {
	for _, delay := range moments(number(t, "STOKER_TERMS", 150)) {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			termAfter(t, delay)
		})
	}
}

func termAfter(t *testing.T, delay time.Duration) {
	dir := t.TempDir()
	b := newBox(t, boxOptions{dir: dir, config: strings.ReplaceAll(strings.ReplaceAll(shutdownConfig, ">>starts", ">>"+dir+"/starts"),
		">trapped", ">"+dir+"/trapped")})
	pass(delay)
	// Before its first statement, which its supervisor proves, a Go program does
	// with a signal what its runtime does: as PID 1, nothing, or end with 2.
	early := delay < 100*time.Millisecond && b.supervisor() == 0
	from := time.Now()
	b.signal(syscall.SIGTERM)
	if early && !eventually(shutdownBudget, 5*time.Millisecond, b.ended) {
		from = time.Now()
		b.signal(syscall.SIGTERM)
	}
	code := b.wait(20 * time.Second)
	took := time.Since(from)
	if early && code == 2 && b.file("starts") == "" {
		return
	}
	if took > shutdownBudget+200*time.Millisecond {
		t.Errorf("the end took %v of %v", took, shutdownBudget)
	}
	want := 0
	if b.file("trapped") != "" {
		want = 128 + int(syscall.SIGKILL)
	}
	if code != want {
		t.Errorf("the code is %d, not %d", code, want)
	}
	b.wantNoStartInTheEnd()
}

// wantNoStartInTheEnd holds the starts that were noted against the log.
func (b *box) wantNoStartInTheEnd() {
	b.t.Helper()
	began, ok := b.stopBegan()
	if !ok {
		b.t.Error("the log does not say that the container stops")
		return
	}
	for _, line := range b.lines("starts") {
		p, ok := parseStat(line)
		if !ok {
			continue // killed while it wrote
		}
		if p.start > began+time.Millisecond { // the log counts in milliseconds; ticks are cut off
			b.t.Errorf("a service was started %v after the end had begun", p.start-began)
		}
	}
}
