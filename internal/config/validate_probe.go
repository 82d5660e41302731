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
	"github.com/stoker-init/stoker/supervisor/probe"
)

// probeReport is the report of the probe in the section at path.
type probeReport struct {
	*validator
	path string
}

// Bad reports a wrong value.
func (r probeReport) Bad(key, hint, format string, args ...any) {
	r.validator.Bad(layeredyaml.Join(r.path, key), hint, format, args...)
}

// Missing reports that key cannot be used because other is not set.
func (r probeReport) Missing(key, other, why string) {
	r.validator.Missing(layeredyaml.Join(r.path, key), "set "+layeredyaml.LastKey(r.path)+"."+other, "%s", why)
}

// Unused warns that key has no effect because other is not set.
func (r probeReport) Unused(key, other, why string) {
	r.Warn(layeredyaml.Join(r.path, key), "set "+layeredyaml.LastKey(r.path)+"."+other, "%s", why)
}

// Refused reports whether key, or a misspelling of it, was refused already.
func (r probeReport) Refused(key string) bool {
	at := layeredyaml.Join(r.path, key)
	return r.AlreadyReported(at) || r.IsMeant(at)
}

// address checks a "host:port".
func (v *validator) address(path, text string) {
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		v.Bad(path, orNotExpanded(path, text, "write 127.0.0.1:8080"), "%s is not host:port", layeredyaml.Quote(path, text))
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

// validToken reports whether s is a token of RFC 9110, as methods and header names are.
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

// program refuses a command whose program is empty; no command at all is absent.
func (v *validator) program(path string, argv []string) {
	if len(argv) > 0 && argv[0] == "" {
		v.Bad(layeredyaml.Index(path, 0), "", "the program's name is empty")
	}
	v.arguments(path, argv)
}

// probes checks what belongs together in probes.
func (v *validator) probes() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		raw := v.raw.Services[name]
		v.ready(ServicePath(name, "ready"), raw)
		v.live(ServicePath(name, "live"), raw, v.cfg.Services[name])
	}
}

func (v *validator) ready(path string, s Service) {
	s.Ready.Validate(probeReport{v, path})
	if s.Oneshot && (s.Ready.IsSet() || s.Ready.Log != "") {
		v.Warn(path, "remove it, or remove oneshot", "a oneshot has no readiness: it has done its work when it has ended")
	}
}

func (v *validator) live(path string, raw, cfg Service) {
	report := probeReport{v, path}
	raw.Live.Validate(report)
	var untouched supervisor.Live
	layeredyaml.SetDefaults(&untouched)
	timeout, every := cfg.Live.Timeout, cfg.Live.Every
	switch {
	case raw.Oneshot && !reflect.ValueOf(raw.Live).IsZero():
		v.Bad(path, "remove it, or remove oneshot", "a oneshot is expected to end: it has no live")
	case raw.Oneshot:
	case !raw.Live.IsSet() && !reflect.DeepEqual(cfg.Live, untouched) && !slices.ContainsFunc(probe.Keys(), report.Refused):
		v.Warn(path, "set live."+strings.Join(probe.Keys(), " or live."), "there is no liveness probe: no kind is set")
	case raw.Live.IsSet() && timeout > every && every > 0:
		v.Warn(layeredyaml.Join(path, "timeout"), "lower it to "+layeredyaml.ShortDuration(every)+" or less",
			"%s is more than every, %s: a service that hangs is found later than every and failures say",
			layeredyaml.ShortDuration(timeout), layeredyaml.ShortDuration(every))
	}
}
