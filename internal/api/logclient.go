package api

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// LogQuery selects output.
type LogQuery struct {
	Service string
	Lines   int       // start that many lines before the end; negative: no limit
	Since   time.Time // start with the first line at or after it; zero: no limit
	Follow  bool      // go on until the context is done
	After   int64     // start after this LogLine.Offset instead; 0: no
	// Started is called with the offset at which a followed log starts; may be nil.
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
	path := "/v1/services/" + url.PathEscape(want.Service) + "/logs?" + want.values().Encode()
	return stream(ctx, c, path, followed{want.Follow, want.After, want.Started}, f)
}
