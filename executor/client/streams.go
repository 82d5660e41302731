package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stoker-init/stoker/executor"
)

// maxState bounds one state of a job on the wire, in bytes.
const maxState = 8 << 20

// Wait returns a job when it is final. Until then it calls changed, which may be nil, with each state, and with the present one
// again after a lost connection.
func (c *Client) Wait(ctx context.Context, name string, changed func(executor.Job)) (executor.Job, error) {
	var l loss
	for {
		job, err := c.watch(ctx, name, changed == nil, func(j executor.Job) {
			l = loss{}
			if changed != nil && !j.State.Final() {
				changed(j)
			}
		})
		if err == nil {
			return job, nil
		}
		if err := l.pause(ctx, c.Patience, err); err != nil {
			return job, err
		}
	}
}

// watch reads states over one connection until the final one, which it returns. final: it asks for that one only.
func (c *Client) watch(ctx context.Context, name string, final bool, seen func(executor.Job)) (job executor.Job, err error) {
	path := jobPath(name) + "/events"
	if final {
		path += "?final"
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return job, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxState)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		job = executor.Job{}
		if err := json.Unmarshal(data, &job); err != nil {
			return job, fmt.Errorf("cannot read the state of job %s: %w", name, err)
		}
		if seen(job); job.State.Final() {
			for lines.Scan() { // to the end of the answer, so that the connection can be used again
			}
			return job, nil
		}
	}
	if err = lines.Err(); err == nil {
		err = io.ErrUnexpectedEOF
	}
	return job, err
}

// Output reads one stream of a job's output. It goes on after a lost connection.
type Output struct {
	ctx    context.Context
	c      *Client
	stream string
	path   string
	query  url.Values
	offset int64
	loss   loss
	resp   *http.Response // nil: there is no connection
	err    error          // of every later Read
}

// Output reads what is kept of a stream, "stdout" or "stderr", of the present or latest attempt from an offset on, and with follow
// until the stream ends. The caller closes it; the end of ctx ends it too.
func (c *Client) Output(ctx context.Context, job, stream string, offset int64, follow bool) *Output {
	q := url.Values{"stream": {stream}}
	if follow {
		q.Set("follow", "")
	}
	return &Output{ctx: ctx, c: c, stream: stream, path: jobPath(job) + "/logs?", query: q, offset: offset}
}

// Offset is the place in the stream behind the bytes of the latest Read. Bytes between the Offset before a Read and
// the beginning of what it returns are not kept.
func (o *Output) Offset() int64 { return o.offset }

// Read reads bytes that follow each other in the stream. io.EOF: the stream has ended, or without follow, there is no more yet.
func (o *Output) Read(p []byte) (n int, err error) {
	for o.err == nil && n == 0 && len(p) > 0 {
		if n, err = o.read(p); err != nil {
			o.disconnect()
			if err != io.EOF {
				err = o.loss.pause(o.ctx, o.c.Patience, err)
			}
			o.err = err
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, o.err
}

// read reads over the present connection, or makes one. No bytes and no error: the stream goes on at another offset.
func (o *Output) read(p []byte) (n int, err error) {
	if o.resp == nil {
		o.query.Set("offset", strconv.FormatInt(o.offset, 10))
		if o.resp, err = o.c.send(o.ctx, http.MethodGet, o.path+o.query.Encode(), nil); err != nil { //nolint:bodyclose // Close closes it
			return 0, err
		}
		at, err := strconv.ParseInt(o.resp.Header.Get(executor.OffsetHeader), 10, 64)
		if err != nil || at < o.offset {
			return 0, fmt.Errorf("the answer has no header %s", executor.OffsetHeader)
		}
		o.offset, o.loss = at, loss{}
		if attempt := o.resp.Header.Get(executor.AttemptHeader); attempt != "" {
			o.query.Set("attempt", attempt) // over lost connections too
		}
	}
	n, err = o.resp.Body.Read(p)
	o.offset += int64(n)
	if n > 0 || err != io.EOF {
		if n > 0 {
			err = nil // the next Read has it again
		}
		return n, err
	}
	next, err := strconv.ParseInt(o.resp.Trailer.Get(executor.NextHeader), 10, 64)
	if err != nil || next <= o.offset {
		return 0, io.EOF
	}
	o.disconnect()
	o.offset = next
	return 0, nil
}

func (o *Output) disconnect() {
	if o.resp != nil {
		o.resp.Body.Close()
		o.resp = nil
	}
}

// Close ends the reading.
func (o *Output) Close() error {
	o.disconnect()
	if o.err == nil {
		o.err = io.ErrClosedPipe
	}
	return nil
}

// Copy copies what is kept to its end, and closes o. gap, which may be nil, is called for bytes that are not kept.
func (o *Output) Copy(w io.Writer, gap func(stream string, bytes int64)) error {
	defer func() { _ = o.Close() }()
	p := make([]byte, 32<<10)
	for at := o.offset; ; at = o.offset {
		n, err := o.Read(p)
		if lost := o.offset - int64(n) - at; lost > 0 && gap != nil {
			gap(o.stream, lost)
		}
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// Sinks get what Follow sees of a job.
type Sinks struct {
	Stdout, Stderr io.Writer
	// Gap, which may be nil, is that of Output.Copy; both streams call it, perhaps at once.
	Gap func(stream string, bytes int64)
	// Changed, which may be nil, gets each state while no output is copied; also the one in which an attempt begins, before its output.
	Changed func(executor.Job)
}

// Follow copies the output of each attempt of a job until the job is final, and returns it.
func (c *Client) Follow(ctx context.Context, name string, to Sinks) (job executor.Job, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for attempt := 0; ; attempt = job.Attempt {
		if job, err = c.awaitAttempt(ctx, name, attempt, to.Changed); err != nil || job.Attempt == attempt {
			return job, err
		}
		ended := make(chan error, 2)
		for stream, w := range map[string]io.Writer{"stdout": to.Stdout, "stderr": to.Stderr} {
			o := c.Output(ctx, name, stream, 0, true)
			o.query.Set("attempt", strconv.Itoa(job.Attempt))
			go func() { ended <- o.Copy(w, to.Gap) }() // ends with the stream, or with ctx
		}
		for range cap(ended) {
			if err := <-ended; err != nil {
				return job, err
			}
		}
	}
}

// awaitAttempt waits for an attempt after a number, or for the end of the job.
func (c *Client) awaitAttempt(ctx context.Context, name string, after int, changed func(executor.Job)) (executor.Job, error) {
	waiting, begun := context.WithCancel(ctx)
	defer begun()
	var seen executor.Job
	job, err := c.Wait(waiting, name, func(j executor.Job) {
		if changed != nil && seen.Attempt <= after {
			changed(j)
		}
		if j.Attempt > after {
			seen = j
			begun()
		}
	})
	if seen.Attempt > after {
		return seen, nil
	}
	if err == nil && changed != nil {
		changed(job)
	}
	return job, err
}
