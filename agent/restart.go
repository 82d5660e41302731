package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/supervisor"
)

// restartPause is the time between two looks at a service that is being restarted.
const restartPause = 200 * time.Millisecond

// Errors of a restart over containers.
var (
	// ErrNoService means that no container has the service.
	ErrNoService = errors.New("no container has the service")
	// ErrNotTouched is the result of a container after one that failed.
	ErrNotTouched = errors.New("not touched")
)

// Restart restarts a service in the containers that have it and all the labels, one after the other: the next when the service runs
// again and the container is ready, within a time for each. After the first failure it touches none. report is called with the result
// of each, also of those that do not answer, which are left out. failed counts the results that are errors.
func (f *Fleet) Restart(ctx context.Context, service string, labels map[string]string, within time.Duration,
	report func(container string, err error)) (failed int, err error) {
	all, err := f.containers()
	if err != nil {
		return 0, err
	}
	chosen, errs := make([]*supervisor.Snapshot, len(all)), make([]error, len(all))
	err = f.each(ctx, all, func(ctx context.Context, k int, c *container) {
		st, err := c.status(ctx)
		for name, value := range labels {
			if have, ok := st.Labels[name]; !ok || have != value {
				st.Services = nil
			}
		}
		chosen[k], errs[k] = findService(st, service), err
	})
	if err != nil {
		return 0, err
	}
	done, broken := 0, false
	for k, c := range all {
		err := errs[k]
		switch {
		case err != nil:
		case chosen[k] == nil:
			continue
		case broken:
			err = ErrNotTouched
		default:
			err = c.restart(ctx, service, chosen[k].Starts, within)
			broken = err != nil
		}
		if done++; err != nil {
			failed++
		}
		report(c.name, err)
	}
	if done == 0 {
		return 0, fmt.Errorf("cannot restart %q: %w", service, ErrNoService)
	}
	return failed, nil
}

func findService(st api.Status, name string) *supervisor.Snapshot {
	k := slices.IndexFunc(st.Services, func(s supervisor.Snapshot) bool { return s.Name == name })
	if k < 0 {
		return nil
	}
	return &st.Services[k]
}

// restart restarts a service whose latest start has a number, and waits until all of the container is ready. A request whose answer
// is lost is repeated: the number makes it one restart.
func (c *container) restart(ctx context.Context, service string, latest uint64, within time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	path := fmt.Sprintf("/v1/services/%s/restart?after=%d", url.PathEscape(service), latest)
	why := errors.New("no answer")
	for asked := false; limited.Err() == nil; {
		var over bool
		var err error
		if asked {
			over, err = c.restarted(limited, service, latest)
		} else {
			_, err = c.request(limited, http.MethodPost, path)
			asked, over = err == nil, errors.As(err, new(*api.StatusError))
		}
		if over {
			return err
		}
		if err != nil && limited.Err() == nil {
			why = err
		}
		select {
		case <-limited.Done():
		case <-time.After(restartPause):
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("not ready within %v: %w", within, why)
}

// restarted reports whether a restart is over, and why it has failed; not over: what is waited for.
func (c *container) restarted(ctx context.Context, service string, before uint64) (over bool, err error) {
	st, err := c.status(ctx)
	if err != nil {
		return false, err
	}
	s := findService(st, service)
	switch {
	case s == nil:
		return true, errors.New("it has the service no more")
	case s.Starts <= before:
	case s.State == supervisor.Fatal || s.State == supervisor.Stopped:
		return true, fmt.Errorf("%s is %s: %s", service, s.State, s.Reason)
	case st.Ready && (s.State == supervisor.Running || s.State == supervisor.Exited && s.Oneshot):
		return true, nil
	}
	return false, fmt.Errorf("%s is %s, and the container is not ready", service, s.State)
}
