package hooks

import (
	"strings"
	"unicode"
)

// maxQuoted bounds what an error quotes, in bytes.
const maxQuoted = 200

// oneLine is the beginning of text that somebody else wrote, in one line and unable
// to steer a terminal.
func oneLine(text string) string {
	short := text[:min(len(text), maxQuoted)]
	short = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsGraphic(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(short, "?"))
	if len(text) > maxQuoted {
		short += "..."
	}
	return strings.TrimSpace(short)
}

// shorten quotes text for an error.
func shorten(text string) string { return `"` + oneLine(text) + `"` }

// lastLine is the last line of a program's output that is not empty, and no hint of
// stoker's own: what stands before that says what is wrong.
func lastLine(text string) string {
	for {
		text = strings.TrimRight(text, "\r\n\t ")
		at := strings.LastIndexByte(text, '\n') + 1
		if at == 0 || !strings.HasPrefix(text[at:], "hint: ") {
			return oneLine(text[at:])
		}
		text = text[:at]
	}
}

// firstLine is the first line of an answer that is not empty.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n\t "), "\n")
	return oneLine(line)
}
