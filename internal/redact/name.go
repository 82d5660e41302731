package redact

import (
	"slices"
	"strings"
	"unicode"
)

// Name reports whether a variable, option or parameter of that name is likely to
// hold a secret. It errs on the side of hiding; what it lets pass is named here.
func Name(name string) bool {
	upper := strings.ToUpper(name)
	for _, word := range []string{"PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL"} {
		if strings.Contains(upper, word) {
			return true
		}
	}
	if !strings.Contains(upper, "KEY") || strings.HasPrefix(name, "-X") {
		return false // the JVM's own options have no secrets in their values
	}
	words := split(name)
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

// aboutKey says whether the word behind "key" makes it the name of something about
// keys, as in keySize, keystore, key.serializer or keytool.
func aboutKey(word string) bool {
	return slices.Contains([]string{"agreement", "alg", "algorithm", "algorithms", "alias", "board", "cloak", "converter", "deserializer", "exchange",
		"factory", "file", "format", "generator", "length", "limit", "limits", "manager", "name", "path", "provider", "ring", "serializer", "share",
		"size", "sizes", "space", "store", "stores", "tab", "tool", "type", "types", "usage", "word", "words"}, word)
}

// split cuts a name into its words, in small letters: at what is no letter, and
// where a capital begins one.
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
			flush() // the begin of Size in keySize, and of Key in DHKey
		}
		word = append(word, r)
	}
	flush()
	return words
}
