package hooks

import (
	"strings"

	"github.com/stoker-init/stoker/internal/proc"
)

// shorten quotes text for an error.
func quote(text string) string { return `"` + proc.OneLine(text) + `"` }

// lastLine is the last line of a program's output that is not empty, and no hint of
// stoker's own: what stands before that says what is wrong.
func lastLine(text string) string {
	for {
		text = strings.TrimRight(text, "\r\n\t ")
		at := strings.LastIndexByte(text, '\n') + 1
		if at == 0 || !strings.HasPrefix(text[at:], "hint: ") {
			return proc.OneLine(text[at:])
		}
		text = text[:at]
	}
}

// firstLine is the first line of an answer that is not empty.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n\t "), "\n")
	return proc.OneLine(line)
}
