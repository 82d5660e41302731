package api

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/supervisor"
)

func TestWait(t *testing.T) {
	done := supervisor.StartResult{Done: true}
	failed := func(why string) supervisor.StartResult { return supervisor.StartResult{Done: true, Failure: why} }
	for _, tc := range []struct {
		name, method, target string
		results              map[string]supervisor.StartResult
		changes              bool // the side car is started too, as number 3
		status               int
		want                 string
	}{
		{"it is RUNNING", "POST", "/v1/services/app/restart?wait=30s", map[string]supervisor.StartResult{"app 5": done}, false, 200, `"start":5`},
		{"without a limit", "POST", "/v1/services/app/restart?wait", map[string]supervisor.StartResult{"app 5": done}, false, 200,
			`"state":"RUNNING"`},
		{"not in time", "POST", "/v1/services/app/start?wait=10ms", nil, false, 202, `"start":5`},
		{"no time to wait", "POST", "/v1/services/app/start?wait=0s", nil, false, 202, `"name":"app"`},
		{"it failed", "POST", "/v1/services/app/start?wait=30s", map[string]supervisor.StartResult{"app 5": failed("exit code 127")}, false, 500,
			`{"error":{"code":"start-failed","message":"exit code 127","hint":"stoker incidents and stoker logs app tell more"}}`},
		{"a dependent failed", "POST", "/v1/services/app/restart?wait=30s",
			map[string]supervisor.StartResult{"app 5": done, "side car 3": failed("no such file")},
			true, 500, `"message":"side car: no such file","hint":"stoker incidents and stoker logs side car`},
		{"a dependent is not ready in time", "POST", "/v1/services/app/restart?wait=10ms", map[string]supervisor.StartResult{"app 5": done}, true, 202,
			`"name":"app"`},
		{"no wait", "POST", "/v1/services/app/restart", nil, true, 200, `"start":5`},
		{"a stop answers when the process has ended", "POST", "/v1/services/app/stop?wait=30s", nil, false, 200, `"name":"app"`},
		{"GET of a start", "GET", "/v1/services/app?start=7&wait=30s", map[string]supervisor.StartResult{"app 7": failed("it is STOPPED")}, false,
			500, `it is STOPPED`},
		{"GET of the present one", "GET", "/v1/services/app?wait=30s", map[string]supervisor.StartResult{"app 0": done}, false, 200,
			`"name":"app"`},
		{"reload", "POST", "/v1/reload?wait=30s", nil, false, 200, `"changes":["restart web"]`},
		{"no duration", "POST", "/v1/services/app/start?wait=soon", nil, false, 400, `wait is \"soon\", want a duration up to 1h0m0s`},
		{"a negative one", "GET", "/v1/services/app?wait=-1s", nil, false, 400, `bad-request`},
		{"too long", "POST", "/v1/reload?wait=2h", nil, false, 400, `bad-request`},
		{"no number", "POST", "/v1/services/app/start?after=x", nil, false, 400, `after is \"x\"`},
		{"no number of a start", "GET", "/v1/services/app?wait&start=-1", nil, false, 400, `start is \"-1\"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newFake()
			b.results = tc.results
			if tc.changes {
				b.changes = func() { b.snaps = append(b.snaps[:1:1], supervisor.Snapshot{Name: "side car", Start: 3, Starts: 3}) }
			}
			got := ask(t, serve(t, b), -1, tc.method, tc.target)
			if got.status != tc.status || !strings.Contains(got.body, tc.want) {
				t.Errorf("%d %s, want %d %s", got.status, got.body, tc.status, tc.want)
			}
			if tc.status == 400 && len(b.asked)+len(b.reloads) > 0 {
				t.Errorf("refused, but received: %q %q", b.asked, b.reloads)
			}
		})
	}
}

func TestStartsBetween(t *testing.T) {
	const run, start, stop = supervisor.Running, supervisor.Starting, supervisor.Stopping
	snap := func(name string, st supervisor.State, starts, start uint64, requires ...string) supervisor.Snapshot {
		s := supervisor.Snapshot{Name: name, State: st, Starts: starts, Start: start, Requires: requires}
		if st == run || st == stop {
			s.Pid = 10
		}
		return s
	}
	again := func(s supervisor.Snapshot, restarts int) supervisor.Snapshot {
		s.Restarts = restarts
		return s
	}
	for name, tc := range map[string]struct {
		before, after []supervisor.Snapshot
		want          map[string]uint64
	}{
		"nothing": {[]supervisor.Snapshot{snap("a", run, 2, 2)}, []supervisor.Snapshot{snap("a", run, 2, 2)}, nil},
		"started by its policy between the snapshots": {[]supervisor.Snapshot{snap("a", start, 2, 2)}, []supervisor.Snapshot{snap("a", start, 3, 2)}, nil},
		"started": {[]supervisor.Snapshot{snap("a", supervisor.Fatal, 2, 2)}, []supervisor.Snapshot{snap("a", start, 3, 3)},
			map[string]uint64{"a": 3}},
		"started again by its policy": {[]supervisor.Snapshot{again(snap("a", supervisor.Backoff, 2, 2), 1)},
			[]supervisor.Snapshot{again(snap("a", start, 3, 3), 2)}, nil},
		"started, failed, and started again by its policy": {[]supervisor.Snapshot{again(snap("a", supervisor.Backoff, 2, 2), 1)},
			[]supervisor.Snapshot{again(snap("a", start, 4, 4), 1)}, map[string]uint64{"a": 3}},
		"new, failed, and started again": {nil, []supervisor.Snapshot{again(snap("a", start, 2, 2), 1)}, map[string]uint64{"a": 1}},
		"new":                            {nil, []supervisor.Snapshot{snap("a", start, 1, 1)}, map[string]uint64{"a": 1}},
		"new, and not started":           {nil, []supervisor.Snapshot{snap("a", supervisor.Stopped, 0, 0)}, nil},
		"stops first": {[]supervisor.Snapshot{snap("a", run, 2, 2)}, []supervisor.Snapshot{snap("a", stop, 2, 3)},
			map[string]uint64{"a": 3}},
		"stopped": {[]supervisor.Snapshot{snap("a", run, 2, 2)}, []supervisor.Snapshot{snap("a", stop, 2, 2)}, nil},
		"dependents are restarted": {[]supervisor.Snapshot{snap("a", run, 2, 2), snap("b", run, 7, 7, "a"), snap("c", run, 1, 1, "b"),
			snap("d", supervisor.Fatal, 1, 1, "a")},
			[]supervisor.Snapshot{snap("a", stop, 2, 3), snap("b", run, 7, 7, "a"), snap("c", run, 1, 1, "b"),
				snap("d", supervisor.Fatal, 1, 1, "a")},
			map[string]uint64{"a": 3, "b": 8, "c": 2}},
		"dependents of a service that was down": {[]supervisor.Snapshot{snap("a", supervisor.Backoff, 2, 2),
			snap("b", run, 7, 7, "a")},
			[]supervisor.Snapshot{snap("a", start, 3, 3), snap("b", run, 7, 7, "a")}, map[string]uint64{"a": 3}},
	} {
		if got := StartsBetween(tc.before, tc.after); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestWaitsAreBounded: waiting requests leave room for others, and those beyond the limit are
// answered at once.
func TestWaitsAreBounded(t *testing.T) {
	b := newFake()
	path := serve(t, b)
	wait := func() {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET /v1/services/app?wait=1h HTTP/1.1\r\nHost: stoker\r\n\r\n")
	}
	for range maxWaits {
		wait()
	}
	await(t, func() bool {
		begun := time.Now()
		got := ask(t, path, -1, "GET", "/v1/services/app?wait=200ms")
		if time.Since(begun) < 100*time.Millisecond {
			return got.status == 202
		}
		wait() // this request had one of their places
		return false
	})
	if got := ask(t, path, -1, "GET", "/v1/health"); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestWaiterGoesAway: a client that disconnects frees its place at once.
func TestWaiterGoesAway(t *testing.T) {
	path := serve(t, newFake())
	for range 2 * maxWaits {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v1/services/app?wait=1h HTTP/1.1\r\nHost: stoker\r\n\r\n")
		conn.Close()
	}
	await(t, func() bool {
		begun := time.Now()
		got := ask(t, path, -1, "GET", "/v1/services/app?wait=200ms")
		return got.status == 202 && time.Since(begun) >= 200*time.Millisecond
	})
}
