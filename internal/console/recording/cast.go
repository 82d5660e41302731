// Package recording writes and reads recordings of sessions: asciicast v2, which asciinema plays. The header says who ran what, and
// from the end of the session on with which result. It draws nothing; the terminal of who replays a recording does.
package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/console"
)

// Header is the first line of a recording.
type Header struct {
	Version   int               `json:"version"` // 2
	Width     int               `json:"width"`   // columns
	Height    int               `json:"height"`  // rows
	Timestamp int64             `json:"timestamp"`
	Command   string            `json:"command,omitempty"`
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Stoker    *Session          `json:"stoker,omitempty"` // the last field, with Exit as its last one: both are appended to
}

// Session is what stoker adds to a header; other players ignore it.
type Session struct {
	ID      string    `json:"session"`
	By      string    `json:"by"`                // the identity, as "token ops"
	Address string    `json:"address,omitempty"` // of a client by TCP
	Argv    []string  `json:"argv"`
	Context string    `json:"context,omitempty"`
	User    string    `json:"user,omitempty"`
	TTY     bool      `json:"tty"`
	AuditID string    `json:"audit_id,omitempty"`
	Started time.Time `json:"started"`
	Exit    *Exit     `json:"exit,omitempty"` // nil: it goes on, or its end was not seen
}

// Exit is the end of a session.
type Exit struct {
	console.Exit
	Seconds float64 `json:"seconds"`            // since the start
	LeftOut int64   `json:"left_out,omitempty"` // bytes of output that are not in the recording
}

// Event is one of the other lines.
type Event struct {
	Time float64 // seconds since the start
	Kind string  // see below; others may follow in files of other programs
	Data string
}

// Kinds of events.
const (
	Output = "o"
	Input  = "i"
	Resize = "r" // Data is COLUMNSxROWS
	Marker = "m"
)

// exitRoom is how long a header's line can grow at the end, in bytes: it is padded with spaces, which JSON allows, and then rewritten
// in place.
const exitRoom = 384

// encodeHeader returns the line of a header, with room for an Exit.
func encodeHeader(h Header) ([]byte, error) {
	line, err := encode(h)
	line = append(line, bytes.Repeat([]byte(" "), exitRoom)...)
	return append(line, '\n'), err
}

// withExit puts an Exit into the line of a header, which keeps its length. Why is cut to what fits.
func withExit(line []byte, e Exit) ([]byte, error) {
	text := bytes.TrimRight(line, " \n")
	if !bytes.HasSuffix(text, []byte(`"}}`)) { // the last field is the text of the start's time
		return nil, errors.New("its header has an end already, or is not complete")
	}
	for {
		end, err := encode(e)
		if err != nil {
			return nil, err
		}
		out := fmt.Appendf(bytes.Clone(text[:len(text)-2]), `,"exit":%s}}`, end)
		if room := len(line) - 1 - len(out); room >= 0 {
			return append(append(out, bytes.Repeat([]byte(" "), room)...), '\n'), nil
		}
		if e.Why == "" {
			return nil, errors.New("its header has no room for the end")
		}
		cut := []rune(e.Why)
		e.Why = string(cut[:len(cut)*3/4])
	}
}

// encodeEvent returns the line of an event. Invalid UTF-8 becomes U+FFFD.
func encodeEvent(e Event) []byte {
	data, err := encode(e.Data)
	if err != nil {
		data = []byte(`""`) // a string can always be encoded
	}
	return fmt.Appendf(nil, "[%.6f, \"%s\", %s]\n", e.Time, e.Kind, data)
}

// encode returns JSON on one line, without its line feed. < and > stay what they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// maxLine bounds a line that is read, in bytes.
const maxLine = 1 << 20

// Reader reads a recording.
type Reader struct {
	Header Header
	r      *bufio.Reader
	line   int
	last   float64 // time of the last event
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{r: bufio.NewReader(r)}
	text, err := c.readLine()
	if err == io.EOF {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the recording: %w", err)
	}
	if c.Header, err = decodeHeader(text); err != nil {
		return nil, fmt.Errorf("cannot read the recording: %w", err)
	}
	return c, nil
}

func decodeHeader(line []byte) (h Header, err error) {
	switch err := json.Unmarshal(line, &h); {
	case err != nil:
		return h, fmt.Errorf("line 1 is not the header of an asciicast: %w", err)
	case h.Version != 2:
		return h, fmt.Errorf("it is an asciicast of version %d, and only 2 can be read", h.Version)
	}
	return h, nil
}

// Next returns the next event; io.EOF: there is no other. A last line without a line feed is still being written, and not an event.
func (c *Reader) Next() (Event, error) {
	text, err := c.readLine()
	for err == nil && len(bytes.TrimSpace(text)) == 0 {
		text, err = c.readLine()
	}
	switch {
	case err == io.EOF:
		return Event{}, io.EOF
	case err != nil:
		return Event{}, fmt.Errorf("cannot read the recording: %w", err)
	}
	e, err := decodeEvent(text)
	if err != nil {
		return Event{}, fmt.Errorf("cannot read the recording: line %d: %w", c.line, err)
	}
	e.Time = max(e.Time, c.last)
	c.last = e.Time
	return e, nil
}

func decodeEvent(line []byte) (e Event, err error) {
	var parts []json.RawMessage
	if err = json.Unmarshal(line, &parts); err == nil && len(parts) != 3 {
		err = fmt.Errorf("it has %d parts, want 3", len(parts))
	}
	if err != nil {
		return e, fmt.Errorf("it is not an event: %w", err)
	}
	for k, field := range []any{&e.Time, &e.Kind, &e.Data} {
		if err := json.Unmarshal(parts[k], field); err != nil {
			return e, fmt.Errorf("it is not an event: %w", err)
		}
	}
	return e, nil
}

// readLine returns a line. io.EOF: there is no whole one.
func (c *Reader) readLine() ([]byte, error) {
	var line []byte
	for c.line++; ; {
		part, err := c.r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxLine {
			return nil, fmt.Errorf("line %d has more than %d bytes", c.line, maxLine)
		}
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// title is a command on one line.
func title(argv []string) string {
	const most = 200 // bytes
	text := strings.Join(argv, " ")
	return strings.ToValidUTF8(text[:min(len(text), most)], "\ufffd")
}
