package layeredyaml

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/redact"
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

// syntaxRule explains one kind of syntax error. $1, $2 and $3 are groups of the line, and
// "$1" and "$2" are quoted values.
type syntaxRule struct {
	library string // what the YAML library says, a regular expression
	in      view
	line    string // the line; the group at is where the error is
	message string
	hint    string
}

// view is what of a line a rule sees.
type view int

const (
	asWritten    view = iota
	noQuotes          // the quoted values that are closed are \x01
	noBrackets        // so are comments, and lists and sections that are closed are \x02
	withoutColon      // as written, and the line above too: neither begins or continues a value
)

// maxNesting bounds the lists and sections in each other that noBrackets leaves out.
const maxNesting = 20

// begins is what a value begins behind.
const begins = `(?:^\s*|[:,\[{-]\s+|[\[{,])`

// syntaxRules are tried in this order.
var syntaxRules = []syntaxRule{
	{``, asWritten, `^(?P<at><{7}|={7}|>{7})(?: |$)`, "a merge conflict is left in the file",
		"resolve it, and remove the lines <<<<<<<, ======= and >>>>>>>"},
	{``, asWritten, `^ *(?P<at>\t)`, "the line is indented with a tab", "use spaces"},
	// A reserved character.
	{`cannot start any token`, asWritten, begins + "(?P<at>([@`%])[^,\\]}#]*)", "a value cannot begin with $2", `put it in quotes: "$1"`},
	{`unknown anchor`, asWritten, begins + `(?P<at>\*([^\s,\]}#]*)[^,\]}#]*)`, "there is no anchor &$2",
		`write &$2 at what it stands for, further up, or put the value in quotes: "$1"`},
	{`alphabetic or numeric`, asWritten, begins + `(?P<at>([*&])[^,\]}#]*)`, "a value cannot begin with $2", `put it in quotes: "$1"`},
	{`tag`, asWritten, begins + `(?P<at>(!)[^,\]}#]*)`, "a value cannot begin with $2", `put it in quotes: "$1"`},
	// Quotes.
	{`unknown escape`, asWritten, `(?P<at>\\[^0abtnvfre "/\\N_LPxuU])`, "$1 is no escape in double quotes",
		`use single quotes, or write \\ for a backslash`},
	{`end of stream|document indicator`, noQuotes, begins + `(?P<at>["'])`, "the quote is not closed", "end the value with $1"},
	{`did not find expected`, noQuotes, `\x01 *(?P<at>[^ :,\]}#\x01])`, "there is text after the closing quote",
		`put the whole value in quotes; within '...' a quote is written twice, within "..." as \"`},
	// Brackets.
	{`expected key`, noBrackets, `\x02[^\[{]*?(?P<at>[\]}])`, "unexpected $1", "remove it"},
	{``, noBrackets, begins + `\[[^\[\]{}]*(?P<at>\})`, "} closes what [ began", "write ]"},
	{``, noBrackets, begins + `\{[^\[\]{}]*(?P<at>\])`, "] closes what { began", "write }"},
	{`expected ','`, noBrackets, ` (?P<at>//) `, "// does not begin a comment", "write # in its place"},
	{`expected ','`, noBrackets, `(?P<at>\[)[^\[\]{}]*$`, "the [ is not closed", "write ] at its end, and a comma between two of its items"},
	{`expected ','`, noBrackets, `(?P<at>\{)[^\[\]{}]*$`, "the { is not closed", "write } at its end, and a comma between two of its items"},
	// Keys.
	{`block sequence entries`, asWritten, `: (?P<at>.*)`, "a list item follows its key on the same line",
		`put it on a line of its own, or write ["item", "item"]`},
	{`comment or line break`, asWritten, `: (?P<at>.*)`, "there is text after | or >", "begin the text in the next line, indented deeper"},
	{`expected ':'|mapping values|expected key`, withoutColon, `^ *([A-Za-z_][\w-]*:)(?P<at>[^\s:](?:[^:]|:\S)*)$`,
		"there is no space after the colon", "write $1 $2"},
	{`expected ':'|mapping values|expected key`, withoutColon, `^ *([A-Za-z_][\w-]*)(?P<at>)( (?:[^:]|:\S)*)?$`,
		"there is no colon after the key", "write $1:$3"},
	{`mapping values|expected ','`, asWritten, `(?:^\s*(?:- +)*|[{,]\s*)([^\s:,{}\[\]"']+): +([^"'\[{,|>\s][^,\]}]*?(?P<at>:)(?: [^,\]}]*|$))`,
		"the value contains a colon and a space", `put the value in quotes: $1: "$2"`},
}

// The first line of files of Supervisor and systemd, and what a view leaves out.
var (
	iniSection     = lazyregexp.New(`^\[[A-Za-z][\w:. -]*\]\s*$`)
	escapedQuote   = lazyregexp.New(`''|\\["\\]`)
	closedQuote    = lazyregexp.New(begins + `("[^"]*"|'[^']*')`)
	comment        = lazyregexp.New(` (#.*)`)
	closedBrackets = lazyregexp.New(`(\[[^\[\]{}]*\]|\{[^\[\]{}]*\})`)
)

// explain finds out what is wrong from the YAML library's message and the line itself; ok
// is false if there is no better message than the library's.
func (b brokenText) explain(message string) (e syntaxError, ok bool) {
	for k, line := range b.lines {
		if iniSection().MatchString(line) {
			return syntaxError{k, 0, valueError{"this is an INI file, as of Supervisor or systemd", "write " + b.example}}, true
		}
		if text := strings.TrimSpace(line); text != "" && text[0] != '#' {
			break
		}
	}
	for _, rule := range syntaxRules {
		if !regexp.MustCompile(rule.library).MatchString(message) {
			continue
		}
		e, ok = b.apply(rule, b.at)
		if above := b.before(b.at); !ok && rule.in == withoutColon && above >= 0 { // the library is a line late
			e, ok = b.apply(rule, above)
		}
		if ok {
			return e, true
		}
	}
	return b.indentation(message)
}

// apply tries one rule on a line.
func (b brokenText) apply(rule syntaxRule, at int) (e syntaxError, ok bool) {
	line := b.lines[at]
	seen := line
	switch {
	case rule.in == withoutColon && b.continues(at):
		return e, false
	case rule.in == noQuotes || rule.in == noBrackets:
		seen = blank(closedQuote(), escapedQuote().ReplaceAllString(line, "__"), "\x01")
	}
	if rule.in == noBrackets {
		seen = blank(comment(), seen, "\x01")
		for range maxNesting {
			seen = blank(closedBrackets(), seen, "\x02")
		}
	}
	pattern := regexp.MustCompile(rule.line)
	m := pattern.FindStringSubmatchIndex(seen)
	if m == nil {
		return e, false
	}
	var group [4]string
	for k := range min(len(group), len(m)/2) {
		if m[2*k] >= 0 {
			group[k] = strings.TrimRight(line[m[2*k]:m[2*k+1]], " ")
		}
	}
	fill := strings.NewReplacer(`"$1"`, Quote("", group[1]), `"$2"`, Quote(group[1], group[2]), "$1", group[1], "$2", group[2], "$3", group[3])
	return syntaxError{at, m[2*pattern.SubexpIndex("at")], valueError{fill.Replace(rule.message), fill.Replace(rule.hint)}}, true
}

// blank replaces each character of what the first group of a pattern matches.
func blank(pattern *regexp.Regexp, line, by string) string {
	out := []byte(line)
	for _, m := range pattern.FindAllStringSubmatchIndex(line, -1) {
		copy(out[m[2]:m[3]], strings.Repeat(by, m[3]-m[2]))
	}
	return string(out)
}

// before returns the last line above that is neither empty nor a comment; -1: none.
func (b brokenText) before(line int) int {
	for k := line - 1; k >= 0; k-- {
		if text := strings.TrimSpace(b.lines[k]); text != "" && text[0] != '#' {
			return k
		}
	}
	return -1
}

func (b brokenText) indent(line int) int {
	return len(b.lines[line]) - len(strings.TrimLeft(b.lines[line], " "))
}

var keyLine = lazyregexp.New(`^ *(?:- +)*(?:"[^"]*"|'[^']*'|[^\s#:,{}\[\]"'-][^:,{}\[\]]*):(?:\s+([^\s#].*)?(?:#.*)?)?$`)

// keyOf reports whether a line begins with a key, and returns the value behind it.
func (b brokenText) keyOf(line int) (value string, ok bool) {
	m := keyLine().FindStringSubmatch(b.lines[line])
	if m == nil {
		return "", false
	}
	return m[1], true
}

// continues reports whether a line continues a text that began above it.
func (b brokenText) continues(line int) bool {
	above := b.before(line)
	if above < 0 || b.indent(line) <= b.indent(above) {
		return false
	}
	value, ok := b.keyOf(above)
	return !ok || value != ""
}

// indentation compares a line with those above it.
func (b brokenText) indentation(message string) (e syntaxError, ok bool) {
	above, own := b.before(b.at), b.indent(b.at)
	if above < 0 || !regexp.MustCompile(`mapping values|did not find expected key|indicator|document start`).MatchString(message) {
		return e, false
	}
	e = syntaxError{line: b.at, column: own}
	value, ok := b.keyOf(above)
	switch deeper := own > b.indent(above); {
	case ok && deeper && value == "":
		return e, false // it begins what the line above is the key of
	case ok && deeper && value[0] != '&':
		e.message = fmt.Sprintf("the line is indented deeper than line %d, which has a value already", above+1)
		e.hint = fmt.Sprintf("indent it by %s as line %d, or move that value into lines of its own", spaces(b.indent(above)), above+1)
		return e, true
	}
	nearest, least := above, b.indent(above) // of the lines that are open here
	distance := func(line int) int { return max(b.indent(line)-own, own-b.indent(line)) }
	for k := above; k >= 0; k = b.before(k) {
		if b.indent(k) < least && distance(k) < distance(nearest) {
			nearest = k
		}
		least = min(least, b.indent(k))
	}
	item, siblingIsItem := strings.HasPrefix(b.lines[b.at][own:], "- "), strings.HasPrefix(strings.TrimLeft(b.lines[nearest], " "), "- ")
	switch {
	case distance(nearest) > 0:
		e.message = "the indentation matches no line above"
		e.hint = fmt.Sprintf("indent it by %s as line %d, or like the line it belongs beside", spaces(b.indent(nearest)), nearest+1)
	case item && !siblingIsItem:
		e.message = fmt.Sprintf("a list item stands at the level of the key on line %d", nearest+1)
		e.hint = "indent it deeper, below its own key, or remove the -"
	case !item && siblingIsItem:
		e.message = fmt.Sprintf("a key stands at the level of the list item on line %d", nearest+1)
		e.hint = "begin it with - too, or indent it otherwise"
	}
	return e, e.message != ""
}

func spaces(n int) string {
	if n == 1 {
		return "1 space"
	}
	return fmt.Sprintf("%d spaces", n)
}

// maxShown bounds a line that is shown, in bytes.
const maxShown = 120

var nameLike = lazyregexp.New(`[A-Za-z0-9_.-]+`)

// sourceLine is a line as it is shown; empty if it may hold a secret, or is too long.
func sourceLine(line string) string {
	line = strings.TrimRight(strings.ReplaceAll(line, "\t", " "), " \r")
	if len(line) > maxShown || !utf8.ValidString(line) || redact.Line(line) != line ||
		slices.ContainsFunc(nameLike().FindAllString(line, -1), redact.Name) {
		return ""
	}
	return line
}
