// Package printable makes text of others fit for a terminal: the output of a service or a
// plugin, or the answer at a socket, must not steer it. It hides no secrets: package
// redact does.
package printable

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text puts "?" in the place of control characters other than line feeds and tabs, and
// of characters that cannot be seen or turn the direction of writing. What is not UTF-8
// becomes U+FFFD.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return visible(r)
	}, s)
}

// Line is Text with "?" for line feeds and tabs too.
func Line(s string) string { return strings.Map(visible, s) }

func visible(r rune) rune {
	if !unicode.IsGraphic(r) {
		return '?'
	}
	return r
}

// JSON escapes in a JSON text what Text would replace. There it can only be in strings,
// and encoding/json leaves what is not ASCII as it is.
func JSON(text []byte) []byte {
	if !bytes.ContainsFunc(text, hidden) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xffff: // by two halves
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// hidden says whether a character that may be in a JSON text is one to escape.
func hidden(r rune) bool { return r >= 0x7f && !unicode.IsGraphic(r) }

// Writer makes everything that is written to it Text. What a character lacks at the end
// of one write comes with the next.
type Writer struct {
	w    io.Writer
	rest []byte
}

// NewWriter makes one on top of w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes to what is below.
func (w *Writer) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	w.rest = nil
	for k := max(0, len(text)-utf8.UTFMax+1); k < len(text); k++ {
		if utf8.RuneStart(text[k]) && !utf8.FullRune(text[k:]) {
			text, w.rest = text[:k], bytes.Clone(text[k:])
			break
		}
	}
	if len(text) == 0 {
		return len(p), nil
	}
	if _, err := io.WriteString(w.w, Text(string(text))); err != nil {
		return 0, err
	}
	return len(p), nil
}
