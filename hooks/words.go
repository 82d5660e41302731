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

// lastLine is the last line of a program's output that is not empty.
func lastLine(text string) string {
	text = strings.TrimRight(text, "\r\n\t ")
	return oneLine(text[strings.LastIndexByte(text, '\n')+1:])
}

// firstLine is the first line of an answer that is not empty.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n\t "), "\n")
	return oneLine(line)
}
