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

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor"
)

// look checks what a probe looks at.
func (v *validator) look(path string, l supervisor.Look) {
	if l.HTTP != "" {
		v.httpURL(layeredyaml.Join(path, "http"), l.HTTP)
	}
	v.request(path, l)
	v.certificate(path, l)
	v.statuses(layeredyaml.Join(path, "status"), l.Status)
	if tcp := layeredyaml.Join(path, "tcp"); l.TCP != "" {
		host, port, err := net.SplitHostPort(l.TCP)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			v.Bad(tcp, orNotExpanded(tcp, l.TCP, "write 127.0.0.1:8080"), "%s is not host:port", layeredyaml.Quote(tcp, l.TCP))
		}
	}
	v.program(layeredyaml.Join(path, "exec"), l.Exec)
	v.absolute(layeredyaml.Join(path, "file"), l.File)
	v.Positive(layeredyaml.Join(path, "timeout"), l.Timeout)
}

// request checks what belongs to a request, and that there is one.
func (v *validator) request(path string, l supervisor.Look) {
	method, headers, socket, body := layeredyaml.Join(path, "method"), layeredyaml.Join(path, "headers"), layeredyaml.Join(path, "socket"), layeredyaml.Join(path, "body")
	if l.HTTP == "" && !v.AlreadyReported(layeredyaml.Join(path, "http")) && !v.IsMeant(layeredyaml.Join(path, "http")) {
		const needs = "nothing is asked: http is not set"
		hint := "set " + layeredyaml.LastKey(path) + ".http"
		given := map[string]bool{method: l.Method != "", headers: len(l.Headers) > 0, socket: l.Socket != "", body: l.Body != ""}
		for _, at := range slices.Sorted(maps.Keys(given)) {
			if given[at] {
				v.Missing(at, hint, needs)
			}
		}
		if len(l.Status) > 0 {
			v.Warn(layeredyaml.Join(path, "status"), hint, needs)
		}
	}
	if v.method(method, l.Method) && l.Method == http.MethodHead && l.Body != "" {
		v.Bad(body, "write method: GET", "the answer to HEAD has no body")
	}
	v.headers(headers, l.Headers)
	v.absolute(socket, l.Socket)
	if len(l.Socket) > maxSocketPath {
		v.Bad(socket, "", "the path has %d bytes, and the system allows %d", len(l.Socket), maxSocketPath)
	}
	v.regexp(body, l.Body)
}

// certificate checks that of the client. A Tomcat has URLs of its own that take it.
func (v *validator) certificate(path string, l supervisor.Look) {
	cert, key := layeredyaml.Join(path, "cert_file"), layeredyaml.Join(path, "key_file")
	v.absolute(cert, l.CertFile)
	v.absolute(key, l.KeyFile)
	switch given := l.CertFile != "" || l.KeyFile != ""; {
	case l.CertFile != "" && l.KeyFile == "":
		v.Missing(cert, "set "+layeredyaml.LastKey(path)+".key_file", "its key is not set")
	case l.CertFile == "" && l.KeyFile != "":
		v.Missing(key, "set "+layeredyaml.LastKey(path)+".cert_file", "its certificate is not set")
	case given && l.HTTP != "" && !strings.HasPrefix(l.HTTP, "https:"):
		v.Bad(cert, "ask an https URL", "%s takes no certificate", layeredyaml.Join(layeredyaml.LastKey(path), "http"))
	}
}

// method refuses what is none.
func (v *validator) method(path, method string) (ok bool) {
	known := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions, http.MethodDelete, http.MethodPatch}
	switch upper := strings.ToUpper(method); {
	case method != "" && !validToken(method):
		v.Bad(path, "", "%s is not a method of HTTP", layeredyaml.Quote(path, method))
	case method != upper && slices.Contains(known, upper):
		v.Bad(path, "write "+upper, "%s is another method than %s: capitals count", layeredyaml.Quote(path, method), upper)
	default:
		return true
	}
	return false
}

func (v *validator) statuses(path string, codes []int) {
	for i, code := range codes {
		if code < 100 || code > 599 {
			v.Bad(layeredyaml.Index(path, i), "", "%d is not an HTTP status: they go from 100 to 599", code)
		}
	}
}

func (v *validator) headers(path string, headers map[string]string) {
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at, canonical := layeredyaml.Join(path, name), http.CanonicalHeaderKey(name)
		switch {
		case !validToken(name):
			v.Bad(at, "letters, digits and - are safe", "%s is not the name of a header", layeredyaml.Quote("", name))
		case first[canonical] != "":
			v.Bad(at, "remove one of the two", "is the same header as %s", first[canonical])
		case strings.ContainsFunc(headers[name], func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			v.Bad(at, "", "the value has a line break or another control character")
		}
		first[canonical] = name
	}
}

// validToken is what RFC 9110 calls one: the form of methods and header names.
func validToken(s string) bool {
	for _, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", c) {
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
		v.Bad(path, hint, "%s is not an http or https URL with a host", layeredyaml.Quote(path, redact.Arg(text)))
		return
	}
	v.literal(path, text)
}

func (v *validator) regexp(path, text string) {
	if _, err := regexp.Compile(text); err != nil {
		v.Bad(path, "", "%s is not a regular expression: %s", layeredyaml.Quote(path, text),
			strings.TrimPrefix(printable.Line(err.Error()), "error parsing regexp: "))
	}
}

// program refuses a command without a program. That there may be none at all is
// for the caller to say.
func (v *validator) program(path string, argv []string) {
	if len(argv) > 0 && argv[0] == "" {
		v.Bad(layeredyaml.Index(path, 0), "", "the program's name is empty")
	}
	v.arguments(path, argv)
}

func (v *validator) ready(path string, s Service) {
	r := s.Ready
	v.look(path, r.Look)
	v.regexp(layeredyaml.Join(path, "log"), r.Log)
	v.Positive(layeredyaml.Join(path, "within"), r.Within)
	v.Positive(layeredyaml.Join(path, "every"), r.Every)
	if s.Oneshot && (looks(r.Look) || r.Log != "") {
		v.Warn(path, "remove it, or remove oneshot", "nothing is looked at: a oneshot has done its work when it has ended")
	}
}

func (v *validator) live(path string, raw, cfg Service) {
	l := raw.Live
	v.look(path, l.Look)
	v.Positive(layeredyaml.Join(path, "every"), l.Every)
	v.AboveZero(layeredyaml.Join(path, "failures"), l.Failures)
	v.AboveZero(layeredyaml.Join(path, "successes"), l.Successes)
	v.OneOf(layeredyaml.Join(path, "then"), l.Then, supervisor.LiveReport, supervisor.LiveRestart, supervisor.LiveStopContainer)
	var untouched supervisor.Live
	liveDefaults(&untouched)
	switch {
	case raw.Oneshot && !reflect.ValueOf(l).IsZero():
		v.Bad(path, "remove it, or remove oneshot", "a oneshot is expected to end: it has no live")
	case raw.Oneshot:
	case !looks(l.Look) && !reflect.DeepEqual(cfg.Live, untouched) && !v.lookRefused(path):
		v.Warn(path, "set live.http, tcp, exec or file", "nobody looks: no kind of look is set")
	case looks(l.Look) && cfg.Live.Timeout > cfg.Live.Every && cfg.Live.Every > 0:
		v.Warn(layeredyaml.Join(path, "timeout"), "lower it to "+layeredyaml.ShortDuration(cfg.Live.Every)+" or less",
			"%s is more than every, %s: a service that hangs is found later than every and failures say",
			layeredyaml.ShortDuration(cfg.Live.Timeout), layeredyaml.ShortDuration(cfg.Live.Every))
	}
}

// looks says whether anything is looked at.
func looks(l supervisor.Look) bool {
	return l.HTTP != "" || l.TCP != "" || len(l.Exec) > 0 || l.File != ""
}

// lookRefused says whether a kind of look was given, and refused already.
func (v *validator) lookRefused(path string) bool {
	return slices.ContainsFunc([]string{"http", "tcp", "exec", "file"}, func(key string) bool {
		return v.AlreadyReported(layeredyaml.Join(path, key)) || v.IsMeant(layeredyaml.Join(path, key))
	})
}
