package agent

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/supervisor"
)

// searchPause is the time between two searches for a job.
const searchPause = 100 * time.Millisecond

// find returns the container that has a job, by ID or "key:KEY". While none has it and some do not answer it searches again.
func (f *Fleet) find(ctx context.Context, job string) (*container, error) {
	for begun := time.Now(); ; {
		found, silent, err := f.search(ctx, job)
		switch {
		case err != nil:
			return nil, err
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return nil, api.Refuse(http.StatusConflict, "ambiguous", "its key, or its ID, may be the name of one only",
				"the containers %s and %s have a job %s each", found[0].name, found[1].name, job)
		case len(silent) == 0:
			return nil, executor.ErrNoJob
		case time.Since(begun) > patience:
			return nil, silentError(silent)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(searchPause):
		}
	}
}

// search asks all containers for a job. silent are those that do not answer.
func (f *Fleet) search(ctx context.Context, job string) (found []*container, silent []*candidate, err error) {
	all, err := f.containers()
	if err != nil {
		return nil, nil, err
	}
	answers := make([]candidate, len(all))
	err = f.each(ctx, all, func(ctx context.Context, k int, c *container) {
		x := &answers[k]
		x.container = c
		x.has, x.err = c.has(ctx, job)
	})
	for k := range answers {
		switch x := &answers[k]; {
		case x.has:
			found = append(found, x.container)
		case x.err != nil:
			silent = append(silent, x)
		}
	}
	return found, silent, err
}

// JobList is the answer of GET /v1/jobs.
type JobList struct {
	Jobs []ListedJob `json:"jobs"` // the newest first
	// Missing has the containers whose jobs are not there, with the reasons.
	Missing map[string]string `json:"missing,omitempty"`
}

// ListedJob is a job of a list.
type ListedJob struct {
	executor.Job
	Container string `json:"container"`
}

// Jobs merges the lists of all containers, for a query of GET /v1/jobs.
func (f *Fleet) Jobs(ctx context.Context, query url.Values) (JobList, error) {
	const most = 100
	out := JobList{Jobs: []ListedJob{}, Missing: map[string]string{}}
	all, err := f.containers()
	if err != nil {
		return out, err
	}
	lists, errs := make([]struct{ Jobs []ListedJob }, len(all)), make([]error, len(all))
	err = f.each(ctx, all, func(ctx context.Context, k int, c *container) {
		errs[k] = c.ask(ctx, "/v1/jobs?"+query.Encode(), &lists[k])
	})
	if err != nil {
		return out, err
	}
	for k, c := range all {
		if refused := new(api.StatusError); errors.As(errs[k], &refused) && refused.Status == http.StatusBadRequest {
			return out, refused
		}
		if errs[k] != nil && !noExecutor(errs[k]) {
			out.Missing[c.name] = errs[k].Error()
		}
		for _, job := range lists[k].Jobs {
			job.Container = c.name
			out.Jobs = append(out.Jobs, job)
		}
	}
	slices.SortStableFunc(out.Jobs, func(a, b ListedJob) int { return cmp.Compare(b.ID, a.ID) })
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 {
		limit = most
	}
	out.Jobs = out.Jobs[:min(limit, len(out.Jobs))]
	return out, nil
}

// Container is what is known of a container.
type Container struct {
	Name     string            `json:"name"`
	Error    string            `json:"error,omitempty"` // why nothing else is known
	Version  string            `json:"version,omitempty"`
	Ready    bool              `json:"ready"`
	Labels   map[string]string `json:"labels,omitempty"`
	Services []Service         `json:"services,omitempty"`
	Limits   *cgroup.Limits    `json:"limits,omitempty"`
	Executor *executor.Status  `json:"executor,omitempty"` // nil: it runs no jobs
}

// Service is a service of a Container.
type Service struct {
	Name  string           `json:"name"`
	State supervisor.State `json:"state"`
}

// Containers returns all, by name.
func (f *Fleet) Containers(ctx context.Context) ([]Container, error) {
	all, err := f.containers()
	if err != nil {
		return nil, err
	}
	out := make([]Container, len(all))
	err = f.each(ctx, all, func(ctx context.Context, k int, c *container) {
		x := &out[k]
		x.Name = c.name
		st, err := c.status(ctx)
		x.Version, x.Ready, x.Labels = st.Version, st.Ready, st.Labels
		for _, s := range st.Services {
			x.Services = append(x.Services, Service{s.Name, s.State})
		}
		if err == nil {
			err = c.ask(ctx, "/v1/limits", &x.Limits)
		}
		if err == nil {
			err = c.ask(ctx, "/v1/executor", &x.Executor)
		}
		if err != nil && !noExecutor(err) {
			x.Error = err.Error()
		}
	})
	return out, err
}
