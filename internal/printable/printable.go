// Package printable makes untrusted text safe for a terminal: the output of a service or a
// plugin, or an answer at a socket, must not control it. Secrets are masked by package
// redact.
package printable

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text replaces control characters other than line feeds and tabs, invisible characters
// and those that change the direction of writing by "?". Invalid UTF-8 becomes U+FFFD.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return visible(r)
	}, s)
}

// Line is Text that replaces line feeds and tabs too.
func Line(s string) string { return strings.Map(visible, s) }

func visible(r rune) rune {
	if !unicode.IsGraphic(r) {
		return '?'
	}
	return r
}

// JSON escapes in a JSON text what Text would replace. It can only be in strings, and
// encoding/json does not escape what is not ASCII.
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

// hidden reports whether a character of a JSON text must be escaped.
func hidden(r rune) bool { return r >= 0x7f && !unicode.IsGraphic(r) }

// Cutter holds the beginning of a character back until the rest comes with the next write.
type Cutter struct{ rest []byte }

// Next returns what can be written of p and what was held back.
func (c *Cutter) Next(p []byte) []byte {
	text := append(c.rest, p...)
	c.rest = nil
	for k := max(0, len(text)-utf8.UTFMax+1); k < len(text); k++ {
		if utf8.RuneStart(text[k]) && !utf8.FullRune(text[k:]) {
			text, c.rest = text[:k], bytes.Clone(text[k:])
			break
		}
	}
	return text
}

// End returns what is still held back: the rest never came.
func (c *Cutter) End() []byte {
	text := c.rest
	c.rest = nil
	return text
}

// Writer converts what is written to it by Text. A character may be split between two
// writes.
type Writer struct {
	w   io.Writer
	cut Cutter
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write converts p and writes it.
func (w *Writer) Write(p []byte) (int, error) {
	text := w.cut.Next(p)
	if len(text) == 0 {
		return len(p), nil
	}
	if _, err := io.WriteString(w.w, Text(string(text))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// maxQuoted bounds what an error quotes of a text, in bytes.
const maxQuoted = 200

// OneLine is the beginning of text that another program wrote, in one line and unable
// to steer a terminal.
func OneLine(text string) string {
	short := strings.ToValidUTF8(text[:min(len(text), maxQuoted)], "?")
	short = Line(strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(short))
	if len(text) > maxQuoted {
		short += "..."
	}
	return strings.TrimSpace(short)
}

// LastLines are the last lines of a program's output, n at most and none of them
// empty, each as OneLine gives it.
func LastLines(output string, n int) string {
	var out []string
	for output = strings.TrimSpace(output); output != "" && len(out) < n; output = strings.TrimSpace(output) {
		at := strings.LastIndexByte(output, '\n') + 1
		out = append([]string{OneLine(output[at:])}, out...)
		output = output[:at]
	}
	return strings.Join(out, " | ")
}
