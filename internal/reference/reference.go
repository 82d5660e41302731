// Package reference parses texts with references: ${...}, and $${ for a literal ${.
package reference

import (
	"fmt"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// Piece is a part of a text: literal text, or the body of a reference.
type Piece struct {
	Text string
	Ref  bool
}

// Split splits a text at its references.
func Split(text string) ([]Piece, error) {
	var out []Piece
	literal := func(s string) {
		if n := len(out); n > 0 && !out[n-1].Ref {
			out[n-1].Text += s
		} else if s != "" {
			out = append(out, Piece{Text: s})
		}
	}
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			literal(rest)
			return out, nil
		}
		if kept, ok := strings.CutSuffix(before, "$"); ok {
			literal(kept + "${")
			rest = after
			continue
		}
		literal(before)
		body, tail, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("%q is not closed by }", "${"+Shorten(after, 40))
		}
		out = append(out, Piece{Text: body, Ref: true})
		rest = tail
	}
}

var variablePattern = lazyregexp.New(`^([A-Za-z_][A-Za-z0-9_]*)(:-([^\n\r\x00]*))?$`)

// Variable parses NAME or NAME:-TEXT. TEXT replaces an unset or empty value; nil: there is none.
func Variable(body string) (name string, fallback *string, ok bool) {
	m := variablePattern().FindStringSubmatch(body)
	if m == nil {
		return "", nil, false
	}
	if m[2] != "" {
		fallback = &m[3]
	}
	return m[1], fallback, true
}

// Shorten truncates a text to n bytes for a message.
func Shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
