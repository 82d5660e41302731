package layeredyaml

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/reference"
)

// Origin is the place that a value was taken from.
type Origin struct {
	// File is a path, "env NAME", "flag --set PATH" or "assumed".
	File string `json:"file"`
	// Line and Column count from 1; 0 where File has no lines.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// String renders the origin as file:line, or as what File says.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// Origins maps dotted paths to where the values came from. A path that is not in it has
// its default. Sections are in it too, with where they first appear.
type Origins map[string]Origin

// Problem is one thing wrong with the configuration, or one warning about it.
type Problem struct {
	// File is the file's path, or "env NAME", or "flag --set PATH"; empty for a missing
	// value.
	File string `json:"file,omitempty"`
	// Line and Column count from 1; 0: not known.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path is the value's place in the schema ("services.tomcat.ready.within").
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	// Hint is what to write instead; may be empty.
	Hint string `json:"hint,omitempty"`
	// Source is the line of the file, for errors of syntax; empty: it is not shown.
	Source string `json:"source,omitempty"`
}

// String renders the problem on one line: file:line:column: path: message (hint).
func (p Problem) String() string {
	text := p.Message
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.File != "" {
		place := Origin{p.File, p.Line, p.Column}.String()
		if p.Line > 0 && p.Column > 0 {
			place += fmt.Sprintf(":%d", p.Column)
		}
		text = place + ": " + text
	}
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text
}

// Problems is an error made of all problems.
type Problems []Problem

// Error prints one problem a line, each followed by its Source with a mark at the column.
func (ps Problems) Error() string {
	var lines []string
	for _, p := range ps {
		lines = append(lines, p.String())
		if p.Source == "" {
			continue
		}
		number := fmt.Sprintf("%5d", p.Line)
		lines = append(lines, number+" | "+p.Source)
		if p.Column > 0 {
			lines = append(lines, strings.Repeat(" ", len(number))+" | "+strings.Repeat(" ", p.Column-1)+"^")
		}
	}
	return strings.Join(lines, "\n")
}

// Quote makes a value safe to print: escaped, bounded, and hidden where its path names a
// secret.
func Quote(path, value string) string {
	if secretPath(path) {
		return `"***"`
	}
	const most = 60
	if len(value) > most {
		return fmt.Sprintf("%+q...", strings.ToValidUTF8(value[:most], ""))
	}
	return fmt.Sprintf("%+q", value)
}

// QuoteList renders words as items of a list.
func QuoteList(words []string) string {
	out := make([]string, len(words))
	for i, word := range words {
		out[i] = fmt.Sprintf("%+q", word)
	}
	return strings.Join(out, ", ")
}

// secretPath reports whether the value at path belongs to a secret key.
func secretPath(path string) bool { return redact.Name(LastKey(path)) }

// Shorten keeps an absurdly long key from filling the report.
func Shorten(key string) string { return reference.Shorten(key, 64) }

// lastKey always matches: a path of another form has an empty key.
var lastKey = lazyregexp.New(`(?:^|\.)("(?:[^"\\]|\\.)*"|[^".\[]*)(?:\[[0-9]+\])*$|$`)

// Join adds keys to a dotted path. A key with other characters than letters, digits, "_"
// and "-" is quoted, so that a path has one meaning.
func Join(path string, keys ...string) string {
	for _, key := range keys {
		if key == "" || strings.ContainsFunc(key, needsQuotes) {
			key = strconv.Quote(key)
		}
		if path != "" {
			path += "."
		}
		path += key
	}
	return path
}

func needsQuotes(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

// Index adds a list position, counted from 0, to a path.
func Index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// Ancestors returns the paths around path, the nearest first. A cut inside a
// quoted key gives a path that nothing has, which does no harm to a look-up.
func Ancestors(path string) []string {
	var out []string
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			out = append(out, path[:i])
		}
	}
	return out
}

// LastKey returns the last key of a path, without list positions and quotes.
func LastKey(path string) string {
	m := lastKey().FindStringSubmatch(path)
	if key, err := strconv.Unquote(m[1]); err == nil {
		return key
	}
	return m[1]
}
