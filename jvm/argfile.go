package jvm

import (
	"fmt"
	"strings"
)

// ParseArgfile reads a file in the syntax of java's @argfiles: white space
// separates, # begins a comment, quotes protect, and within them a backslash makes
// n, t, r and f what they are in C, joins lines at a line's end, and protects
// anything else. A quote that is not closed ends with its line. Sources are
// name:line.
func ParseArgfile(name, content string) []Option {
	var (
		options []Option
		word    strings.Builder
		open    bool // a word has begun, if only by ""
		quote   byte
		line    = 1
	)
	end := func() {
		if open {
			options = appendArg(options, word.String(), fmt.Sprintf("%s:%d", name, line))
		}
		word.Reset()
		open, quote = false, 0
	}
	content = strings.TrimPrefix(content, "\ufeff")
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case c == '\n' || c == '\r':
			end()
			if c == '\n' {
				line++
			}
		case quote == 0 && (c == ' ' || c == '\t' || c == '\f'):
			end()
		case quote == 0 && c == '#':
			end()
			for i+1 < len(content) && content[i+1] != '\n' {
				i++
			}
		case quote == 0 && (c == '"' || c == '\''):
			quote, open = c, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0 && c == '\\' && i+1 < len(content):
			i++
			if joined := len(content[i:]) - len(strings.TrimLeft(content[i:], "\r\n")); joined > 0 {
				line += strings.Count(content[i:i+joined], "\n")
				rest := strings.TrimLeft(content[i+joined:], " \t\f")
				i = len(content) - len(rest) - 1
				continue
			}
			word.WriteByte(escaped(content[i]))
		default:
			word.WriteByte(c)
			open = true
		}
	}
	end()
	return options
}

// escaped is what a backslash makes of a byte within quotes.
func escaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	}
	return c
}
