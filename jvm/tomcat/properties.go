package tomcat

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

const propertyBlanks = " \t\f"

// Properties reads Java's .properties format: comments, continuation lines, the three separators and \uXXXX. Tomcat ships ASCII with
// escapes and raw UTF-8 both; bytes that are not UTF-8 are ISO 8859-1, as for java.util.Properties before Java 9. Like Java it rejects
// nothing but a broken escape, which is kept unchanged here.
func Properties(data []byte) map[string]string {
	if !utf8.Valid(data) {
		data, _ = charmap.ISO8859_1.NewDecoder().Bytes(data) // which has every byte
	}
	out := map[string]string{}
	var logical strings.Builder
	for line := range strings.SplitSeq(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))+"\n", "\n") {
		line = strings.TrimLeft(line, propertyBlanks)
		if logical.Len() == 0 && (strings.HasPrefix(line, "#") || strings.HasPrefix(line, "!")) {
			continue
		}
		text := strings.TrimRight(line, `\`)
		if (len(line)-len(text))%2 == 1 { // it continues
			logical.WriteString(line[:len(line)-1])
			continue
		}
		logical.WriteString(line)
		if key, value := splitProperty(logical.String()); key != "" {
			out[unescapeProperty(key)] = unescapeProperty(value)
		}
		logical.Reset()
	}
	return out
}

// splitProperty cuts at the first "=", ":" or blank that is not escaped.
func splitProperty(line string) (key, value string) {
	end := 0
	for end < len(line) && !strings.ContainsRune("=:"+propertyBlanks, rune(line[end])) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	value = strings.TrimLeft(line[end:], propertyBlanks)
	if strings.HasPrefix(value, "=") || strings.HasPrefix(value, ":") {
		value = strings.TrimLeft(value[1:], propertyBlanks)
	}
	return line[:end], value
}

func unescapeProperty(s string) string {
	var b strings.Builder
	for {
		text, escape, found := strings.Cut(s, `\`)
		b.WriteString(text)
		switch {
		case !found:
			return b.String()
		case escape == "":
			return b.String() + `\`
		}
		s = escape[1:]
		switch c := escape[0]; c {
		case 't', 'n', 'r', 'f':
			b.WriteByte("\t\n\r\f"[strings.IndexByte("tnrf", c)])
		case 'u':
			high, ok := hex4(s)
			if !ok {
				b.WriteString(`\u`)
				continue
			}
			s = s[4:]
			if second, escaped := strings.CutPrefix(s, `\u`); escaped {
				low, _ := hex4(second)
				if pair := utf16.DecodeRune(high, low); pair != utf8.RuneError {
					high, s = pair, second[4:]
				}
			}
			b.WriteRune(high)
		default:
			b.WriteByte(c)
		}
	}
}

func hex4(s string) (rune, bool) {
	v, err := strconv.ParseUint(s[:min(4, len(s))], 16, 32)
	return rune(v), err == nil && len(s) >= 4
}
