package layeredyaml

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// brokenText is a file that is no YAML.
type brokenText struct {
	lines   []string // without line ends
	at      int      // the first line that is wrong, from 0
	example string   // the smallest document
}

// syntaxError is what is wrong with a line.
type syntaxError struct {
	line   int // in lines, from 0
	column int // in bytes, from 0
	valueError
}

// explain finds out what is wrong from the YAML library's message and the line itself; ok
// is false if there is no better message than the library's.
func (b brokenText) explain(message string) (f syntaxError, ok bool) {
	for _, check := range []func(message string) (syntaxError, bool){b.foreignFile, b.tab, b.firstCharacter, b.quotes, b.brackets, b.afterKey,
		b.noColon, b.secondColon, b.indentation} {
		if f, ok = check(message); ok {
			return f, true
		}
	}
	return f, false
}

func (b brokenText) line() string { return b.lines[b.at] }

func (b brokenText) here(column int, message, hint string) (syntaxError, bool) {
	return syntaxError{b.at, column, valueError{message, hint}}, true
}

// containsAny reports whether a message contains one of the parts.
func containsAny(message string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(message, part) })
}

func none() (syntaxError, bool) { return syntaxError{}, false }

// before returns the last line above that is neither empty nor a comment; -1: none.
func (b brokenText) before(line int) int {
	for k := line - 1; k >= 0; k-- {
		if text := strings.TrimSpace(b.lines[k]); text != "" && text[0] != '#' {
			return k
		}
	}
	return -1
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// valueOfKey returns what follows the colon of a key in a line of YAML.
func valueOfKey(line string) (value string, ok bool) {
	m := regexp.MustCompile(`^[ ]*(?:- +)*("[^"]*"|'[^']*'|[^\s#:,{}\[\]"'-][^:,{}\[\]]*):(?:\s+(.*))?$`).FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	value = strings.TrimSpace(m[2])
	if strings.HasPrefix(value, "#") {
		value = ""
	}
	return value, true
}

// foreignFile detects files of other programs, and merge conflicts.
func (b brokenText) foreignFile(string) (syntaxError, bool) {
	if first := b.before(len(b.lines)); first >= 0 {
		for first = 0; strings.TrimSpace(b.lines[first]) == "" || strings.TrimSpace(b.lines[first])[0] == '#'; first++ {
		}
		if regexp.MustCompile(`^\[[A-Za-z][\w:. -]*\]\s*$`).MatchString(b.lines[first]) {
			return syntaxError{first, 0, valueError{"this is an INI file, as of Supervisor or systemd", "write " + b.example}}, true
		}
	}
	if regexp.MustCompile(`^(<<<<<<<|=======|>>>>>>>)( |$)`).MatchString(b.line()) {
		return b.here(0, "a merge conflict is left in the file", "resolve it, and remove the lines <<<<<<<, ======= and >>>>>>>")
	}
	return none()
}

func (b brokenText) tab(string) (syntaxError, bool) {
	blank := b.line()[:len(b.line())-len(strings.TrimLeft(b.line(), " \t"))]
	if at := strings.IndexByte(blank, '\t'); at >= 0 {
		return b.here(at, "the line is indented with a tab", "use spaces")
	}
	return none()
}

// firstCharacter detects values that begin with a reserved character.
func (b brokenText) firstCharacter(message string) (syntaxError, bool) {
	marks := ""
	switch {
	case strings.Contains(message, "cannot start any token"):
		marks = "@`%"
	case containsAny(message, "alphabetic or numeric", "unknown anchor"):
		marks = "*&"
	case strings.Contains(message, "tag"):
		marks = "!"
	default:
		return none()
	}
	m := regexp.MustCompile(`(?:^\s*|[:,\[{-]\s+|[\[{,])([` + marks + `][^,\]}#]*)`).FindStringSubmatchIndex(b.line())
	if m == nil {
		return none()
	}
	value := strings.TrimSpace(b.line()[m[2]:m[3]])
	if name, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name, _, _ = strings.Cut(name, "'")
		return b.here(m[2], "there is no anchor &"+name,
			"write &"+name+" at what it stands for, further up, or put the value in quotes: "+Quote("", value))
	}
	return b.here(m[2], fmt.Sprintf("a value cannot begin with %c", value[0]), "put it in quotes: "+Quote("", value))
}

// quotes detects errors of quoted values.
func (b brokenText) quotes(message string) (syntaxError, bool) {
	line := b.line()
	opening := regexp.MustCompile(`(?:^\s*|[:,\[{-]\s+|[\[{,])(["'])`)
	m := opening.FindStringSubmatchIndex(line)
	switch {
	case strings.Contains(message, "unknown escape"):
		at := regexp.MustCompile(`\\[^0abtnvfre "/\\N_LPxuU]`).FindStringIndex(line)
		if at == nil {
			return none()
		}
		return b.here(at[0], fmt.Sprintf("%s is no escape in double quotes", line[at[0]:at[1]]),
			`use single quotes, or write \\ for a backslash`)
	case m == nil:
		return none()
	}
	for _, m := range opening.FindAllStringSubmatchIndex(line, -1) {
		end := closingQuote(line, m[2])
		switch {
		case end < 0 && containsAny(message, "end of stream", "document indicator"):
			return b.here(m[2], "the quote is not closed", "end the value with "+line[m[2]:m[3]])
		case end < 0:
			return none()
		}
		rest := strings.TrimLeft(line[end+1:], " ")
		if rest != "" && !strings.ContainsRune(":,]}#", rune(rest[0])) && strings.Contains(message, "did not find expected") {
			return b.here(len(line)-len(rest), "there is text after the closing quote",
				`put the whole value in quotes; within '...' a quote is written twice, within "..." as \"`)
		}
	}
	return none()
}

// closingQuote returns the position of the quote that closes the one at open; -1: it is not
// in this line.
func closingQuote(line string, open int) int {
	q := line[open]
	for k := open + 1; k < len(line); k++ {
		switch {
		case q == '"' && line[k] == '\\':
			k++
		case line[k] == q && q == '\'' && k+1 < len(line) && line[k+1] == q:
			k++
		case line[k] == q:
			return k
		}
	}
	return -1
}

// brackets detects errors of lists and sections in one line.
func (b brokenText) brackets(message string) (syntaxError, bool) {
	line := b.line()
	var open []int
	for k := 0; k < len(line); k++ {
		switch c := line[k]; c {
		case '"', '\'':
			if k > 0 && strings.ContainsRune(" [{,", rune(line[k-1])) {
				if end := closingQuote(line, k); end > 0 {
					k = end
				}
			}
		case '#':
			if k > 0 && line[k-1] == ' ' {
				k = len(line)
			}
		case '[', '{':
			if len(open) > 0 || k == 0 || strings.ContainsRune(" [{,:-", rune(line[k-1])) {
				open = append(open, k)
			}
		case ']', '}':
			if len(open) == 0 && strings.Contains(message, "did not find expected key") && k > 0 && strings.ContainsAny(line[:k], "]}") {
				return b.here(k, fmt.Sprintf("unexpected %c", c), "remove it")
			}
			if len(open) == 0 {
				continue
			}
			begun := line[open[len(open)-1]]
			if want := map[byte]byte{'[': ']', '{': '}'}[begun]; want != c {
				return b.here(k, fmt.Sprintf("%c closes what %c began", c, begun), fmt.Sprintf("write %c", want))
			}
			open = open[:len(open)-1]
		}
	}
	if at := strings.Index(line, " // "); at >= 0 && strings.Contains(message, "did not find expected ','") {
		return b.here(at+1, "// does not begin a comment", "write # in its place")
	}
	if len(open) > 0 && strings.Contains(message, "did not find expected ','") {
		at := open[len(open)-1]
		return b.here(at, fmt.Sprintf("the %c is not closed", line[at]),
			fmt.Sprintf("write %c at its end, and a comma between two of its items", map[byte]byte{'[': ']', '{': '}'}[line[at]]))
	}
	return none()
}

// afterKey detects what cannot be on the line of its key.
func (b brokenText) afterKey(message string) (syntaxError, bool) {
	colon := strings.Index(b.line(), ": ") + 2
	switch {
	case strings.Contains(message, "block sequence entries"):
		return b.here(colon, "a list item follows its key on the same line", `put it on a line of its own, or write ["item", "item"]`)
	case strings.Contains(message, "comment or line break"):
		return b.here(colon, "there is text after | or >", "begin the text in the next line, indented deeper")
	}
	return none()
}
