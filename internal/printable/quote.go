package printable

import (
	"strings"
	"unicode"
)

// maxQuoted bounds what an error quotes of a text, in bytes.
const maxQuoted = 200

// OneLine is the beginning of text that another program wrote, in one line and unable
// to steer a terminal.
func OneLine(text string) string {
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
