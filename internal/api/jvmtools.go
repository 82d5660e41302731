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

// Tools of a JVM that runs.
const (
	ToolThreads  = "threads"
	ToolHisto    = "histo"
	ToolFlags    = "flags"
	ToolNMT      = "nmt"
	ToolHeapDump = "heapdump"
)

// Codes of errors that a client tells apart.
const (
	CodeNotNow     = "not-now"
	CodeTimeout    = "timeout"
	CodeNoRoom     = "no-room"
	CodeFileExists = "file-exists"
)

// JVMTool is what a JVM is asked for.
type JVMTool struct {
	Tool    string
	All     bool          // histo, heapdump: unreachable objects too; flags: those with their default too
	File    string        // heapdump: the absolute path to write; empty: one that stoker chooses
	GZ      bool          // heapdump: compressed
	Force   bool          // heapdump: also where there may not be enough room
	Timeout time.Duration // for all of it
}

// JVMs explains the JVMs of services and has them run tools.
type JVMs interface {
	// JVM explains the options of a service's JVM as they were rendered for its latest
	// start; text is for people, within a width; 0: without bounds. False: it has no JVM,
	// or was not started.
	JVM(name string) (data any, text func(width int) string, ok bool)
	// JVMTool gives what the JVM of a service answers, as it comes; the caller
	// closes it. by is who asks. What is wrong is a *RefusedError.
	JVMTool(ctx context.Context, service string, tool JVMTool, by string) (io.ReadCloser, error)
}

// Time limits of the tools.
const (
	toolTime = 30 * time.Second
	dumpTime = 10 * time.Minute
	maxTime  = time.Hour
)

// stallTime is how long a client may not read before it is given up: the JVM waits
// for it, and so does everybody else who asks this JVM.
const stallTime = 10 * time.Second

// readTool reads what a request asks for. The error is for the client.
func readTool(tool string, q url.Values) (JVMTool, error) {
	t := JVMTool{Tool: tool, All: q.Has("all"), File: q.Get("file"), GZ: q.Has("gz"), Force: q.Has("force"), Timeout: toolTime}
	if tool == ToolHeapDump {
		t.Timeout = dumpTime
	}
	if v := q.Get("timeout"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 || d > maxTime {
			return t, fmt.Errorf("timeout is %q, want a duration up to %v such as 30s", v, maxTime)
		}
		t.Timeout = d
	}
	if t.File != "" && (!strings.HasPrefix(t.File, "/") || strings.ContainsFunc(t.File, unicode.IsControl)) {
		return t, fmt.Errorf("file is %q, want an absolute path without control characters", t.File)
	}
	return t, nil
}

// values are the way back.
func (t JVMTool) values() url.Values {
	q := url.Values{}
	for name, set := range map[string]bool{"all": t.All, "gz": t.GZ, "force": t.Force} {
		if set {
			q.Set(name, "")
		}
	}
	if t.File != "" {
		q.Set("file", t.File)
	}
	if t.Timeout > 0 {
		q.Set("timeout", t.Timeout.String())
	}
	return q
}

// look is a tool that only tells something.
func (s *Server) look(w http.ResponseWriter, r *http.Request) {
	tool, looks := r.PathValue("tool"), []string{ToolThreads, ToolHisto, ToolFlags, ToolNMT}
	if !slices.Contains(looks, tool) {
		fail(w, http.StatusNotFound, "not-found", fmt.Sprintf("there is no tool %q to GET", tool), suggest.Hint(tool, looks))
		return
	}
	s.runTool(w, r, tool)
}

// heapDump has the JVM write its heap.
func (s *Server) heapDump(w http.ResponseWriter, r *http.Request) { s.runTool(w, r, ToolHeapDump) }

// runTool answers with the text of a tool.
func (s *Server) runTool(w http.ResponseWriter, r *http.Request, tool string) {
	if _, ok := s.find(w, r); !ok {
		return
	}
	t, err := readTool(tool, r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-request", err.Error(), "")
		return
	}
	p, _ := peerOf(r.Context())
	control := http.NewResponseController(w)
	text, err := s.opts.Backend.JVMs.JVMTool(r.Context(), r.PathValue("name"), t, fmt.Sprintf("uid %d by the API", p.uid))
	if refused := new(RefusedError); errors.As(err, &refused) {
		fail(w, refused.Status, refused.Code, refused.Message, refused.Hint)
		return
	} else if err != nil {
		fail(w, http.StatusInternalServerError, "failed", err.Error(), "")
		return
	}
	defer text.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	err = s.copyText(w, control, text)
	_ = control.SetWriteDeadline(time.Time{})
	if err != nil {
		panic(http.ErrAbortHandler) // so that the client sees that it is not all
	}
}

// copyText passes a text on. Its last line says why it is not all.
func (s *Server) copyText(w io.Writer, control *http.ResponseController, text io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := text.Read(buf)
		_ = control.SetWriteDeadline(time.Now().Add(s.stall))
		if _, writeErr := w.Write(buf[:n]); writeErr != nil {
			return writeErr
		}
		switch {
		case err == io.EOF:
			return control.Flush()
		case err != nil:
			_, _ = fmt.Fprintf(w, "\n[stoker: %v]\n", err)
			return errors.Join(err, control.Flush())
		}
	}
}

// JVMTool has the JVM of a service run a tool; the caller closes the answer.
func (c *Client) JVMTool(ctx context.Context, service string, t JVMTool) (io.ReadCloser, error) {
	method := http.MethodGet
	if t.Tool == ToolHeapDump {
		method = http.MethodPost
	}
	return c.do(ctx, method, "/v1/services/"+url.PathEscape(service)+"/jvm/"+t.Tool+"?"+t.values().Encode(), nil)
}
