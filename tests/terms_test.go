//go:build container

package tests

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// shutdownConfig has a service in permanent restart, and as main one that ignores TERM, so that its
// KILL decides the exit code.
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

// moments returns n times from 0 to 700 ms after the start, half of them in the first 100 ms, during
// the set-up.
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

// TERM at any time ends the container within its budget and with the right exit code, and nothing
// is started after it. STOKER_TERMS sets the number of trials.
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
	from, early := b.terminate()
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

// terminate sends TERM, and once more if the first one was early, before PID 1 has reached main, and without effect: until then the Go
// runtime decides what a signal does, as PID 1 nothing or exit 2. from is when the last one was sent.
func (b *box) terminate() (from time.Time, early bool) {
	b.t.Helper()
	early = b.supervisor() == 0
	from = time.Now()
	b.signal(syscall.SIGTERM)
	if early && !eventually(shutdownBudget, 5*time.Millisecond, b.ended) {
		from = time.Now()
		b.signal(syscall.SIGTERM)
	}
	return from, early
}

// wantNoStartInTheEnd compares the logged starts with the begin of the stop.
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
		if p.start > began+time.Millisecond { // the log has milliseconds; ticks are rounded down
			b.t.Errorf("a service was started %v after the end had begun", p.start-began)
		}
	}
}
