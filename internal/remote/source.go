// Package remote fetches one small document of options from a configuration
// service, over http, https or a unix socket, and keeps the last good answer for
// when the service is down. It does not know what the options mean, and never
// asks by itself.
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

	"github.com/stoker-init/stoker/internal/reference"
)

// Source is what is asked, and how.
type Source struct {
	// URL is http://, https:// or unix:///path/of/socket:/http/path, with ${NAME}
	// for what a Lookup knows.
	URL string
	// Timeout bounds one try, Deadline all of them with the waits between.
	Timeout, Deadline time.Duration
	// RequireFresh forbids the kept copy.
	RequireFresh bool
	Headers      map[string]string
	// CAFile holds PEM certificates that count beside the system's; empty: none.
	CAFile string
}

// Lookup gives the value of a variable of a URL; false: it is not set.
type Lookup func(name string) (string, bool)

// Variables is a Lookup in an environment and then in labels, whose names are
// taken in capitals with "_" for what cannot be in a variable's name. What is
// empty counts as not set.
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

// socketScheme begins the URL of a service that listens on a unix socket.
const socketScheme = "unix://"

// Check says what is wrong with the form of a source's URL; the variables may
// have any value: one that may be part of a host as well as a port.
func Check(text string) error {
	_, err := parse(text, func(string) (string, bool) { return "1", true })
	return err
}

// target is a URL without variables.
type target struct {
	url    *url.URL // for the request
	socket string   // path; empty: url's host
	full   string   // the whole, as it was written
}

// parse fills the variables in and splits the URL.
func parse(text string, lookup Lookup) (target, error) {
	full, err := expand(text, lookup)
	if err != nil {
		return target{}, err
	}
	t, address := target{full: full}, full
	if rest, ok := strings.CutPrefix(full, socketScheme); ok {
		socket, path, ok := strings.Cut(rest, ":/")
		if !ok || !strings.HasPrefix(socket, "/") {
			return target{}, errors.New("a URL of a unix socket is unix:///path/of/socket:/http/path")
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

// expand fills the variables of a URL in, each escaped for its place. A value
// cannot leave its place: "." and ".." are refused in a path.
func expand(text string, lookup Lookup) (string, error) {
	return substitute(text, lookup, func(before, name, value string) (string, error) {
		switch {
		case strings.Contains(before, "?"):
			return url.QueryEscape(value), nil
		case value == "." || value == "..":
			return "", fmt.Errorf("the variable %s is %q, which leads to another place", name, value)
		}
		// url.PathEscape leaves @ and :, which in a host mean another one.
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), nil
	})
}

// substitute fills variables in as quote gives them; before is the text up to there.
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
