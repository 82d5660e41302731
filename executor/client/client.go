// Package client asks the executor of a stoker that runs, over its HTTP API. It looks for none: the caller knows the socket,
// or brings the transport.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/schedule"
)

// Client is a client of one executor. Its methods may be called at the same time. An answer that is no success is an *Error.
type Client struct {
	// Patience is how long after the loss of a connection a request is repeated: a supervisor that died is restarted. What is not
	// safe to repeat is repeated only if it was not sent. It is set before the first request.
	Patience time.Duration

	http *http.Client
	base string
}

// defaultPatience is enough for a restarted supervisor.
const defaultPatience = 10 * time.Second

// Dial returns a client for the unix socket at path, of a process that has the grant job there: root's, or one of stoker's user. One
// connection, which is made when it is needed, has a few requests at once.
func Dial(path string) *Client {
	t := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Protocols.SetUnencryptedHTTP2(true)
	return New(t, "http://stoker")
}

// New returns a client that asks base, such as http://stoker, by a transport.
func New(transport http.RoundTripper, base string) *Client {
	return &Client{Patience: defaultPatience, http: &http.Client{Transport: transport}, base: strings.TrimSuffix(base, "/")}
}

// Submit submits a job. Not created: a job with the key, and the same otherwise, was accepted before. Where the answer is lost
// the request is repeated if the Spec has a key; without one it is unknown then whether there is a job.
func (c *Client) Submit(ctx context.Context, spec executor.Spec) (job executor.Job, created bool, err error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return job, false, err
	}
	status, err := c.ask(ctx, http.MethodPost, "/v1/jobs", body, spec.Key != "", &job)
	return job, status == http.StatusCreated, err
}

// Job returns a job by its ID, or by "key:KEY".
func (c *Client) Job(ctx context.Context, name string) (job executor.Job, err error) {
	_, err = c.ask(ctx, http.MethodGet, jobPath(name), nil, true, &job)
	return job, err
}

// Jobs returns jobs, the newest first. They have no Env and Stdin, as all jobs but those that Job returns.
func (c *Client) Jobs(ctx context.Context, f executor.Filter) ([]executor.Job, error) {
	q := url.Values{}
	for _, state := range f.States {
		q.Add("state", string(state))
	}
	for name, value := range f.Labels {
		q.Add("label", name+"="+value)
	}
	if f.Key != "" {
		q.Set("key", f.Key)
	}
	if f.Before != 0 {
		q.Set("before", f.Before.String())
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var list struct{ Jobs []executor.Job }
	_, err := c.ask(ctx, http.MethodGet, "/v1/jobs?"+q.Encode(), nil, true, &list)
	return list.Jobs, err
}

// Stop asks for the end of a job, and returns at once. The server sets StopRequest.By. executor.ErrFinal: it has ended.
func (c *Client) Stop(ctx context.Context, name string, r executor.StopRequest) (job executor.Job, err error) {
	q := url.Values{}
	if r.Signal != 0 {
		q.Set("signal", strconv.Itoa(int(r.Signal)))
	}
	if r.Grace != nil {
		q.Set("grace", r.Grace.String())
	}
	_, err = c.ask(ctx, http.MethodPost, jobPath(name)+"/stop?"+q.Encode(), nil, true, &job)
	return job, err
}

// Status returns the state of the executor.
func (c *Client) Status(ctx context.Context) (st executor.Status, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/executor", nil, true, &st)
	return st, err
}

// Schedules returns the state of all schedules, by name.
func (c *Client) Schedules(ctx context.Context) ([]schedule.Status, error) {
	var list struct{ Schedules []schedule.Status }
	_, err := c.ask(ctx, http.MethodGet, "/v1/schedules", nil, true, &list)
	return list.Schedules, err
}

// Control pauses, resumes or drains the executor.
func (c *Client) Control(ctx context.Context, verb executor.Verb) (st executor.Status, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/v1/executor/"+string(verb), nil, true, &st)
	return st, err
}

// Artifact returns the bytes of an artifact, as they come; the caller closes it.
func (c *Client) Artifact(ctx context.Context, job, name string) (body io.ReadCloser, err error) {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	err = c.repeat(ctx, true, func() error {
		path := jobPath(job) + "/artifacts/" + strings.Join(parts, "/")
		resp, err := c.send(ctx, http.MethodGet, path, nil) //nolint:bodyclose // the caller closes it
		if err == nil {
			body = resp.Body
		}
		return err
	})
	return body, err
}

// CopyArtifact copies an artifact. An error means that w may have got other bytes than those that were kept, or a part of them.
func (c *Client) CopyArtifact(ctx context.Context, job, name string, w io.Writer) error {
	j, err := c.Job(ctx, job)
	if err != nil {
		return err
	}
	k := slices.IndexFunc(j.Artifacts, func(a executor.KeptArtifact) bool { return a.Name == name })
	switch {
	case k < 0 && !j.State.Final():
		return fmt.Errorf("job %s is %s: artifacts are kept when it has ended", j.ID, j.State)
	case k >= 0 && j.Artifacts[k].Error != "":
		return fmt.Errorf("it was not kept: %s", j.Artifacts[k].Error)
	}
	body, err := c.Artifact(ctx, j.ID.String(), name)
	if err != nil {
		return err
	}
	defer body.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), body)
	if err != nil {
		return fmt.Errorf("it broke off after %d bytes: %w", n, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); k < 0 || got != j.Artifacts[k].SHA256 {
		return fmt.Errorf("the %d bytes that came are not what was kept: their sha256 is %s", n, got)
	}
	return nil
}

func jobPath(name string) string { return "/v1/jobs/" + url.PathEscape(name) }

// maxAnswer bounds an answer, in bytes. Streams have no bound.
const maxAnswer = 256 << 20

// ask sends a request and reads its answer. safe: it may be repeated.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, safe bool, answer any) (status int, err error) {
	err = c.repeat(ctx, safe, func() error {
		resp, err := c.send(ctx, method, path, body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		status = resp.StatusCode
		return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer)
	})
	return status, err
}

// send sends a request once and returns a successful answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if failed := new(url.Error); errors.As(err, &failed) {
		err = failed.Err // it would name a host that is none
	}
	if err == io.EOF { // not the end of an answer: there was none
		err = io.ErrUnexpectedEOF
	}
	if err != nil || resp.StatusCode < 300 {
		return resp, err
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// repeat calls f again while it loses its connection, until the patience ends. Not safe: only while nothing was sent.
func (c *Client) repeat(ctx context.Context, safe bool, f func() error) error {
	var l loss
	for {
		err := f()
		if err == nil || !safe && !notSent(err) {
			return err
		}
		if err := l.pause(ctx, c.Patience, err); err != nil {
			return err
		}
	}
}

func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// loss is when a connection was lost; zero: it is not.
type loss struct{ since time.Time }

// retryPause is the time between two attempts to reach a server.
const retryPause = 50 * time.Millisecond

// pause waits before another attempt. It returns why there is none: an answer, the end of ctx, or of the patience.
func (l *loss) pause(ctx context.Context, patience time.Duration, err error) error {
	if l.since.IsZero() {
		l.since = time.Now()
	}
	if refused := new(Error); errors.As(err, &refused) || time.Since(l.since) >= patience {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(retryPause):
		return nil
	}
}
