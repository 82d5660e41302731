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
	"time"
)

// LogQuery says which output is wanted.
type LogQuery struct {
	Service string
	Lines   int       // begin that many lines before the end; negative: do not look at the number
	Since   time.Time // begin with the first line that came then; zero: do not look at the time
	Follow  bool      // go on until the context is done
	After   int64     // begin behind this LogLine.Offset instead; 0: not
	// Started is told the offset where a followed log begins; nil: nobody asks.
	Started func(offset int64)
}

// values are the query's.
func (q LogQuery) values() url.Values {
	v := url.Values{}
	if q.Lines >= 0 {
		v.Set("n", strconv.Itoa(q.Lines))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Follow {
		v.Set("follow", "")
	}
	return v
}

// Logs calls f for each line of a service's output, or piece of a long one.
// io.EOF of the server, as at the end of a log that is not followed, is no error.
func (c *Client) Logs(ctx context.Context, want LogQuery, f func(LogLine) error) error {
	header := http.Header{}
	if want.After > 0 {
		header.Set("Last-Event-Id", strconv.FormatInt(want.After, 10))
	}
	body, err := c.do(ctx, http.MethodGet, "/v1/services/"+url.PathEscape(want.Service)+"/logs?"+want.values().Encode(), header)
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
		if want.Follow {
			data, ok := strings.CutPrefix(raw, "data: ")
			if id, isID := strings.CutPrefix(raw, "id: "); isID && want.Started != nil {
				if offset, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64); err == nil {
					want.Started(offset)
					want.Started = nil
				}
			}
			if !ok {
				continue
			}
			raw = data
		}
		var l LogLine
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			return fmt.Errorf("cannot read the answer of %s: %w", c.socket, err)
		}
		if err := f(l); err != nil {
			return err
		}
	}
}
