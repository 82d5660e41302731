package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// streamWriter writes values as one JSON object a line, or for a follower as server-sent events
// whose ids are the positions to resume at.
type streamWriter struct {
	w      http.ResponseWriter
	flush  *http.ResponseController
	follow bool
}

// newStream starts an answer. from is its first position, for a client that sees no value.
func newStream(w http.ResponseWriter, follow bool, from int64) *streamWriter {
	s := &streamWriter{w, http.NewResponseController(w), follow}
	kind := "application/x-ndjson"
	if follow {
		kind = "text/event-stream"
	}
	w.Header().Set("Content-Type", kind)
	if follow {
		fmt.Fprintf(w, "id: %d\n\n", from)
	}
	_ = s.flush.Flush() // a lost client is noticed at the first value
	return s
}

func (s *streamWriter) send(id int64, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if !s.follow {
		_, err = fmt.Fprintf(s.w, "%s\n", data)
		return err
	}
	if _, err = fmt.Fprintf(s.w, "id: %d\ndata: %s\n\n", id, data); err != nil {
		return err
	}
	return s.flush.Flush()
}

// lastEventID is where a client goes on; false: it begins.
func lastEventID(r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	return id, err == nil
}

// followed says how a stream is read.
type followed struct {
	follow  bool
	after   int64          // go on behind this id; 0: begin
	started func(id int64) // called with the start of a followed stream; may be nil
}

// stream calls f for each value of an answer. io.EOF of the server, as at the end
// of one that is not followed, is no error.
func stream[T any](ctx context.Context, c *Client, path string, how followed, f func(T) error) error {
	header := http.Header{}
	if how.after > 0 {
		header.Set("Last-Event-Id", strconv.FormatInt(how.after, 10))
	}
	body, err := c.do(ctx, http.MethodGet, path, header)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		raw, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if how.follow {
			data, ok := strings.CutPrefix(raw, "data: ")
			if id, isID := strings.CutPrefix(raw, "id: "); isID && how.started != nil {
				if from, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64); err == nil {
					how.started(from)
					how.started = nil
				}
			}
			if !ok {
				continue
			}
			raw = data
		}
		var v T
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			return fmt.Errorf("cannot read the answer of %s: %w", c.socket, err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
}
