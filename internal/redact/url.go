package redact

import (
	"net/url"
	"strings"
)

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
