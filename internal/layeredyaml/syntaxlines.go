package layeredyaml

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/redact"
)

// noColon detects lines without a key. The library reports them one line too late.
func (b brokenText) noColon(message string) (syntaxError, bool) {
	if !containsAny(message, "expected ':'", "mapping values", "expected key") {
		return none()
	}
	for _, k := range []int{b.at, b.before(b.at)} {
		if k < 0 {
			continue
		}
		text := strings.TrimSpace(b.lines[k])
		if _, ok := valueOfKey(b.lines[k]); ok || text == "" || strings.ContainsAny(text[:1], `-[{"'#|>]}`) || strings.Contains(text, ": ") {
			continue
		}
		column := indentOf(b.lines[k])
		if m := regexp.MustCompile(`^([A-Za-z_][\w-]*):(\S.*)$`).FindStringSubmatch(text); m != nil {
			return syntaxError{k, column + len(m[1]) + 1, valueError{"there is no space after the colon", "write " + m[1] + ": " + m[2]}}, true
		}
		key, rest, _ := strings.Cut(text, " ")
		if regexp.MustCompile(`^[A-Za-z_][\w-]*$`).MatchString(key) && !b.continues(k) {
			hint := "write " + key + ":"
			if rest = strings.TrimSpace(rest); rest != "" {
				hint += " " + rest
			}
			return syntaxError{k, column + len(key), valueError{"there is no colon after the key", hint}}, true
		}
	}
	return none()
}

// continues reports whether a line continues a text that began above it.
func (b brokenText) continues(line int) bool {
	above := b.before(line)
	if above < 0 || indentOf(b.lines[line]) <= indentOf(b.lines[above]) {
		return false
	}
	value, ok := valueOfKey(b.lines[above])
	return !ok || value != ""
}

// indentation compares a line with those above it.
func (b brokenText) indentation(message string) (syntaxError, bool) {
	above := b.before(b.at)
	if above < 0 || !containsAny(message, "mapping values", "did not find expected key", "indicator", "document start") {
		return none()
	}
	line, own := b.line(), indentOf(b.line())
	value, ok := valueOfKey(b.lines[above])
	switch deeper := own > indentOf(b.lines[above]); {
	case ok && deeper && value == "":
		return none() // it begins what the line above is the key of
	case ok && deeper && value[0] != '&':
		return b.here(own, fmt.Sprintf("the line is indented deeper than line %d, which has a value already", above+1),
			fmt.Sprintf("indent it by %s as line %d, or move that value into lines of its own", spaces(indentOf(b.lines[above])), above+1))
	}
	levels := map[int]int{} // of the lines that are open here: indentation to line
	for k := above; k >= 0; k = b.before(k) {
		at := indentOf(b.lines[k])
		deeper := false
		for other := range levels {
			deeper = deeper || other < at
		}
		if _, known := levels[at]; !known && (!deeper || at > own) {
			levels[at] = k
		}
	}
	sibling, known := levels[own]
	if !known {
		best, least := -1, 0
		for at, k := range levels {
			if d := max(at-own, own-at); best < 0 || d < least || d == least && k > best {
				best, least = k, d
			}
		}
		return b.here(own, "the indentation matches no line above",
			fmt.Sprintf("indent it by %s as line %d, or like the line it belongs beside", spaces(indentOf(b.lines[best])), best+1))
	}
	item := strings.HasPrefix(line[own:], "- ")
	if item != strings.HasPrefix(b.lines[sibling][own:], "- ") {
		if item {
			return b.here(own, fmt.Sprintf("a list item stands at the level of the key on line %d", sibling+1),
				"indent it deeper, below its own key, or remove the -")
		}
		return b.here(own, fmt.Sprintf("a key stands at the level of the list item on line %d", sibling+1),
			"begin it with - too, or indent it otherwise")
	}
	return none()
}

func spaces(n int) string {
	if n == 1 {
		return "1 space"
	}
	return fmt.Sprintf("%d spaces", n)
}

// secondColon detects a colon and a space in a value without quotes.
func (b brokenText) secondColon(message string) (syntaxError, bool) {
	if !containsAny(message, "mapping values", "expected ','") {
		return none()
	}
	m := regexp.MustCompile(`(?:^\s*(?:- +)*|[{,]\s*)([^\s:,{}\[\]"']+): +([^"'\[{,|>\s][^,\]}]*?): `).FindStringSubmatchIndex(b.line() + " ")
	if m == nil {
		return none()
	}
	value := regexp.MustCompile(`^[^,\]}]*`).FindString(b.line()[m[4]:])
	return b.here(m[5], "the value contains a colon and a space",
		"put the value in quotes: "+b.line()[m[2]:m[3]]+": "+Quote(b.line()[m[2]:m[3]], value))
}

// maxShown bounds a line that is shown, in bytes.
const maxShown = 120

// sourceLine is a line as it is shown; empty if it may hold a secret, or is too long.
func sourceLine(line string) string {
	line = strings.TrimRight(strings.ReplaceAll(line, "\t", " "), " \r")
	if len(line) > maxShown || !utf8.ValidString(line) || redact.Line(line) != line {
		return ""
	}
	for _, name := range regexp.MustCompile(`[A-Za-z0-9_.-]+`).FindAllString(line, -1) {
		if redact.Name(name) {
			return ""
		}
	}
	return line
}
