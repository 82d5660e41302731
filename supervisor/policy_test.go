package supervisor

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
)

func TestBackoffWait(t *testing.T) {
	s, ms := time.Second, time.Millisecond
	cases := []struct {
		first  time.Duration
		factor float64
		max    time.Duration
		jitter float64
		n      int
		random float64
		want   time.Duration
	}{
		{500 * ms, 2, 30 * s, 0, 1, 0.9, 500 * ms},
		{500 * ms, 2, 30 * s, 0, 2, 0.9, s},
		{500 * ms, 2, 30 * s, 0, 6, 0.9, 16 * s},
		{500 * ms, 2, 30 * s, 0, 7, 0.9, 30 * s},
		{500 * ms, 2, 30 * s, 0, 1 << 40, 0.9, 30 * s},
		{500 * ms, 2, 30 * s, 0.1, 1, 0, 500 * ms},
		{500 * ms, 2, 30 * s, 0.1, 1, 0.5, 525 * ms},
		{500 * ms, 2, 30 * s, 0.1, 50, 0.5, 31500 * ms},
		{s, 1, 30 * s, 0, 9, 0, s},
		{s, 1.5, 30 * s, 0, 3, 0, 2250 * ms},
		{time.Minute, 2, 30 * s, 0, 1, 0, 30 * s},
		{0, 2, 30 * s, 0.1, 1, 0.5, 0},
		{0, 2, 30 * s, 0.1, 9, 0.5, 0},
	}
	for _, c := range cases {
		b := BackoffConfig{First: &c.first, Factor: c.factor, Max: c.max, Jitter: &c.jitter}
		if got := b.wait(c.n, c.random); got != c.want {
			t.Errorf("%+v: %v, want %v", c, got, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 4 * time.Minute, 0.5: 5 * time.Minute, 1: 6 * time.Minute} {
		if got := spread(5*time.Minute, random); got.Round(time.Microsecond) != want {
			t.Errorf("%v: %v, want %v", random, got, want)
		}
	}
}

func TestHistory(t *testing.T) {
	var h startTimes
	for _, now := range []int64{10, 15, 19, 20, 30} {
		h.add(now, 10)
	}
	if !slices.Equal(h, startTimes{30}) {
		t.Errorf("%v", h)
	}
	if h.add(39, 10); !slices.Equal(h, startTimes{30, 39}) {
		t.Errorf("%v", h)
	}
}

func TestWanted(t *testing.T) {
	cases := []struct {
		policy  string
		success bool
		want    bool
	}{{Always, true, true}, {Always, false, true}, {OnFailure, true, false}, {OnFailure, false, true}, {Never, true, false},
		{Never, false, false}}
	for _, c := range cases {
		if got := (Restart{Policy: c.policy}).wanted(c.success); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestExitInf(t *testing.T) {
	cases := []struct {
		x      incident.Exit
		status int
		want   string
	}{
		{incident.Exit{}, 0, "exit code 0"},
		{incident.Exit{Code: 143}, 143, "exit code 143"},
		{incident.Exit{Code: -1, Signal: syscall.SIGKILL}, 137, "killed by signal 9 (KILL)"},
		{incident.Exit{Code: -1, Signal: syscall.SIGSEGV, Core: true}, 139, "killed by signal 11 (SEGV), core dumped"},
		{incident.Exit{Code: -1, Signal: 40}, 168, "killed by signal 40 (40)"},
	}
	for _, c := range cases {
		if got := c.x.String(); got != c.want || c.x.Status() != c.status {
			t.Errorf("%q, %d, want %q, %d", got, c.x.Status(), c.want, c.status)
		}
	}
}

func TestParseSignal(t *testing.T) {
	good := map[string]syscall.Signal{"TERM": 15, "SIGTERM": 15, "term": 15, "sigquit": 3, "USR1": 10, "9": 9, "1": 1, "64": 64, "37": 37}
	for name, want := range good {
		if got, err := proc.ParseSignal(name); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"", "SIG", "0", "65", "-1", "NOPE", "TERM ", "SIGSIGTERM"} {
		if got, err := proc.ParseSignal(name); err == nil {
			t.Errorf("%q: %v, want an error", name, got)
		}
	}
	for sig, want := range map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGABRT: "ABRT", 40: "40"} {
		if got := proc.SignalName(sig); got != want {
			t.Errorf("%d: %q, want %q", sig, got, want)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h startTimes
	for now := range int64(3 * maxHistory) {
		h.add(now, time.Hour)
	}
	if len(h) != maxHistory || h[maxHistory-1] != 3*maxHistory-1 {
		t.Errorf("%d entries", len(h))
	}
}

func TestClip(t *testing.T) {
	for text, want := range map[string]int{"": 0, "short": 5, strings.Repeat("x", incident.MaxReason): incident.MaxReason,
		strings.Repeat("x", 64<<10): incident.MaxReason + 3, strings.Repeat("失", 10000): incident.MaxReason - 1 + 3} {
		if got := clip(text); len(got) != want || !utf8.ValidString(got) {
			t.Errorf("%.10q: %d bytes, want %d", text, len(got), want)
		}
	}
}
