package redact

import (
	"slices"
	"strings"
	"unicode"
)

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
		if found && before != "public" && before != "mon" && !aboutKey(after) {
			return true
		}
	}
	return false
}

// aboutKey reports whether the word after "key" makes the name one of a property, as in keySize, keystore, key.serializer or keytool.
func aboutKey(word string) bool {
	return slices.Contains([]string{"agreement", "alg", "algorithm", "algorithms", "alias", "board", "cloak", "converter", "deserializer",
		"exchange",
		"factory", "file", "format", "generator", "length", "limit", "limits", "manager", "name", "path", "provider", "ring", "serializer",
		"share",
		"size", "sizes", "space", "store", "stores", "tab", "tool", "type", "types", "usage", "word", "words"}, word)
}

// split splits a name into lower-case words: at characters other than letters, and before capitals.
func split(name string) []string {
	var words []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
			word = nil
		}
	}
	letters := []rune(name)
	for k, r := range letters {
		switch {
		case !unicode.IsLetter(r):
			flush()
			continue
		case k > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(letters[k-1]) || k+1 < len(letters) && unicode.IsLower(letters[k+1])):
			flush() // the start of Size in keySize, and of Key in DHKey
		}
		word = append(word, r)
	}
	flush()
	return words
}
