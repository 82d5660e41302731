package config

import (
	"net/url"
	"strings"
)

const hidden = "***"

// looksSecret reports whether a variable, header or option of that name is
// likely to hold a secret. It errs on the side of hiding.
func looksSecret(name string) bool {
	name = strings.ToUpper(name)
	for _, word := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTHORIZATION", "COOKIE"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// secretPath reports whether the value at path belongs to a secret key.
func secretPath(path string) bool { return looksSecret(lastKey(path)) }

// maskText hides the password of a URL and the value of an argument of the
// form name=value whose name looks secret; other text comes back unchanged.
func maskText(s string) string {
	if name, _, ok := strings.Cut(s, "="); ok && looksSecret(name) && !strings.ContainsAny(name, " /") {
		return name + "=" + hidden
	}
	if strings.Contains(s, "://") && strings.Contains(s, "@") {
		if u, err := url.Parse(s); err == nil && u.User != nil {
			if _, has := u.User.Password(); has {
				u.User = url.UserPassword(u.User.Username(), "xxxxx")
				return strings.Replace(u.String(), "xxxxx", hidden, 1)
			}
		}
	}
	return s
}

// maskArgs hides the secrets of an argument list: name=value as maskText does,
// and the argument that follows an option such as --password.
func maskArgs(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = maskText(arg)
		if i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.Contains(args[i-1], "=") &&
			looksSecret(args[i-1]) && !strings.HasPrefix(arg, "-") {
			out[i] = hidden
		}
	}
	return out
}
