package tomcat

import (
	"slices"
	"strconv"
	"strings"
)

// template is a message of Tomcat's LocalStrings, split into the literal texts between its arguments. It matches a line from its end, which
// is cheap enough for every line.
type template struct {
	key      string
	lang     string
	literals []string // len(args)+1 of them
	args     []int    // the {N} between the literals
	required string   // must be in the line too
}

// newTemplate reads java.text.MessageFormat's syntax. Tomcat formats a message only if it passes arguments, so in one without {N} a quote
// is a quote. ok is false for a message that begins with an argument (nothing marks where it starts in a line) or has no text worth
// matching.
func newTemplate(key, lang, text string) (t template, ok bool) {
	t = template{key: key, lang: lang}
	if !strings.Contains(text, "{") {
		t.literals = []string{text}
		return t, len(text) > 3
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'' && strings.HasPrefix(text[i+1:], "'"):
			b.WriteByte('\'')
			i++
		case c == '\'':
			quoted = !quoted
		case c == '{' && !quoted:
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return t, false
			}
			number, _, _ := strings.Cut(text[i+1:i+end], ",")
			n, err := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || n < 0 || n > 9 {
				return t, false
			}
			t.literals = append(t.literals, b.String())
			t.args = append(t.args, n)
			b.Reset()
			i += end
		default:
			b.WriteByte(c)
		}
	}
	t.literals = append(t.literals, b.String())
	return t, t.usable()
}

func (t template) usable() bool {
	if t.literals[0] == "" {
		return false
	}
	total := 0
	for i, l := range t.literals {
		total += len(l)
		if l == "" && i > 0 && i < len(t.literals)-1 {
			return false // {0}{1}: the border is unknown
		}
	}
	return total > 3
}

// asASCII is the template as a JVM with the charset ASCII prints it (a container without LANG): each other character is a "?". Different
// Chinese messages look the same then, so the class that logged the line must be in it, as in Tomcat's layout.
func (t template) asASCII() (template, bool) {
	out := template{key: t.key, lang: t.lang, args: t.args}
	ascii := func(r rune) rune {
		if r > 0x7e {
			return '?'
		}
		return r
	}
	for _, l := range t.literals {
		out.literals = append(out.literals, strings.Map(ascii, l))
	}
	class, _, _ := strings.Cut(t.key, ".")
	out.required = "." + strings.ToUpper(class[:1]) + class[1:] + "."
	return out, !slices.Equal(out.literals, t.literals)
}

// match finds the message at the end of line (a closing quote of a JSON layout may follow) and returns its arguments by number.
func (t template) match(line string) (args [10]string, ok bool) {
	rest := line
	for i := len(t.literals) - 1; i >= 0; i-- {
		at := len(rest) - len(t.literals[i])
		if i < len(t.literals)-1 {
			at = strings.LastIndex(rest, t.literals[i])
		}
		if at < 0 || !strings.HasPrefix(rest[at:], t.literals[i]) {
			return args, false
		}
		if i < len(t.args) {
			args[t.args[i]] = rest[at+len(t.literals[i]):]
		}
		rest = rest[:at]
	}
	if t.required != "" && !strings.Contains(rest, t.required) {
		return args, false
	}
	return args, rest == "" || strings.IndexByte(" \t\":>]", rest[len(rest)-1]) >= 0
}
