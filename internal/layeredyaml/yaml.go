package layeredyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// node is a parsed value with its line and column.
type node = yaml.Node

// Kinds and styles of a node.
const (
	scalarNode  = yaml.ScalarNode
	listNode    = yaml.SequenceNode
	sectionNode = yaml.MappingNode
	aliasNode   = yaml.AliasNode

	flowStyle    = yaml.FlowStyle
	doubleQuoted = yaml.DoubleQuotedStyle
	taggedStyle  = yaml.TaggedStyle
	anyQuotes    = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
)

// Bounds on the search for a syntax error's line: the bytes that it parses again, and the
// time, since a byte of deeply nested brackets costs ten times that of an ordinary file.
const (
	searchCost = 8 << 20
	searchTime = 500 * time.Millisecond
)

// read returns the documents of a file, at most two of them. The only content of each is its
// root. A panic of the library, which broken input can cause, becomes an error.
func read(data []byte) (docs []*node, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the decoder fails on it: %v", v)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for len(docs) < 2 {
		doc := new(node)
		if err := decoder.Decode(doc); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return docs, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// encode writes a document.
func encode(w io.Writer, n *node) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	return errors.Join(enc.Encode(n), enc.Close())
}

// notText finds the first byte that has no place in a configuration file. The YAML
// library refuses most of them too, but without their place.
func notText(data []byte) (Problem, bool) {
	text := string(data)
	for i, c := range text {
		p := Problem{}
		switch _, size := utf8.DecodeRuneInString(text[i:]); {
		case c == utf8.RuneError && size == 1:
			p.Message, p.Hint = fmt.Sprintf("byte 0x%02x is not UTF-8", text[i]), "save the file as UTF-8"
		case c == 0:
			p.Message, p.Hint = "has a NUL byte", "is this a text file?"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f:
			p.Message = fmt.Sprintf("has the control character 0x%02x", c)
		default:
			continue
		}
		p.Line = strings.Count(text[:i], "\n") + 1
		p.Column = utf8.RuneCountInString(text[strings.LastIndexByte(text[:i], '\n')+1:i]) + 1
		return p, true
	}
	return Problem{}, false
}

// parse returns the root of the only document of data; nil for an empty file. On a
// problem ok is false. example is the smallest document, for hints.
func parse(data []byte, example string) (root *node, p Problem, ok bool) {
	if p, bad := notText(data); bad {
		return nil, p, false
	}
	docs, err := read(data)
	switch {
	case err != nil:
		return nil, syntaxProblem(data, example, err), false
	case len(docs) == 0:
		return nil, p, true
	case len(docs) > 1:
		return nil, Problem{Line: docs[1].Line, Column: docs[1].Column, Message: "a second YAML document begins here",
			Hint: "put it into a file of its own"}, false
	}
	return docs[0].Content[0], p, true
}

// cannotRead begins the message about a file that is no YAML.
const cannotRead = "cannot read YAML: "

var libraryLine = lazyregexp.New(`^line (\d+): `)

// syntaxProblem explains a syntax error, or repeats the YAML library's message, with a
// line that can be relied on where that is cheap to find.
func syntaxProblem(data []byte, example string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{Message: cannotRead + text}
	if m := libraryLine().FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
		p.Message = cannotRead + text
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
	broken := brokenText{at: p.Line - 1, example: example}
	for _, line := range lines {
		broken.lines = append(broken.lines, strings.TrimRight(string(line), "\r\n"))
	}
	if e, ok := broken.explain(text); ok {
		p.Line, p.Message, p.Hint = e.line+1, cannotRead+e.message, e.hint
		p.Column = utf8.RuneCountInString(broken.lines[e.line][:min(e.column, len(broken.lines[e.line]))]) + 1
	}
	p.Source = sourceLine(broken.lines[p.Line-1])
	return p
}

// brokenLine returns the line, counted from 1, after the longest beginning of the file
// that is YAML. The library names the line where the construct began that it was reading,
// which can be the first of the file. ok is false when the search takes too long.
func brokenLine(lines [][]byte) (line int, ok bool) {
	begin := time.Now()
	for k := len(lines) - 1; k > 0; k-- {
		if time.Since(begin) > searchTime {
			return 0, false
		}
		if _, err := read(bytes.Join(lines[:k], nil)); err == nil {
			return k + 1, true
		}
	}
	return 1, true
}
