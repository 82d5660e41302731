package layeredyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/reference"
)

// maxProblems bounds a report: a file of another program, given by mistake, has a problem
// in each line.
const maxProblems = 200

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

// report collects the problems of one load, and what keeps later checks from reporting
// the consequences of an earlier problem.
type report struct {
	problems Problems
	warnings Problems
	seen     map[Problem]bool
	dropped  int             // problems past maxProblems
	reported map[string]bool // paths that have a problem
	meant    map[string]bool // paths that a misspelt key probably meant to set
	partial  bool            // a whole file was refused: absence proves nothing
}

func newReport() *report {
	return &report{seen: map[Problem]bool{}, reported: map[string]bool{}, meant: map[string]bool{}}
}

// add records a problem once: an anchor's contents are decoded at each alias.
func (r *report) add(p Problem) {
	switch {
	case r.seen[p]:
	case len(r.problems) == maxProblems:
		r.dropped++
	default:
		r.seen[p] = true
		r.problems = append(r.problems, p)
	}
	if p.Path != "" {
		r.reported[p.Path] = true
	}
}

func (r *report) warn(p Problem) {
	if !r.seen[p] {
		r.seen[p] = true
		r.warnings = append(r.warnings, p)
	}
}

// within reports whether path or a section around it is in paths.
func within(paths map[string]bool, path string) bool {
	return paths[path] || slices.ContainsFunc(Ancestors(path), func(a string) bool { return paths[a] })
}

// sorted returns the problems by file in the order of files, then by place.
// Those of no file come last.
func (r *report) sorted(files []string) Problems {
	rank := func(p Problem) int {
		if i := slices.Index(files, p.File); i >= 0 {
			return i
		}
		if p.File == "" {
			return len(files) + 1
		}
		return len(files)
	}
	out := slices.Clone(r.problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	if r.dropped > 0 {
		out = append(out, Problem{Message: fmt.Sprintf("%d more problems are not shown", r.dropped)})
	}
	return out
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
