package api

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/supervisor"
)

// maxWaits bounds the requests that wait at once, so that connections are left for others. A
// request beyond it is answered as if its time was over.
const maxWaits = access.MaxOfSocket / 4

// readWait reads ?wait and ?wait=30s; false: do not wait.
func readWait(q url.Values) (limit time.Duration, waits bool, err error) {
	v := q.Get("wait")
	if v == "" {
		return maxTime, q.Has("wait"), nil
	}
	if limit, err = time.ParseDuration(v); err != nil || limit < 0 || limit > maxTime {
		return 0, false, badRequest("wait is %q, want a duration up to %v such as 30s", v, maxTime)
	}
	return limit, true, nil
}

// readStartNumber reads the number of a start; nil: none.
func readStartNumber(q url.Values, key string) (*uint64, error) {
	if !q.Has(key) {
		return nil, nil
	}
	n, err := strconv.ParseUint(q.Get(key), 10, 64)
	if err != nil {
		return nil, badRequest("%s is %q, want the number of a start", key, q.Get(key))
	}
	return &n, nil
}

// withStarts answers a request that changes services. With ?wait it waits for the starts that
// change causes.
func (s *Server) withStarts(r *http.Request, change func() (answer any, waits bool, err error)) (any, error) {
	limit, wanted, err := readWait(r.URL.Query())
	if err != nil {
		return nil, err
	}
	before := s.opts.Backend.Services()
	answer, waits, err := change()
	if err != nil || !wanted || !waits {
		return answer, err
	}
	return s.awaitStarts(r, limit, StartsBetween(before, s.opts.Backend.Services()), func() any { return answer })
}

// StartsBetween returns the services that were started between two snapshots, or are about to
// be, with the numbers of these starts. Starts by a restart policy are left out.
func StartsBetween(before, after []supervisor.Snapshot) map[string]uint64 {
	had, out := map[string]supervisor.Snapshot{}, map[string]uint64{}
	for _, s := range before {
		had[s.Name] = s
	}
	restarts := map[string]bool{} // they stop, and what requires them is restarted with them
	for _, s := range after {
		switch was := had[s.Name]; {
		case s.Start <= was.Starts:
		case s.Start > s.Starts: // it stops first
			out[s.Name], restarts[s.Name] = s.Start, true
		case s.Restarts-was.Restarts < int(s.Start-was.Starts): // Restarts is 0 again after a requested start
			out[s.Name] = s.Start - uint64(s.Restarts)
		}
	}
	for more := true; more; {
		more = false
		for _, s := range after {
			if _, known := out[s.Name]; !known && s.Pid != 0 && slices.ContainsFunc(s.Requires, func(r string) bool { return restarts[r] }) {
				out[s.Name], restarts[s.Name], more = s.Starts+1, true, true
			}
		}
	}
	return out
}

// awaitStarts waits until starts are over and returns the answer: 200 and body if all are
// RUNNING, 202 and body if the time is over first, else the failures.
func (s *Server) awaitStarts(r *http.Request, limit time.Duration, starts map[string]uint64, body func() any) (any, error) {
	select {
	case s.waits <- struct{}{}:
		defer func() { <-s.waits }()
	default:
		limit = 0
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	var failed []string
	hint, done := "", true
	for _, name := range slices.Sorted(maps.Keys(starts)) {
		result, ok := s.opts.Backend.AwaitStart(ctx, name, starts[name])
		switch {
		case !ok:
			failed = append(failed, name+" is not configured any more")
		case result.Failure != "" && len(starts) == 1:
			failed = append(failed, result.Failure)
		case result.Failure != "":
			failed = append(failed, name+": "+result.Failure)
		}
		if result.Failure != "" && hint == "" {
			hint = "stoker incidents and stoker logs " + name + " tell more"
		}
		done = done && (result.Done || !ok)
	}
	switch {
	case len(failed) > 0:
		return nil, Refuse(http.StatusInternalServerError, "start-failed", hint, "%s", strings.Join(failed, "; "))
	case !done:
		return withStatus{http.StatusAccepted, body()}, nil
	}
	return body(), nil
}

// AwaitStart waits until a start of a service is over, at most for limit. False: it is not.
func (c *Client) AwaitStart(ctx context.Context, name string, number uint64, limit time.Duration) (
	snap supervisor.Snapshot, done bool, err error) {
	q := url.Values{"start": {strconv.FormatUint(number, 10)}, "wait": {limit.String()}}
	resp, err := c.send(ctx, http.MethodGet, servicePath(name)+"?"+q.Encode(), nil, nil)
	if err != nil {
		return snap, false, err
	}
	err = noSocket(c.socket, decode(resp, &snap)) // the connection broke during the answer
	return snap, resp.StatusCode != http.StatusAccepted, err
}
