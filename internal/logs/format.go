package logs

import (
	"bytes"
	"cmp"
	"encoding/base64"
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
		return appendJSON(dst, service, streamName(l.Stream), l.Time, l.Text, l.Open)
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

// appendJSON renders a line as an object. All fragments of a line but the last are partial:
// concatenated up to the one that is not, they are the line.
func appendJSON(dst []byte, service, stream string, at time.Time, text []byte, partial bool) []byte {
	dst = append(dst, `{"time":"`...)
	dst = at.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = appendString(append(dst, `","service":`...), []byte(service))
	dst = append(append(append(dst, `,"stream":"`...), stream...), `",`...)
	if utf8.Valid(text) {
		dst = appendString(append(dst, `"text":`...), text)
	} else {
		dst = base64.StdEncoding.AppendEncode(append(dst, `"bytes":"`...), text)
		dst = append(dst, '"')
	}
	if partial {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, "}\n"...)
}

// appendString quotes valid UTF-8.
func appendString(dst, s []byte) []byte {
	for _, c := range s {
		if c < ' ' || c == '"' || c == '\\' {
			return appendEscaped(dst, string(s))
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendEscaped(dst []byte, s string) []byte {
	out := bytes.NewBuffer(dst)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can be encoded
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// appendMark renders a line of stoker itself about a service's output.
func appendMark(dst []byte, f Format, service, text string, now time.Time) []byte {
	switch f {
	case FormatPrefix:
		return append(append(appendPrefix(dst, ownName), text...), '\n')
	case FormatJSON:
		return appendJSON(dst, service, ownName, now, []byte(text), false)
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
