package layeredyaml

import (
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// plainCharacters are those of a key that is written without quotes.
const plainCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// lastKey always matches: a path of another form has an empty key.
var lastKey = lazyregexp.New(`(?:^|\.)("(?:[^"\\]|\\.)*"|[^".\[]*)(?:\[[0-9]+\])*$|$`)

// Join adds keys to a dotted path. A key with other characters than letters, digits, "_"
// and "-" is quoted, so that a path has one meaning.
func Join(path string, keys ...string) string {
	for _, key := range keys {
		if key == "" || strings.Trim(key, plainCharacters) != "" {
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
