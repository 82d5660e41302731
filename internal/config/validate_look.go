package config

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor"
)

// look checks what a probe looks at.
func (v *validator) look(path string, l supervisor.Look) {
	if l.HTTP != "" {
		v.httpURL(join(path, "http"), l.HTTP)
	}
	v.request(path, l)
	v.certificate(path, l)
	v.statuses(join(path, "status"), l.Status)
	if tcp := join(path, "tcp"); l.TCP != "" {
		host, port, err := net.SplitHostPort(l.TCP)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			v.bad(tcp, orNotExpanded(tcp, l.TCP, "write 127.0.0.1:8080"), "%s is not host:port", quote(tcp, l.TCP))
		}
	}
	v.program(join(path, "exec"), l.Exec)
	v.absolute(join(path, "file"), l.File)
	v.positive(join(path, "timeout"), l.Timeout)
}

// request checks what belongs to a request, and that there is one.
func (v *validator) request(path string, l supervisor.Look) {
	method, headers, socket, body := join(path, "method"), join(path, "headers"), join(path, "socket"), join(path, "body")
	if l.HTTP == "" && !v.report.isSpoiled(join(path, "http")) && !v.report.isMeant(join(path, "http")) {
		const needs = "nothing is asked: http is not set"
		hint := "set " + lastKey(path) + ".http"
		given := map[string]bool{method: l.Method != "", headers: len(l.Headers) > 0, socket: l.Socket != "", body: l.Body != ""}
		for _, at := range slices.Sorted(maps.Keys(given)) {
			if given[at] {
				v.lacking(at, hint, needs)
			}
		}
		if len(l.Status) > 0 {
			v.warn(join(path, "status"), hint, needs)
		}
	}
	if v.method(method, l.Method) && l.Method == http.MethodHead && l.Body != "" {
		v.bad(body, "write method: GET", "the answer to HEAD has no body")
	}
	v.headers(headers, l.Headers)
	v.absolute(socket, l.Socket)
	if len(l.Socket) > maxSocketPath {
		v.bad(socket, "", "the path has %d bytes, and the system allows %d", len(l.Socket), maxSocketPath)
	}
	v.regexp(body, l.Body)
}

// certificate checks that of the client. A Tomcat has URLs of its own that take it.
func (v *validator) certificate(path string, l supervisor.Look) {
	cert, key := join(path, "cert_file"), join(path, "key_file")
	v.absolute(cert, l.CertFile)
	v.absolute(key, l.KeyFile)
	switch given := l.CertFile != "" || l.KeyFile != ""; {
	case l.CertFile != "" && l.KeyFile == "":
		v.lacking(cert, "set "+lastKey(path)+".key_file", "its key is not set")
	case l.CertFile == "" && l.KeyFile != "":
		v.lacking(key, "set "+lastKey(path)+".cert_file", "its certificate is not set")
	case given && l.HTTP != "" && !strings.HasPrefix(l.HTTP, "https:"):
		v.bad(cert, "ask an https URL", "%s takes no certificate", join(lastKey(path), "http"))
	}
}

// method refuses what is none.
func (v *validator) method(path, method string) (ok bool) {
	known := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions, http.MethodDelete, http.MethodPatch}
	switch upper := strings.ToUpper(method); {
	case method != "" && !validToken(method):
		v.bad(path, "", "%s is not a method of HTTP", quote(path, method))
	case method != upper && slices.Contains(known, upper):
		v.bad(path, "write "+upper, "%s is another method than %s: capitals count", quote(path, method), upper)
	default:
		return true
	}
	return false
}

func (v *validator) statuses(path string, codes []int) {
	for i, code := range codes {
		if code < 100 || code > 599 {
			v.bad(index(path, i), "", "%d is not an HTTP status: they go from 100 to 599", code)
		}
	}
}

func (v *validator) headers(path string, headers map[string]string) {
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at, canonical := join(path, name), http.CanonicalHeaderKey(name)
		switch {
		case !validToken(name):
			v.bad(at, "letters, digits and - are safe", "%s is not the name of a header", quote("", name))
		case first[canonical] != "":
			v.bad(at, "remove one of the two", "is the same header as %s", first[canonical])
		case strings.ContainsFunc(headers[name], func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			v.bad(at, "", "the value has a line break or another control character")
		}
		first[canonical] = name
	}
}

// validToken is what RFC 9110 calls one: the form of methods and header names.
func validToken(s string) bool {
	for _, c := range s {
		if !isAlnum(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", c) {
			return false
		}
	}
	return s != ""
}

func (v *validator) httpURL(path, text string) {
	u, err := url.Parse(text)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
	if ok && u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		ok = err == nil && n > 0
	}
	if !ok {
		hint := orNotExpanded(path, text, "write http://127.0.0.1:8080/health")
		v.bad(path, hint, "%s is not an http or https URL with a host", quote(path, redact.Arg(text)))
		return
	}
	v.literal(path, text)
}

func (v *validator) regexp(path, text string) {
	if _, err := regexp.Compile(text); err != nil {
		v.bad(path, "", "%s is not a regular expression: %s", quote(path, text),
			strings.TrimPrefix(printable.Line(err.Error()), "error parsing regexp: "))
	}
}

// program refuses a command without a program. That there may be none at all is
// for the caller to say.
func (v *validator) program(path string, argv []string) {
	if len(argv) > 0 && argv[0] == "" {
		v.bad(index(path, 0), "", "the program's name is empty")
	}
	v.arguments(path, argv)
}

func (v *validator) ready(path string, s Service) {
	r := s.Ready
	v.look(path, r.Look)
	v.regexp(join(path, "log"), r.Log)
	v.positive(join(path, "within"), r.Within)
	v.positive(join(path, "every"), r.Every)
	if s.Oneshot && (looks(r.Look) || r.Log != "") {
		v.warn(path, "remove it, or remove oneshot", "nothing is looked at: a oneshot has done its work when it has ended")
	}
}

func (v *validator) live(path string, raw, cfg Service) {
	l := raw.Live
	v.look(path, l.Look)
	v.positive(join(path, "every"), l.Every)
	v.aboveZero(join(path, "failures"), l.Failures)
	v.aboveZero(join(path, "successes"), l.Successes)
	v.oneOf(join(path, "then"), l.Then, supervisor.LiveReport, supervisor.LiveRestart, supervisor.LiveStopContainer)
	var untouched supervisor.Live
	liveDefaults(&untouched)
	switch {
	case raw.Oneshot && !reflect.ValueOf(l).IsZero():
		v.bad(path, "remove it, or remove oneshot", "a oneshot is expected to end: it has no live")
	case raw.Oneshot:
	case !looks(l.Look) && !reflect.DeepEqual(cfg.Live, untouched) && !v.lookRefused(path):
		v.warn(path, "set live.http, tcp, exec or file", "nobody looks: no kind of look is set")
	case looks(l.Look) && cfg.Live.Timeout > cfg.Live.Every && cfg.Live.Every > 0:
		v.warn(join(path, "timeout"), "lower it to "+shortDuration(cfg.Live.Every)+" or less",
			"%s is more than every, %s: a service that hangs is found later than every and failures say",
			shortDuration(cfg.Live.Timeout), shortDuration(cfg.Live.Every))
	}
}

// looks says whether anything is looked at.
func looks(l supervisor.Look) bool {
	return l.HTTP != "" || l.TCP != "" || len(l.Exec) > 0 || l.File != ""
}

// lookRefused says whether a kind of look was given, and refused already.
func (v *validator) lookRefused(path string) bool {
	return slices.ContainsFunc([]string{"http", "tcp", "exec", "file"}, func(key string) bool {
		return v.report.isSpoiled(join(path, key)) || v.report.isMeant(join(path, key))
	})
}

// aboveZero refuses a number of 0 or less. An absent one is 0 too.
func (v *validator) aboveZero(path string, n int) {
	if n < 0 || n == 0 && v.isSet(path) {
		v.bad(path, "", "%d is not above 0", n)
	}
}

// notBelow refuses a duration below a least one, which is not 0. An absent one is 0.
func (v *validator) notBelow(path string, d, least time.Duration) {
	if d < 0 || d > 0 && d < least {
		v.bad(path, "", "%s is less than %s", d, least)
	}
}
