package tomcat

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Properties reads Java's .properties format: comments, continuation lines,
// the three separators and \uXXXX. Tomcat ships ASCII with escapes and raw
// UTF-8 both; bytes that are not UTF-8 are taken as ISO 8859-1, which is what
// java.util.Properties did before Java 9. Like Java it refuses nothing but a
// broken escape, and here that is kept unchanged.
func Properties(data []byte) map[string]string {
	if !utf8.Valid(data) {
		data, _ = charmap.ISO8859_1.NewDecoder().Bytes(data) // which has every byte
	}
	out := map[string]string{}
	for _, line := range logicalLines(string(data)) {
		key, value := splitProperty(line)
		if key != "" {
			out[unescapeProperty(key)] = unescapeProperty(value)
		}
	}
	return out
}

// logicalLines drops comments and joins the lines that end in an odd number of
// backslashes with their successor.
func logicalLines(text string) []string {
	var out []string
	var open bool
	var b strings.Builder
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimLeft(line, " \t\f")
		if !open && (line == "" || line[0] == '#' || line[0] == '!') {
			continue
		}
		slashes := len(line) - len(strings.TrimRight(line, `\`))
		open = slashes%2 == 1
		if open {
			b.WriteString(line[:len(line)-1])
			continue
		}
		b.WriteString(line)
		out = append(out, b.String())
		b.Reset()
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	return out
}

// splitProperty cuts at the first "=", ":" or blank that is not escaped.
func splitProperty(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	key = line[:end]
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return key, rest
}

func unescapeProperty(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't', 'n', 'r', 'f':
			b.WriteByte("\t\n\r\f"[strings.IndexByte("tnrf", s[i])])
		case 'u':
			r, n := unicodeEscape(s[i+1:])
			if n == 0 {
				b.WriteString(`\u`)
				continue
			}
			b.WriteRune(r)
			i += n
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// unicodeEscape reads the digits after \u and, for the first half of a
// surrogate pair, the second escape too. n is what it used of s.
func unicodeEscape(s string) (r rune, n int) {
	hi, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if second, escaped := strings.CutPrefix(s[4:], `\u`); escaped {
		lo, _ := hex4(second)
		if pair := utf16.DecodeRune(hi, lo); pair != utf8.RuneError {
			return pair, 10
		}
	}
	return hi, 4
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:4], 16, 32)
	return rune(v), err == nil
}
