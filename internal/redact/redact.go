// Package redact hides what is likely to be a secret in texts for people: by the
// names that values stand behind, and in URLs. It cannot know a secret by its value.
package redact

import (
	"slices"
	"strings"
)

// Hidden stands for a secret.
const Hidden = "***"

// Args hides what is likely to be a secret in an argument list: the value of
// a -Dname=value or --name=value whose name looks secret, the argument behind
// --name, the passwords of URLs, and name=value pairs within an argument such as
// an agent's options. argv is left as it is.
func Args(argv []string) []string {
	out := make([]string, len(argv))
	for k, arg := range argv {
		if k > 0 && announces(argv[k-1]) && !strings.HasPrefix(arg, "-") {
			out[k] = Hidden
			continue
		}
		out[k] = Arg(arg)
	}
	return out
}

// announces says whether an option's value is the next argument, and a secret.
func announces(option string) bool {
	option = strings.TrimLeft(option, "\\\"'")
	return strings.HasPrefix(option, "-") && !strings.ContainsAny(option, "=: ") && Name(option)
}

// Arg is Args for one.
func Arg(arg string) string {
	name, _, pair := strings.Cut(arg, "=")
	if pair && Name(name) && !strings.ContainsAny(name, " /?&{\"'") {
		return name + "=" + Hidden
	}
	return maskURLs(maskPairs(arg))
}

// Line is Args for a command line in one piece, as an hs_err file has it, and for a
// line of a log: where an argument with blanks ends cannot be seen.
func Line(line string) string {
	words := strings.Split(maskPairs(line), " ")
	tails := make([]string, len(words)) // a closing quote, and what stands behind it
	for k, word := range words {
		bare := strings.TrimRight(word, "\\\"';:,.)]}")
		if tail := word[len(bare):]; strings.ContainsAny(tail, "\"'") {
			words[k], tails[k] = bare, tail
		}
	}
	words = Args(words)
	for k := range words {
		words[k] += tails[k]
	}
	return strings.Join(words, " ")
}

// Text is Line for each of its lines.
func Text(text string) string {
	lines := strings.Split(text, "\n")
	for k, line := range lines {
		lines[k] = Line(line)
	}
	return strings.Join(lines, "\n")
}

// maskPairs hides the value of each name=value within text whose name looks secret, and
// that of a "name": "value" or a header.
func maskPairs(text string) string {
	var out strings.Builder
	query := false // text is in the query of a URL, where only & and # end a value
	for {
		at := strings.IndexAny(text, "=:")
		if at < 0 {
			out.WriteString(text)
			return out.String()
		}
		name, colon := text[:at], text[at] == ':'
		word := name[strings.LastIndexAny(name, " \t\n\"'")+1:]
		query = query && word == name || strings.Contains(word, "?")
		out.WriteString(text[:at+1])
		text = text[at+1:]
		spaced := strings.HasSuffix(name, " ")
		name = strings.TrimRight(name, " ")
		bare := strings.TrimRight(name, `"'`)
		quoted := bare != name
		name = bare[strings.LastIndexAny(bare, ",;&? \t\n\"'{(/")+1:]
		if name == "" || !Name(name) || colon && !quoted && (!strings.HasPrefix(text, " ") || !field(name)) {
			continue
		}
		skip := 0
		if colon || spaced {
			skip = len(text) - len(strings.TrimLeft(text, " "))
		}
		from, end := valueOf(text[skip:], query)
		out.WriteString(text[:skip+from])
		if end > from {
			out.WriteString(Hidden)
		}
		text = text[skip+end:]
	}
}

// field says whether name: begins a field. In messages a colon stands behind any word.
func field(name string) bool {
	return slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "password", "passwd"},
		strings.ToLower(name))
}

// valueOf gives where the value is that text begins with, without its quotes. That of an
// Authorization has a scheme before it.
func valueOf(text string, query bool) (from, end int) {
	stop := ",;& \t\n\"})"
	switch {
	case query:
		stop = "&# \t\n\""
	case strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'"):
		from, stop = 1, text[:1]
	}
	value := upTo(text[from:], stop)
	end = from + len(value)
	schemes := []string{"basic", "bearer", "digest", "negotiate"}
	if strings.HasPrefix(text[end:], " ") && slices.ContainsFunc(schemes, func(s string) bool { return strings.EqualFold(s, value) }) {
		end += 1 + len(upTo(text[end+1:], stop))
	}
	switch rest := text[end:]; {
	case end == from:
	case text[end-1] == ':' && (rest == "" || rest[0] == ' '), text[end-1] == '\\' && strings.HasPrefix(rest, `"`):
		end-- // of the message that it stands in, or of a quoted one
	}
	return from, end
}

// maskURLs hides the password of each scheme://user:password@host.
func maskURLs(text string) string {
	var out strings.Builder
	for {
		at := strings.Index(text, "://")
		if at < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:at+3])
		text = text[at+3:]
		if from, end, ok := passwordOf(text); ok {
			out.WriteString(text[:from] + Hidden)
			text = text[end:]
		}
	}
}

// passwordOf gives where the password is in what follows scheme://. It may have any
// character, though it should not: then what looks like a host has no port behind its
// colon, and the password ends at the last @.
func passwordOf(text string) (from, end int, ok bool) {
	authority := upTo(text, "/?#"+blanks)
	end = strings.LastIndexByte(authority, '@')
	if end < 0 {
		rest := text[len(authority):]
		if rest == "" || strings.ContainsAny(rest[:1], blanks) {
			authority = strings.TrimRight(authority, `:;.)]'>\`) // of the text that it ends
		}
		if Host(authority) {
			return 0, 0, false
		}
		url := upTo(text, blanks)
		if end = strings.LastIndexByte(url, '@'); end < 0 {
			end = len(url)
		}
	}
	colon := strings.IndexByte(text[:end], ':')
	return colon + 1, end, colon >= 0
}

// blanks are where a URL ends.
const blanks = ", \t\n\""

// upTo is what text begins with, before the first of some characters.
func upTo(text, stop string) string {
	if k := strings.IndexAny(text, stop); k >= 0 {
		return text[:k]
	}
	return text
}

// Host says whether an authority without its user is a host, with a port or without; ${NAME}
// may be either.
func Host(authority string) bool {
	plain := authority
	for {
		before, rest, found := strings.Cut(plain, "${")
		_, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			break
		}
		plain = before + after
	}
	_, port, given := strings.Cut(plain, ":")
	switch {
	case strings.HasPrefix(plain, "["):
		return strings.Trim(plain, "[]:.%0123456789abcdefABCDEF") == ""
	case !given:
		return true
	}
	return len(port) <= 5 && strings.Trim(port, "0123456789") == "" && (port != "" || plain != authority)
}
