package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
	if err := s.write(id, v); err != nil || !s.follow {
		return err
	}
	return s.flush.Flush()
}

// write is send, but a follower may get the value only with the end of the answer.
func (s *streamWriter) write(id int64, v any) error {
	data, err := json.Marshal(v)
	switch {
	case err != nil:
	case s.follow:
		_, err = fmt.Fprintf(s.w, "id: %d\ndata: %s\n\n", id, data)
	default:
		_, err = fmt.Fprintf(s.w, "%s\n", data)
	}
	return err
}

// lastEventID is where a client goes on; false: it begins.
func lastEventID(r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	return id, err == nil
}

// Following makes a stream go on, and is the position to resume it at.
type Following struct {
	Follow bool  // go on until the context is done
	After  int64 // start after this position; 0: none. A followed stream moves it on.
}

// stream calls f for each value of an answer. io.EOF of the server, as at the end
// of one that is not followed, is no error.
func stream[T any](ctx context.Context, c *Client, path string, q url.Values, at *Following, f func(T) error) error {
	header := http.Header{}
	if at.After > 0 {
		header.Set("Last-Event-Id", strconv.FormatInt(at.After, 10))
	}
	resp, err := c.send(ctx, http.MethodGet, withQuery(path, q, map[string]bool{"follow": at.Follow}), header, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var id int64
	for lines := bufio.NewReaderSize(resp.Body, 64<<10); ; {
		raw, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if at.Follow {
			name, value, _ := strings.Cut(strings.TrimSuffix(raw, "\n"), ": ")
			switch name {
			case "id":
				id, err = strconv.ParseInt(value, 10, 64)
			case "":
				at.After = id
			}
			if name != "data" && err == nil {
				continue
			}
			raw = value
		}
		var v T
		if err == nil {
			err = json.Unmarshal([]byte(raw), &v)
		}
		if err != nil {
			return fmt.Errorf("cannot read the answer of %s: %w", c.socket, err)
		}
		if err := f(v); err != nil {
			return err
		}
		at.After = max(at.After, id)
	}
}
