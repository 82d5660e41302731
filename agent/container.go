package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Bounds on what a container may cost.
const (
	answerTime  = 2 * time.Second  // for all answers of one round that are no stream
	submitTime  = 10 * time.Second // for the acceptance of a job: the disk may be slow
	patience    = 3 * time.Second  // for a supervisor that is restarted
	labelTime   = 5 * time.Second  // labels change by a reload only
	maxAnswer   = 8 << 20          // bytes
	maxMetrics  = 1 << 20          // bytes of GET /metrics
	maxHeader   = 64 << 10         // bytes
	maxLabels   = 64               // of a container
	maxLabel    = 4 << 10          // bytes of all names and values of its labels
	connStreams = 8                // forwarded ones over one connection: the server has no more
	maxStreams  = 24 * connStreams // in all; the server has 128 connections
	maxBuffer   = 64 << 10         // bytes of a stream that its reader has not taken
)

// errNoAnswer is the cause of the end of a context at whose end an answer should have been there.
var errNoAnswer = fmt.Errorf("no answer within %v", answerTime)

// container is one socket.
type container struct {
	name string
	path string
	id   fileID
	http *http.Transport
	jobs *client.Client

	mu      sync.Mutex // guards what follows
	labels  map[string]string
	read    time.Time // when the labels were; zero: never
	silent  error     // why nothing is asked of it; nil: it has answered
	probing bool
	streams int               // that there are places for
	free    []*http.Transport // has each as often as it has places for streams

	placed []*placement // guarded by Fleet.mu
}

func newContainer(name, path string, id fileID) *container {
	c := &container{name: name, path: path, id: id}
	// It keeps connections for a shorter time than the server does.
	c.http = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: answerTime}
	c.jobs = client.New(boundedAnswers{c.http}, "http://stoker")
	c.jobs.Patience = patience
	return c
}

// stream takes a place for a stream, which the caller gives back; nil: there is none. A transport gets no more streams than one
// connection of HTTP/2 has.
func (c *container) stream() *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.free) == 0 {
		if c.streams == maxStreams {
			return nil
		}
		c.streams += connStreams
		c.free = slices.Repeat([]*http.Transport{c.newStreams()}, connStreams)
	}
	t := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	return t
}

// newStreams returns a transport for the streams of one connection. For a refused one it makes another connection, again and again.
func (c *container) newStreams() *http.Transport {
	var open atomic.Int32 // connections
	closed := func() { open.Add(-1) }
	t := c.http.Clone()
	t.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: maxBuffer}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetUnencryptedHTTP2(true)
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if open.Add(1) > 2*connStreams { // each of the first streams makes one
			closed()
			return nil, errors.New("it refuses streams")
		}
		conn, err := c.dial(ctx)
		if err != nil {
			closed()
			return nil, err
		}
		return &countedConn{conn, sync.OnceFunc(closed)}, nil
	}
	return t
}

// countedConn calls closed when it is.
type countedConn struct {
	net.Conn
	closed func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// giveBack ends the use of what stream has returned.
func (c *container) giveBack(t *http.Transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, t)
}

// boundedAnswers reads no more than maxAnswer of an answer.
type boundedAnswers struct{ http.RoundTripper }

// RoundTrip sends a request.
func (t boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// dial connects to the socket itself: its name may lead elsewhere in the next moment.
func (c *container) dial(ctx context.Context) (conn net.Conn, err error) {
	const queuePause = 5 * time.Millisecond
	err = visitSocket(c.path, func(fd int) (err error) {
		for {
			conn, err = new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
			if !errors.Is(err, unix.EAGAIN) { // its queue is full
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(queuePause):
			}
		}
	})
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: cause(err)} // nothing was sent
	}
	return conn, nil
}

// cause leaves the paths out of an error of a connection.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// request sends one request and returns the bounded body of a successful answer; another answer is an *api.StatusError. A container
// that has not answered in time is not waited for again before it answers a probe.
func (c *container) request(ctx context.Context, method, path string) ([]byte, error) {
	if err := c.silence(); err != nil {
		return nil, err
	}
	return c.exchange(ctx, method, path)
}

func (c *container) exchange(ctx context.Context, method, path string) ([]byte, error) {
	limited, cancel := context.WithTimeoutCause(ctx, answerTime, errNoAnswer)
	defer cancel()
	data, err := c.send(limited, method, path)
	if err != nil && errors.Is(context.Cause(limited), errNoAnswer) {
		err = errNoAnswer
		c.mu.Lock()
		c.silent = err
		c.mu.Unlock()
	}
	return data, err
}

func (c *container) send(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://stoker"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return nil, cause(err)
	}
	defer resp.Body.Close()
	most := int64(maxAnswer)
	if path == "/metrics" {
		most = maxMetrics
	}
	data, err := untrusted.ReadAll(resp.Body, most)
	if err != nil || resp.StatusCode < 300 {
		return data, err
	}
	var refused api.Error
	if json.Unmarshal(data, &refused) != nil || refused.Error.Message == "" {
		refused.Error.Message = "the answer is " + resp.Status
	}
	return nil, &api.StatusError{Status: resp.StatusCode, Code: refused.Error.Code, Message: refused.Error.Message, Hint: refused.Error.Hint}
}

// silence returns why it is not asked; nil: it is. It sees to it that a probe is under way.
func (c *container) silence() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent != nil && !c.probing {
		c.probing = true
		go func() { // ends after answerTime at the latest
			_, err := c.exchange(context.Background(), http.MethodGet, "/v1/executor")
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.probing = false; err == nil || errors.As(err, new(*api.StatusError)) { // it may run no jobs
				c.silent = nil
			}
		}()
	}
	return c.silent
}

// ask reads a JSON answer.
func (c *container) ask(ctx context.Context, path string, into any) error {
	data, err := c.request(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the answer is not that of a stoker: %w", err)
	}
	return nil
}

// status asks for its services, and notes its labels.
func (c *container) status(ctx context.Context) (st api.Status, err error) {
	if err = c.ask(ctx, "/v1/services", &st); err != nil {
		return st, err
	}
	size := 0
	for name, value := range st.Labels {
		size += len(name) + len(value)
	}
	if len(st.Labels) > maxLabels || size > maxLabel {
		return api.Status{}, fmt.Errorf("it has %d labels of %d bytes, more than %d or %d bytes", len(st.Labels), size, maxLabels, maxLabel)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.labels, c.read = st.Labels, time.Now()
	return st, nil
}

// lookUpLabels returns the labels, and asks for them if they are old. known: they are those of now, or the latest that were seen.
func (c *container) lookUpLabels(ctx context.Context) (labels map[string]string, known bool, err error) {
	c.mu.Lock()
	fresh := time.Since(c.read) < labelTime
	c.mu.Unlock()
	if !fresh {
		_, err = c.status(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.labels, !c.read.IsZero(), err
}

// has reports whether it has a job, by ID or "key:KEY".
func (c *container) has(ctx context.Context, job string) (bool, error) {
	var found executor.Job
	err := c.ask(ctx, "/v1/jobs/"+url.PathEscape(job), &found)
	if refused := new(api.StatusError); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key, byKey := strings.CutPrefix(job, "key:")
	var id executor.ID
	damaged := found.ID != 0 && len(found.Spec.Command) == 0 // its container knows no more of it
	if byKey && found.Spec.Key != key && !damaged || !byKey && (id.UnmarshalText([]byte(job)) != nil || found.ID != id) {
		return false, errors.New("it answers with another job than was asked for")
	}
	return true, nil
}

// submit submits a job that has a key. An error that is a *client.Error is a refusal; of any other the job may have been accepted.
func (c *container) submit(ctx context.Context, spec executor.Spec) (executor.Job, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, submitTime)
	defer cancel()
	return c.jobs.Submit(ctx, spec)
}
