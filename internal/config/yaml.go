package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds on the search for a syntax error's line: the bytes that it parses
// again, and the time, since a byte of deeply nested brackets costs ten times
// that of an ordinary file.
const (
	searchCost = 8 << 20
	searchTime = 500 * time.Millisecond
)

// decodeFile makes a tree of a file's bytes, by the schema t; nil when it is empty or
// cannot be read as YAML at all. What is wrong goes to the report.
func decodeFile(r *report, name string, data []byte, t reflect.Type) *tree {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if p, bad := notText(data); bad {
		p.File, r.partial = name, true
		r.add(p)
		return nil
	}
	n, p, ok := parse(data)
	if !ok {
		p.File, r.partial = name, true
		r.add(p)
		return nil
	}
	if n == nil {
		return nil
	}
	d := decoder{report: r, name: name, lines: true}
	return d.node(n, t, "")
}

// notText finds the first byte that has no place in a configuration file. The
// YAML library would refuse most of them too, but without saying where.
func notText(data []byte) (Problem, bool) {
	line, column := 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return Problem{Line: line, Column: column, Message: fmt.Sprintf("byte 0x%02x is not UTF-8", data[i]),
				Hint: "save the file as UTF-8"}, true
		case c == 0:
			return Problem{Line: line, Column: column, Message: "has a NUL byte", Hint: "is this a text file?"}, true
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f:
			return Problem{Line: line, Column: column, Message: fmt.Sprintf("has the control character 0x%02x", c)}, true
		}
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
		i += size
	}
	return Problem{}, false
}

// parse returns the one document of data; nil for none. On a problem ok is
// false.
func parse(data []byte) (doc *yaml.Node, p Problem, ok bool) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := dec.Decode(&first)
	if errors.Is(err, io.EOF) {
		return nil, p, true
	}
	if err != nil {
		return nil, syntaxProblem(data, err), false
	}
	switch err = dec.Decode(&second); {
	case err == nil:
		return nil, Problem{Line: second.Line, Column: second.Column, Message: "a second YAML document begins here",
			Hint: "put it into a file of its own in conf.d"}, false
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(data, err), false
	}
	return first.Content[0], p, true
}

// cannotRead begins what is said of a file that is no YAML.
const cannotRead = "cannot read YAML: "

// syntaxProblem says what is wrong, or what the YAML library said, with a line that
// can be relied on where that is cheap to find.
func syntaxProblem(data []byte, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{Message: cannotRead + text}
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Message = cannotRead + text[len(m[0]):]
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines)*len(data) <= searchCost {
		if line, ok := brokenLine(lines); ok {
			p.Line = line
		}
	}
	if p.Line == 0 || p.Line > len(lines) {
		return p
	}
	broken := brokenText{at: p.Line - 1}
	for _, line := range lines {
		broken.lines = append(broken.lines, strings.TrimRight(string(line), "\r\n"))
	}
	if f, ok := broken.explain(strings.TrimPrefix(p.Message, cannotRead)); ok {
		p.Line, p.Message, p.Hint = f.line+1, cannotRead+f.message, f.hint
		p.Column = utf8.RuneCountInString(broken.lines[f.line][:min(f.column, len(broken.lines[f.line]))]) + 1
	}
	p.Source = sourceLine(broken.lines[p.Line-1])
	return p
}

// brokenLine returns the line, counted from 1, after the longest beginning of
// the file that is YAML. The library names the line where the construct began
// that it was reading, which can be the first of the file.
// ok is false when the search takes too long.
func brokenLine(lines [][]byte) (line int, ok bool) {
	begin := time.Now()
	for k := len(lines) - 1; k > 0; k-- {
		if time.Since(begin) > searchTime {
			return 0, false
		}
		var n yaml.Node
		dec := yaml.NewDecoder(bytes.NewReader(bytes.Join(lines[:k], nil)))
		err := dec.Decode(&n)
		if err == nil {
			err = dec.Decode(&n)
		}
		if err == nil || errors.Is(err, io.EOF) {
			return k + 1, true
		}
	}
	return 1, true
}
