package layeredyaml

import (
	"strconv"
	"strings"
)

// Join adds keys to a dotted path. A key with other characters than letters, digits, "_"
// and "-" is quoted, so that a path has one meaning.
func Join(path string, keys ...string) string {
	for _, key := range keys {
		if !plainKey(key) {
			key = strconv.Quote(key)
		}
		if path != "" {
			path += "."
		}
		path += key
	}
	return path
}

// Index adds a list position, counted from 0, to a path.
func Index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

func plainKey(key string) bool {
	for _, c := range key {
		if !isAlnum(c) && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}

func isAlnum(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
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
	for strings.HasSuffix(path, "]") {
		i := strings.LastIndexByte(path, '[')
		if i < 0 {
			break
		}
		path = path[:i]
	}
	if strings.HasSuffix(path, `"`) {
		// The key's own quotes are escaped: the opening one is at the start or after a dot.
		for i := len(path) - 2; i >= 0; i-- {
			if path[i] != '"' || i > 0 && path[i-1] != '.' {
				continue
			}
			if key, err := strconv.Unquote(path[i:]); err == nil {
				return key
			}
		}
	}
	return path[strings.LastIndexByte(path, '.')+1:]
}
