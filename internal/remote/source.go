// Package remote fetches a small document from a service over http, https or a unix socket, or from a file, and saves the last good
// answer for when the service is down. Its callers interpret the document and decide when to fetch.
package remote

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/reference"
)

// Source is a document to fetch.
type Source struct {
	// URL is http://, https:// or unix:///path/of/socket:/http/path, and may contain ${NAME}.
	URL string
	// File is a path, and may contain ${NAME}; empty: URL counts. A file that does not exist, or is empty, is tried again.
	File string
	// Timeout bounds one try, Deadline all tries with their pauses.
	Timeout, Deadline time.Duration
	// KeptDeadline is the Deadline if the saved answer can be used instead; 0: no other.
	KeptDeadline time.Duration
	// RequireFresh forbids the saved answer.
	RequireFresh bool
	Headers      map[string]string
	Accept       string // the header of that name; empty: JSON and text
	// CAFile holds PEM certificates added to the system's; empty: none.
	CAFile string
	// OnRetry gets the error of each try after which there is another one; nil: it is not needed.
	OnRetry func(error)
}

// Lookup returns the value of a variable; false: it is not set.
type Lookup func(name string) (string, bool)

// Variables returns a Lookup in an environment and then in labels. Label names are in capitals, with "_" for characters that a
// variable name cannot have. An empty value is not set.
func Variables(env, labels map[string]string) Lookup {
	upper := map[string]string{}
	for name, value := range labels {
		upper[strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, strings.ToUpper(name))] = value
	}
	return func(name string) (string, bool) {
		value := cmp.Or(env[name], upper[name])
		return value, value != ""
	}
}

// socketScheme is the URL scheme of a unix socket.
const socketScheme = "unix://"

// Check validates the form of a URL for any values of its variables; a variable may be part of a host or a port.
func Check(text string) error {
	_, err := parse(text, func(string) (string, bool) { return "1", true })
	return err
}

// target is a URL, or a file, with its variables replaced.
type target struct {
	url    *url.URL // for the request
	socket string   // path; empty: the host of url
	file   string   // path; empty: there is a URL
	full   string   // the whole URL as written, or file: and the path
}

// shown is the target for messages.
func (t target) shown() string { return cmp.Or(t.file, redact.URL(t.full)) }

// target returns the target of a source.
func (s Source) target(lookup Lookup) (target, error) {
	if s.File == "" {
		return parse(s.URL, lookup)
	}
	path, err := substitute(s.File, lookup, func(_, name, value string) (string, error) {
		if value == "." || value == ".." || strings.Contains(value, "/") {
			return "", elsewhere(name, value)
		}
		return value, nil
	})
	return target{file: path, full: "file:" + path}, err
}

// elsewhere is the error for a variable that would lead to another place than the one that is written.
func elsewhere(name, value string) error {
	return fmt.Errorf("the variable %s is %q, which leads to another place", name, value)
}

// parse replaces the variables of a URL and splits it.
func parse(text string, lookup Lookup) (target, error) {
	full, err := expand(text, lookup)
	if err != nil {
		return target{}, err
	}
	t, address := target{full: full}, full
	if rest, ok := strings.CutPrefix(full, socketScheme); ok {
		socket, path, ok := strings.Cut(rest, ":/")
		if !ok || !strings.HasPrefix(socket, "/") {
			return target{}, errors.New("a URL of a unix socket is unix:///path/of/socket:/http/path, with an absolute path")
		}
		t.socket, address = socket, "http://localhost/"+path
	}
	u, err := url.Parse(address)
	switch {
	case err != nil: // its text has the whole URL
		return target{}, errors.New("it is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return target{}, errors.New("a URL begins with http://, https:// or unix://")
	case u.Hostname() == "":
		return target{}, errors.New("it names no host")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return target{}, fmt.Errorf("%s is not a port", port)
		}
	}
	u.Fragment = ""
	t.url = u
	return t, nil
}

// expand replaces the variables of a URL, each escaped for its place. "." and ".." are rejected in a path.
func expand(text string, lookup Lookup) (string, error) {
	return substitute(text, lookup, func(before, name, value string) (string, error) {
		switch {
		case strings.Contains(before, "?"):
			return url.QueryEscape(value), nil
		case value == "." || value == "..":
			return "", elsewhere(name, value)
		}
		// url.PathEscape keeps @ and :, which in a host change its meaning.
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), nil
	})
}

// substitute replaces variables by the result of quote; before is the text up to the variable.
func substitute(text string, lookup Lookup, quote func(before, name, value string) (string, error)) (string, error) {
	pieces, err := reference.Split(text)
	if err != nil {
		return "", errors.New("a variable is written ${NAME}")
	}
	var b strings.Builder
	var unset []string
	for _, p := range pieces {
		if !p.Ref {
			b.WriteString(p.Text)
			continue
		}
		name, fallback, ok := reference.Variable(p.Text)
		if !ok {
			return "", errors.New("a variable is written ${NAME}")
		}
		value, set := lookup(name)
		if fallback != nil && value == "" {
			value, set = *fallback, true
		}
		if !set && !slices.Contains(unset, name) {
			unset = append(unset, name)
		}
		quoted, err := quote(b.String(), name, value)
		if err != nil {
			return "", err
		}
		b.WriteString(quoted)
	}
	if len(unset) > 0 {
		return "", fmt.Errorf("no variable and no label gives %s a value", strings.Join(unset, ", "))
	}
	return b.String(), nil
}
