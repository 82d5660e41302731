package logs

import (
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"
)

// ownName is how our own marks are told from a service's lines.
const ownName = "stoker"

// appendPiece renders a piece for the container's output.
func appendPiece(dst []byte, f Format, service string, p piece) []byte {
	if f == FormatJSON {
		return appendJSON(dst, service, p)
	}
	if p.begins {
		dst = appendPrefix(dst, service)
	}
	dst = append(dst, p.text...)
	if p.ends {
		dst = append(dst, '\n')
	}
	return dst
}

func appendPrefix(dst []byte, name string) []byte { return append(append(dst, name...), " | "...) }

// appendJSON makes an object of a piece. All pieces of a line but the last are
// "partial": put together up to the one that is not, they are the line.
func appendJSON(dst []byte, service string, p piece) []byte {
	dst = append(dst, `{"time":"`...)
	dst = p.time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","service":`...)
	dst = appendString(dst, []byte(service))
	dst = append(dst, `,"stream":"`...)
	dst = append(dst, streamName(p.stream)...)
	if utf8.Valid(p.text) {
		dst = append(dst, `","text":`...)
		dst = appendString(dst, p.text)
	} else {
		dst = append(dst, `","bytes":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, p.text)
		dst = append(dst, '"')
	}
	if !p.ends {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, "}\n"...)
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

// appendMark renders a line of our own about a service's output.
func appendMark(dst []byte, f Format, service, text string, now time.Time) []byte {
	switch f {
	case FormatPrefix:
		dst = append(appendPrefix(dst, ownName), text...)
	case FormatJSON:
		dst = append(dst, `{"time":"`...)
		dst = now.UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, `","service":`...)
		dst = appendString(dst, []byte(service))
		dst = append(dst, `,"stream":"stoker","text":`...)
		dst = append(appendString(dst, []byte(text)), '}')
	default:
		dst = append(append(append(dst, ownName...), ": "...), text...)
	}
	return append(dst, '\n')
}

// dropMark words that lines are missing.
func dropMark(lines, bytes uint64, service, reason string) string {
	if reason == "" {
		reason = "it is not read fast enough"
	}
	return fmt.Sprintf("%d lines (%d bytes) of the output of %s were dropped here: %s", lines, bytes, service, reason)
}

func streamName(stream int) string {
	if stream == Stderr {
		return "stderr"
	}
	return "stdout"
}
