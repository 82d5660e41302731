package hooks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
)

// request sends the hook's request.
func (x *execution) request() (out Outcome) {
	x.begin()
	env, err := x.environ(nil)
	if err != nil {
		return Outcome{Why: err.Error()}
	}
	ctx, cancel := context.WithDeadline(x.run.ctx, x.term)
	defer cancel()
	h := x.hook
	req := remote.Request{Method: h.Method, URL: h.URL, Headers: h.Headers, Body: h.Body, CAFile: h.CAFile}
	resp, err := remote.Send(ctx, req, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	out.Code, out.Output = resp.Status, string(resp.Body[:min(len(resp.Body), maxTail)])
	what := h.Method + " " + redact.URL(h.URL)
	switch {
	case x.run.ctx.Err() != nil && err != nil:
		out.Why = context.Cause(x.run.ctx).Error()
	case ctx.Err() != nil && err != nil:
		out.TimedOut = true
		out.Why = fmt.Sprintf("%s: no answer within %v", what, x.term.Sub(x.Begun).Round(time.Millisecond))
	case err != nil:
		out.Why = fmt.Sprintf("%s: %s", what, printable.OneLine(err.Error()))
	case !h.isSuccess(resp.Status):
		out.Why = fmt.Sprintf("%s: it answers with the status %d", what, resp.Status)
		if line, _, _ := strings.Cut(strings.TrimLeft(out.Output, "\r\n\t "), "\n"); line != "" {
			out.Why += ": " + printable.OneLine(line)
		}
	default:
		out.OK = true
	}
	return out
}

// isSuccess reports whether an HTTP status is a success.
func (h *Hook) isSuccess(status int) bool {
	if len(h.Status) > 0 {
		return slices.Contains(h.Status, status)
	}
	return status >= 200 && status < 300
}
