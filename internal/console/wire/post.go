package wire

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
)

// Post runs a command with the body of a request as its input, and answers with its output. It is for clients that cannot close
// the input of a websocket. The error is what the answer has to be; nil: there was one.
func (s *Server) Post(w http.ResponseWriter, r *http.Request) error {
	req, err := parseQuery(r.URL.RawQuery, post)
	if err != nil {
		return err
	}
	req.spec.Stdin = r.Body != nil && r.Body != http.NoBody
	by := access.Of(r.Context())
	opened, err := s.open(r.Context(), req.spec, by)
	if err != nil {
		return err
	}
	l, err := opened.attach(by, console.Attach{Mode: console.Hold, From: console.Everything()})
	if err != nil {
		opened.end("its client could not be connected")
		return err
	}
	defer l.Close()
	flow := http.NewResponseController(w)
	_ = flow.SetReadDeadline(time.Time{}) // input takes as long as the process does
	_ = flow.EnableFullDuplex()           // output comes before all of the input was read
	if r.Header.Get("Expect") != "" {
		w.WriteHeader(http.StatusContinue) // after the answer has begun it would not be sent
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Connection", "close")
	h.Set("Stoker-Session", opened.info().ID)
	h.Set("Trailer", "Stoker-Exit-Code, Stoker-Error")
	_ = flow.Flush()
	body := make(chan struct{})
	go func() { // ends with the body or the link, at the latest with the deadline below
		defer close(body)
		if req.spec.Stdin {
			copyBody(l, r.Body)
		}
	}()
	go watchBody(r, l, body) // ends with the body
	err = copyOutput(w, r, flow, l, req)
	l.Close()
	_ = flow.SetReadDeadline(time.Now()) // nobody needs the rest of the body
	<-body
	switch exit := opened.info().Exit; {
	case err != io.EOF:
		h.Set("Stoker-Error", oneLine(err.Error()))
	case exit != nil:
		h.Set("Stoker-Exit-Code", strconv.Itoa(exit.Code))
		h.Set("Stoker-Error", oneLine(exit.Why))
	}
	return nil
}

// watchBody closes the link of a client that leaves while its body is not read, which net/http does not notice.
func watchBody(r *http.Request, l link, body <-chan struct{}) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	c := access.ConnOf(r)
	for c != nil {
		select {
		case <-body:
			return
		case <-ticks.C:
			if hungUp(c) {
				l.Close()
				return
			}
		}
	}
}

// oneLine is a text that can be a header.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// copyBody hands a body to the process.
func copyBody(l link, body io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 && l.Write(buf[:n]) != nil {
			return
		}
		switch {
		case err == io.EOF:
			l.CloseStdin()
			return
		case err != nil:
			l.Close() // input that is cut off is no input that has ended
			return
		}
	}
}

// copyOutput sends output as it comes, until there is no more.
func copyOutput(w http.ResponseWriter, r *http.Request, flow *http.ResponseController, l link, req request) error {
	for {
		chunk, err := l.Next(r.Context())
		if err != nil {
			return err
		}
		if chunk.Stream == console.Stderr && !req.stderr || chunk.Stream == console.Stdout && !req.stdout {
			continue
		}
		for data := chunk.Data; len(data) > 0; {
			part := data[:min(len(data), 4<<10)] // a client that reads slowly makes room for that much in time
			data = data[len(part):]
			_ = flow.SetWriteDeadline(time.Now().Add(deadTime))
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		if err := flow.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
}
