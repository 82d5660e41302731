package logs

import (
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"
)

// Times for which the beginning of a line waits for its end before it is forwarded as a
// fragment: a prompt has no end. An object is not cut for a prompt's sake.
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

// ownName tells the supervisor's own marks from a service's lines.
const ownName = "stoker"

// appendLine renders a line for the container's output.
func appendLine(dst []byte, f Format, service string, l Line) []byte {
	if f == FormatJSON {
		return appendJSON(dst, service, l)
	}
	if !l.rest {
		dst = appendPrefix(dst, service)
	}
	dst = append(dst, l.Text...)
	if !l.Open {
		dst = append(dst, '\n')
	}
	return dst
}

func appendPrefix(dst []byte, name string) []byte { return append(append(dst, name...), " | "...) }

// appendJSON makes an object of a line. All fragments of a line but the last are
// "partial": put together up to the one that is not, they are the line.
func appendJSON(dst []byte, service string, l Line) []byte {
	dst = appendHead(dst, service, streamName(l.Stream), l.Time)
	if utf8.Valid(l.Text) {
		dst = append(dst, `"text":`...)
		dst = appendString(dst, l.Text)
	} else {
		dst = append(dst, `"bytes":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, l.Text)
		dst = append(dst, '"')
	}
	if l.Open {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, "}\n"...)
}

func appendHead(dst []byte, service, stream string, at time.Time) []byte {
	dst = append(dst, `{"time":"`...)
	dst = at.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","service":`...)
	dst = appendString(dst, []byte(service))
	dst = append(dst, `,"stream":"`...)
	return append(append(dst, stream...), `",`...)
}

// appendString quotes valid UTF-8 for JSON (RFC 8259, 7).
func appendString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for k, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:k]...)
		from = k + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\t':
			dst = append(dst, `\t`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// appendMark renders a line of the supervisor's own about a service's output.
func appendMark(dst []byte, f Format, service, text string, now time.Time) []byte {
	switch f {
	case FormatPrefix:
		dst = append(appendPrefix(dst, ownName), text...)
	case FormatJSON:
		dst = append(appendHead(dst, service, ownName, now), `"text":`...)
		dst = append(appendString(dst, []byte(text)), '}')
	default:
		dst = append(append(append(dst, ownName...), ": "...), text...)
	}
	return append(dst, '\n')
}

// dropMark says that lines are missing.
func dropMark(gone amount, service, reason string) string {
	if reason == "" {
		reason = "it is not read fast enough"
	}
	return fmt.Sprintf("%d lines (%d bytes) of the output of %s were dropped here: %s", gone.lines, gone.bytes, service, reason)
}

func streamName(stream int) string {
	if stream == Stderr {
		return "stderr"
	}
	return "stdout"
}
