package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/logs"
)

// LogLine is one line of output on the wire, or a piece of one that is longer
// than 64 KiB. Text that is not UTF-8 comes as Bytes.
type LogLine struct {
	Stream string    `json:"stream"` // stdout, stderr
	Time   time.Time `json:"time"`
	Text   string    `json:"text,omitempty"`
	Bytes  []byte    `json:"bytes,omitempty"`
	Open   bool      `json:"open,omitempty"` // it has no newline: what comes next of its stream goes on with it
	Offset int64     `json:"offset"`         // behind it; where to go on
}

// logQuery is what a request for output asks for.
type logQuery struct {
	from   int64     // where to begin
	behind int64     // lines that end up to here are known already
	since  time.Time // lines that are older are not wanted
	follow bool
}

// defaultLines is how many lines are given where nothing says how many.
const defaultLines = 100

// readCount reads n.
func readCount(values url.Values) (int, error) {
	v := values.Get("n")
	if v == "" {
		return defaultLines, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, badRequest("n is %q, want a number from 0", v)
	}
	return n, nil
}

// readLogQuery reads n, since, follow and Last-Event-ID.
func readLogQuery(r *http.Request, log *logs.Log) (logQuery, error) {
	values := r.URL.Query()
	q := logQuery{follow: values.Has("follow")}
	n, err := readCount(values)
	if err != nil {
		return q, err
	}
	if v := values.Get("since"); v != "" {
		if q.since, err = ParseSince(v, time.Now()); err != nil {
			return q, badRequest("%v", err)
		}
		q.from = log.SinceOffset(q.since)
	}
	switch limited := values.Get("since") == "" || values.Get("n") != ""; {
	case limited && n == 0:
		q.from = log.End()
	case limited:
		q.from = max(q.from, log.TailOffset(n))
	}
	if id, ok := lastEventID(r); ok {
		q.from, q.behind, q.since = log.ResumeOffset(id), id, time.Time{}
	}
	return q, nil
}

// ParseSince reads the beginning of a time: RFC 3339, or a duration before now.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("since is %q, want a time such as 2026-01-31T12:00:00Z or a duration such as 10m", s)
}

// logs gives the last lines as one JSON object a line, or with ?follow as
// server-sent events whose ids are offsets.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) (any, error) {
	snap, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	log := s.opts.Backend.Log(snap.Name)
	if log == nil {
		return nil, Refuse(http.StatusNotFound, "no-output", "it goes to the container's terminal", "the output of %q is not captured", snap.Name)
	}
	q, err := readLogQuery(r, log)
	if err != nil {
		return nil, err
	}
	out := newStream(w, q.follow, max(q.from, q.behind))
	_ = log.Lines(r.Context(), q.from, q.follow, func(l logs.Line) error { // ends with the client
		if l.Offset <= q.behind || l.Time.Before(q.since) {
			return nil
		}
		return out.send(l.Offset, logLine(l))
	})
	return nil, nil
}

func logLine(l logs.Line) LogLine {
	out := LogLine{Stream: "stdout", Time: l.Time, Open: l.Open, Offset: l.Offset}
	if l.Stream == logs.Stderr {
		out.Stream = "stderr"
	}
	if utf8.Valid(l.Text) {
		out.Text = string(l.Text)
	} else {
		out.Bytes = l.Text
	}
	return out
}

// LogQuery selects output.
type LogQuery struct {
	Following
	Service string
	Lines   int       // start that many lines before the end; negative: no limit
	Since   time.Time // start with the first line at or after it; zero: no limit
}

// Logs calls f for each line of a service's output, or piece of a long one.
func (c *Client) Logs(ctx context.Context, want *LogQuery, f func(LogLine) error) error {
	v := url.Values{}
	if want.Lines >= 0 {
		v.Set("n", strconv.Itoa(want.Lines))
	}
	if !want.Since.IsZero() {
		v.Set("since", want.Since.UTC().Format(time.RFC3339Nano))
	}
	return stream(ctx, c, servicePath(want.Service)+"/logs", v, &want.Following, f)
}
