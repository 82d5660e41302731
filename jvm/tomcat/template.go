package tomcat

import (
	"strconv"
	"strings"
)

// template is one message of Tomcat's LocalStrings taken apart: the literal
// text between its arguments. It matches a line from the end, which is cheap
// enough to try every template on every line of a service's output.
type template struct {
	key      string
	lang     string
	literals []string // len(args)+1 of them
	args     []int    // the {N} between the literals
	needs    string   // what must be in the line too
}

// newTemplate reads java.text.MessageFormat's syntax. Tomcat formats a message
// only if it passes arguments, so in one without {N} a quote is a quote. ok is
// false for a message that begins with an argument (nothing marks where it
// starts in a line) or has no text worth matching.
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
			return false // {0}{1}: nobody can tell them apart
		}
	}
	return total > 3
}

// lossy is the template as it arrives through a JVM whose output charset is
// ASCII (a container without LANG): each character it cannot write is a "?".
// Question marks are poor evidence ("cannot start component [x]" and "starting
// service [x]" are the same in Chinese then), so the class that wrote the line
// must be in it, as it is in Tomcat's own layout.
func (t template) lossy() (template, bool) {
	out := template{key: t.key, lang: t.lang, args: t.args}
	changed := false
	for _, l := range t.literals {
		var b strings.Builder
		for _, r := range l {
			if r > 0x7e {
				changed = true
				r = '?'
			}
			b.WriteRune(r)
		}
		out.literals = append(out.literals, b.String())
	}
	class, _, _ := strings.Cut(t.key, ".")
	out.needs = "." + strings.ToUpper(class[:1]) + class[1:] + "."
	return out, changed
}

// match finds the message at the end of line (a closing quote of a JSON layout
// may follow) and returns its arguments by number.
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
	if t.needs != "" && !strings.Contains(rest, t.needs) {
		return args, false
	}
	return args, rest == "" || strings.IndexByte(" \t\":>]", rest[len(rest)-1]) >= 0
}
