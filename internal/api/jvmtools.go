package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/stoker-init/stoker/internal/suggest"
)

// Tools of a running JVM.
const (
	ToolThreads  = "threads"
	ToolHisto    = "histo"
	ToolFlags    = "flags"
	ToolNMT      = "nmt"
	ToolHeapDump = "heapdump"
)

// JVMTool is a request to a JVM.
type JVMTool struct {
	Tool    string
	All     bool          // histo, heapdump: unreachable objects too; flags: those with their default too
	File    string        // heapdump: the absolute path to write; empty: one that stoker chooses
	GZ      bool          // heapdump: compressed
	Force   bool          // heapdump: also where there may not be enough room
	Timeout time.Duration // for all of it
}

// Time limits of the tools.
const (
	toolTime = 30 * time.Second
	dumpTime = 10 * time.Minute
	maxTime  = time.Hour
)

// stallTime is how long a client may stall before it is dropped: the JVM waits for it, and so
// does every other request to this JVM.
const stallTime = 10 * time.Second

// readTool reads the query of a tool.
func readTool(tool string, q url.Values) (JVMTool, error) {
	t := JVMTool{Tool: tool, All: q.Has("all"), File: q.Get("file"), GZ: q.Has("gz"), Force: q.Has("force"), Timeout: toolTime}
	if tool == ToolHeapDump {
		t.Timeout = dumpTime
	}
	if v := q.Get("timeout"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 || d > maxTime {
			return t, badRequest("timeout is %q, want a duration up to %v such as 30s", v, maxTime)
		}
		t.Timeout = d
	}
	if t.File != "" && (!strings.HasPrefix(t.File, "/") || strings.ContainsFunc(t.File, unicode.IsControl)) {
		return t, badRequest("file is %q, want an absolute path without control characters", t.File)
	}
	return t, nil
}

// runTool answers with the text of a tool. Those of GET change nothing; POST makes the JVM
// write its heap.
func (s *Server) runTool(w http.ResponseWriter, r *http.Request) (any, error) {
	tool := ToolHeapDump
	if r.Method != http.MethodPost {
		readOnly := []string{ToolThreads, ToolHisto, ToolFlags, ToolNMT}
		if tool = r.PathValue("tool"); !slices.Contains(readOnly, tool) {
			return nil, Refuse(http.StatusNotFound, "not-found", suggest.Hint(tool, readOnly), "there is no tool %q to GET", tool)
		}
	}
	snap, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	t, err := readTool(tool, r.URL.Query())
	if err != nil {
		return nil, err
	}
	text, err := s.opts.Backend.JVMTool(r.Context(), snap.Name, t, requester(r))
	if err != nil {
		return nil, err
	}
	defer text.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	control := http.NewResponseController(w)
	out := stallWriter{w, control, s.stall}
	_, err = io.Copy(out, text)
	var reason []byte
	if err != nil {
		reason = fmt.Appendf(nil, "\n[stoker: %v]\n", err)
	}
	_, writeErr := out.Write(reason) // also without one: it extends the deadline for Flush
	if errors.Join(err, writeErr, control.Flush()) != nil {
		panic(http.ErrAbortHandler) // the client sees an incomplete answer
	}
	_ = control.SetWriteDeadline(time.Time{})
	return nil, nil
}

// stallWriter ends a connection whose client does not read.
type stallWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
}

func (w stallWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.limit))
	return w.ResponseWriter.Write(p)
}

// JVMTool runs a tool on the JVM of a service; the caller closes the answer.
func (c *Client) JVMTool(ctx context.Context, service string, t JVMTool) (io.ReadCloser, error) {
	method := http.MethodGet
	if t.Tool == ToolHeapDump {
		method = http.MethodPost
	}
	q := url.Values{}
	if t.File != "" {
		q.Set("file", t.File)
	}
	if t.Timeout > 0 {
		q.Set("timeout", t.Timeout.String())
	}
	path := withQuery(servicePath(service)+"/jvm/"+t.Tool, q, map[string]bool{"all": t.All, "gz": t.GZ, "force": t.Force})
	resp, err := c.send(ctx, method, path, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
