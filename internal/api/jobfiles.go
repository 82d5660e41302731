package api

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// outputPiece is how many bytes of output are read and sent at a time.
const outputPiece = 64 << 10

// jobOutput answers with the kept bytes of ?stream of ?attempt from ?offset on, with ?follow until the stream ends. OffsetHeader is
// where they begin. Where bytes are not kept in the middle the answer ends, and NextHeader, a trailer, is where the stream goes on.
func (s *Server) jobOutput(w http.ResponseWriter, r *http.Request) (any, error) {
	j, err := s.opts.Backend.Job(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q, offset, attempt := r.URL.Query(), int64(0), max(j.Attempt, 1)
	stream, follow := q.Get("stream"), q.Has("follow")
	switch stream {
	case "":
		stream = "stdout"
	case "stdout", "stderr":
	default:
		return nil, badRequest("stream is %q, want stdout or stderr", stream)
	}
	if text := q.Get("offset"); text != "" {
		if offset, err = strconv.ParseInt(text, 10, 64); err != nil || offset < 0 {
			return nil, badRequest("offset is %q, want a number from 0", text)
		}
	}
	if text := q.Get("attempt"); text != "" {
		if attempt, err = strconv.Atoi(text); err != nil || attempt < 1 {
			return nil, badRequest("attempt is %q, want a number from 1", text)
		}
	}
	p := make([]byte, outputPiece)
	// What was written before is sent at once, so that its reader does not wait for more.
	n, at, err := s.opts.Backend.ReadOutput(r.Context(), j.ID, stream, attempt, offset, false, p)
	if n == 0 {
		at = max(at, offset)
	}
	if follow && errors.Is(err, io.EOF) {
		err = nil // there may be more
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	h, flush := w.Header(), http.NewResponseController(w)
	h.Set("Content-Type", "application/octet-stream")
	h.Set(executor.OffsetHeader, strconv.FormatInt(at, 10))
	h.Set(executor.AttemptHeader, strconv.Itoa(attempt))
	h.Set("Trailer", executor.NextHeader)
	for offset = at; ; {
		if n > 0 && at != offset {
			h.Set(executor.NextHeader, strconv.FormatInt(at, 10))
			return nil, nil
		}
		if _, err := w.Write(p[:n]); err != nil {
			return nil, nil //nolint:nilerr // the client is gone
		}
		if err := flush.Flush(); err != nil {
			return nil, nil //nolint:nilerr // the client is gone
		}
		offset += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil || r.Context().Err() != nil:
			panic(http.ErrAbortHandler) // an answer that ends well would be the whole stream
		}
		n, at, err = s.opts.Backend.ReadOutput(r.Context(), j.ID, stream, attempt, offset, follow, p)
	}
}

// artifact answers with an artifact of a job that has ended.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request) (any, error) {
	j, err := s.opts.Backend.Job(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	f, err := s.opts.Backend.Artifact(j.ID, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = Refuse(http.StatusNotFound, executor.CodeNoArtifact, "stoker job show "+j.ID.String()+" lists them",
			"job %s has no artifact %q", j.ID, name)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)}))
	http.ServeContent(w, r, "", time.Time{}, f) // also a part of it (Range)
	return nil, nil
}
