package logs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// How long the beginning of a line waits for its end before it is forwarded as a fragment:
// a prompt has no end. In FormatJSON only long waits cut a line.
const (
	holdPrompt = 50 * time.Millisecond
	holdLong   = time.Second
)

func (f Format) hold() time.Duration {
	if f == FormatJSON {
		return holdLong
	}
	return holdPrompt
}

// ownName is in place of the service or the stream in lines of stoker itself.
const ownName = "stoker"

// appendLine renders a line for the container's output.
func appendLine(dst []byte, f Format, service string, l Line) []byte {
	if f == FormatJSON {
		line := jsonLine{Time: l.Time.UTC(), Service: service, Stream: streamName(l.Stream), Partial: l.Open}
		if text := string(l.Text); utf8.ValidString(text) {
			line.Text = &text
		} else {
			line.Bytes = l.Text
		}
		return line.append(dst)
	}
	if !l.continued {
		dst = appendPrefix(dst, service)
	}
	dst = append(dst, l.Text...)
	if !l.Open {
		dst = append(dst, '\n')
	}
	return dst
}

func appendPrefix(dst []byte, name string) []byte { return append(append(dst, name...), " | "...) }

// jsonLine is a line in FormatJSON. All fragments of a line but the last are partial:
// concatenated up to the one that is not, they are the line.
type jsonLine struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Stream  string    `json:"stream"`
	Text    *string   `json:"text,omitempty"`
	Bytes   []byte    `json:"bytes,omitempty"` // instead of Text: it is not UTF-8
	Partial bool      `json:"partial,omitempty"`
}

func (line jsonLine) append(dst []byte) []byte {
	out := bytes.NewBuffer(dst)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(line) // it has no value that cannot be encoded
	return out.Bytes()
}

// appendMark renders a line of stoker itself about a service's output.
func appendMark(dst []byte, f Format, service, text string, now time.Time) []byte {
	switch f {
	case FormatPrefix:
		return append(append(appendPrefix(dst, ownName), text...), '\n')
	case FormatJSON:
		return jsonLine{Time: now.UTC(), Service: service, Stream: ownName, Text: &text}.append(dst)
	}
	return fmt.Appendf(dst, "%s: %s\n", ownName, text)
}

// dropMark is the text of a mark.
func dropMark(dropped amount, service, reason string) string {
	return fmt.Sprintf("%d lines (%d bytes) of the output of %s were dropped here: %s", dropped.lines, dropped.bytes, service,
		cmp.Or(reason, "it is not read fast enough"))
}

func streamName(stream int) string {
	if stream == Stderr {
		return "stderr"
	}
	return "stdout"
}
