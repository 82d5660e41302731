// Package redact masks likely secrets in output: values of names that look secret, and passwords in URLs. It cannot recognize a secret
// by its value.
package redact

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// Hidden replaces a secret.
const Hidden = "***"

// Args masks likely secrets in an argument list: the value of -Dname=value or --name=value with a secret name, the argument after such
// a --name, passwords in URLs, and name=value pairs within an argument, such as an agent's options. argv is not modified.
func Args(argv []string) []string {
	out := make([]string, len(argv))
	for k, arg := range argv {
		if k > 0 && precedesSecret(argv[k-1]) && !strings.HasPrefix(arg, "-") {
			out[k] = Hidden
			continue
		}
		out[k] = Arg(arg)
	}
	return out
}

// precedesSecret reports whether the value of an option is a secret in the next argument.
func precedesSecret(option string) bool {
	option = strings.TrimLeft(option, "\\\"'")
	return strings.HasPrefix(option, "-") && !strings.ContainsAny(option, "=: ") && Name(option)
}

// Arg is Args for one argument.
func Arg(arg string) string {
	name, _, pair := strings.Cut(arg, "=")
	if pair && Name(name) && !strings.ContainsAny(name, " /?&{\"'") {
		return name + "=" + Hidden
	}
	return maskURLs(maskPairs(arg))
}

// Line is Args for a command line in one string, as in an hs_err file, and for a log line. Argument boundaries with blanks are unknown
// there.
func Line(line string) string {
	words := strings.Split(maskPairs(line), " ")
	tails := make([]string, len(words)) // a closing quote and the text after it
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

// Text applies Line to each line.
func Text(text string) string {
	lines := strings.Split(text, "\n")
	for k, line := range lines {
		lines[k] = Line(line)
	}
	return strings.Join(lines, "\n")
}

// Clip masks the secrets of a text and truncates it to most bytes and "...".
func Clip(text string, most int) string {
	text = Text(text)
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// maskPairs masks the value of each name=value, "name": "value" and header whose name looks secret.
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
		if name == "" || !Name(name) || colon && !quoted && (!strings.HasPrefix(text, " ") || !isField(name) || strings.HasPrefix(word, "/")) {
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

// isField reports whether name: begins a field. In messages a colon may follow any word, and /etc/passwd is a path.
func isField(name string) bool {
	return slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "password", "passwd"},
		strings.ToLower(name))
}

// valueOf returns the bounds of the value at the start of text, without quotes and without the scheme of an Authorization header.
func valueOf(text string, query bool) (from, end int) {
	stop := ",;& \t\n\"})"
	switch {
	case query:
		stop = "&# \t\n\""
	case strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'"):
		from, stop = 1, text[:1]
	}
	value := prefixBefore(text[from:], stop)
	end = from + len(value)
	schemes := []string{"basic", "bearer", "digest", "negotiate"}
	if strings.HasPrefix(text[end:], " ") && slices.ContainsFunc(schemes, func(s string) bool { return strings.EqualFold(s, value) }) {
		end += 1 + len(prefixBefore(text[end+1:], stop))
	}
	switch rest := text[end:]; {
	case end == from:
	case text[end-1] == ':' && (rest == "" || rest[0] == ' '), text[end-1] == '\\' && strings.HasPrefix(rest, `"`):
		end-- // punctuation of the surrounding text
	}
	return from, end
}

// maskURLs masks the password of each scheme://user:password@host.
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

// passwordOf returns the bounds of the password after scheme://. A password may contain any unescaped character: if the apparent host
// has no valid port, the password ends at the last @.
func passwordOf(text string) (from, end int, ok bool) {
	authority := prefixBefore(text, "/?#"+blanks)
	end = strings.LastIndexByte(authority, '@')
	if end < 0 {
		rest := text[len(authority):]
		if rest == "" || strings.ContainsAny(rest[:1], blanks) {
			authority = strings.TrimRight(authority, `:;.)]'>\`) // punctuation of the surrounding text
		}
		if Host(authority) {
			return 0, 0, false
		}
		url := prefixBefore(text, blanks)
		if end = strings.LastIndexByte(url, '@'); end < 0 {
			end = len(url)
		}
	}
	colon := strings.IndexByte(text[:end], ':')
	return colon + 1, end, colon >= 0
}

// blanks end a URL.
const blanks = ", \t\n\""

// prefixBefore returns the text before the first character of stop.
func prefixBefore(text, stop string) string {
	if k := strings.IndexAny(text, stop); k >= 0 {
		return text[:k]
	}
	return text
}

var (
	variable = lazyregexp.New(`\$\{[^}]*\}`)
	hostPort = lazyregexp.New(`^(\[[\[\]:.%0-9a-fA-F]*|[^:]*(:[0-9]{1,5})?)$`)
)

// Host reports whether an authority without its user is a host with an optional port; ${NAME} may be either.
func Host(authority string) bool {
	return hostPort().MatchString(variable().ReplaceAllString(authority, "1"))
}

// URL masks the password of a URL, and each query value with a secret name. The text need not be a valid URL: it may contain
// variables.
func URL(text string) string {
	head, query, asked := strings.Cut(text, "?")
	if scheme, rest, ok := strings.Cut(head, "://"); ok {
		authority, path, slash := strings.Cut(rest, "/")
		at := strings.LastIndexByte(authority, '@')
		switch host := authority[at+1:]; {
		case strings.Contains(authority, "#"), !Host(host), host == "" && (at >= 0 || scheme != "unix"):
			return scheme + "://" + Hidden // the password contains /, ? or #
		case at >= 0:
			authority = Hidden + authority[at:]
		}
		head = scheme + "://" + authority
		if slash {
			head += "/" + path
		}
	}
	if !asked {
		return head
	}
	query, fragment, cut := strings.Cut(query, "#")
	pairs := strings.Split(query, "&")
	for k, pair := range pairs {
		name, _, valued := strings.Cut(pair, "=")
		if valued && queryName(name) {
			pairs[k] = name + "=" + Hidden
		}
	}
	out := head + "?" + strings.Join(pairs, "&")
	if cut {
		out += "#" + fragment
	}
	return out
}

// queryName is Name for an escaped query name.
func queryName(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	return Name(name)
}

// Name reports whether a variable, header, option or parameter with this name is likely to hold a secret. It errs on the side of
// hiding; exceptions are listed here.
func Name(name string) bool {
	words := split(name)
	if len(words) == 0 {
		return false
	}
	last := words[len(words)-1]
	if len(words) > 1 && slices.Contains([]string{"file", "path", "dir"}, last) {
		return false // the path of a secret: DB_PASSWORD_FILE
	}
	upper := strings.ToUpper(name)
	for _, word := range []string{"PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL", "AUTHORIZATION"} {
		if strings.Contains(upper, word) {
			return true
		}
	}
	if strings.HasPrefix(name, "-X") {
		return false // JVM options hold no secrets
	}
	return slices.Contains([]string{"cookie", "signature", "sig"}, last) || isPassword(name, last) || isKey(name, words)
}

// isPassword reports whether a name ends in a short form of password. PWD is the working directory.
func isPassword(name, last string) bool {
	return strings.HasSuffix(last, "pass") && !slices.Contains([]string{"bypass", "compass", "encompass", "surpass"}, last) ||
		strings.HasSuffix(last, "pwd") && !slices.Contains([]string{"PWD", "OLDPWD"}, name)
}

// isKey reports whether a name is that of a key, rather than of a property of keys.
func isKey(name string, words []string) bool {
	if !strings.Contains(strings.ToUpper(name), "KEY") {
		return false
	}
	for k, word := range words {
		before, after, found := strings.Cut(word, "key")
		if (after == "" || after == "s") && k+1 < len(words) {
			after = words[k+1]
		}
		if before == "" && k > 0 {
			before = words[k-1]
		}
		if found && before != "public" && before != "mon" && !slices.Contains(strings.Fields(keyProperties), after) {
			return true
		}
	}
	return false
}

// keyProperties are the words after "key" that make a name one of a property, as in keySize, keystore, key.serializer or keytool.
const keyProperties = "agreement alg algorithm algorithms alias board cloak converter deserializer exchange factory file format " +
	"generator length limit limits manager name path provider ring serializer share size sizes space store stores tab tool type types " +
	"usage word words"

// split splits a name into lower-case words: at characters other than letters, and before capitals.
func split(name string) []string {
	var spaced strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) {
			first := !unicode.IsUpper(runes[i-1])                   // Size in keySize
			last := i+1 < len(runes) && unicode.IsLower(runes[i+1]) // Key in DHKey
			if first || last {
				spaced.WriteByte(' ')
			}
		}
		spaced.WriteRune(unicode.ToLower(r))
	}
	return strings.FieldsFunc(spaced.String(), func(r rune) bool { return !unicode.IsLetter(r) })
}
