package redact

import (
	"slices"
	"strings"
	"unicode"

	"github.com/stoker-init/stoker/internal/lazyregexp"
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
		if found && before != "public" && before != "mon" && !slices.Contains(strings.Fields(keyProperties), after) {
			return true
		}
	}
	return false
}

// keyProperties are the words after "key" that make a name one of a property, as in keySize, keystore, key.serializer or keytool.
const keyProperties = "agreement alg algorithm algorithms alias board cloak converter deserializer exchange factory file format " +
	"generator length limit limits manager name path provider ring serializer share size sizes space store stores tab tool type types usage word words"

var (
	lastOfCapitals = lazyregexp.New(`(\p{Lu})(\p{Lu}\p{Ll})`) // Key in DHKey
	firstCapital   = lazyregexp.New(`(\P{Lu})(\p{Lu})`)       // Size in keySize
)

// split splits a name into lower-case words: at characters other than letters, and before capitals.
func split(name string) []string {
	name = firstCapital().ReplaceAllString(lastOfCapitals().ReplaceAllString(name, "$1 $2"), "$1 $2")
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) })
}
