package hooks

import (
	"strings"

	"github.com/stoker-init/stoker/internal/printable"
)

// quote quotes text for an error.
func quote(text string) string { return `"` + printable.OneLine(text) + `"` }

// lastLine is the last non-empty line of a program's output that is not a hint of stoker itself.
func lastLine(text string) string {
	for {
		text = strings.TrimRight(text, "\r\n\t ")
		at := strings.LastIndexByte(text, '\n') + 1
		if at == 0 || !strings.HasPrefix(text[at:], "hint: ") {
			return printable.OneLine(text[at:])
		}
		text = text[:at]
	}
}

// firstLine is the first non-empty line of a response.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n\t "), "\n")
	return printable.OneLine(line)
}
