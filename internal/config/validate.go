package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
)

// maxSocketPath is what sockaddr_un holds, in bytes, less the NUL at its end.
const maxSocketPath = 107

// Validate returns everything that is wrong with cfg, and what is only worth a
// warning. cfg may lack its defaults. What it says has paths but no files; Load
// checks the same and knows both.
func Validate(cfg Config) (problems, warnings Problems) {
	r := newReport()
	validate(cfg, WithDefaults(cfg), Origins{}, nil, r)
	return r.sorted(nil), r.warnings
}

// validator checks values that have the right types.
type validator struct {
	raw     Config // as it was set: tells a 0 that was asked for from an absent one
	cfg     Config // with defaults
	origins Origins
	environ map[string]bool // names of our own environment, as far as it is known
	report  *report
}

func validate(raw, cfg Config, origins Origins, environ []string, r *report) {
	v := &validator{raw, cfg, origins, map[string]bool{}, r}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		v.environ[name] = true
	}
	checks := []func(){v.services, v.main, v.jvm, v.api, v.stop, v.log, v.hooks, v.plugins}
	for _, check := range checks {
		check()
	}
}

// place gives a problem the origin of its path, or of the nearest section that
// has one.
func (v *validator) place(p Problem) Problem {
	for _, path := range append([]string{p.Path}, ancestors(p.Path)...) {
		if o, ok := v.origins[path]; ok {
			p.File, p.Line, p.Column = o.File, o.Line, o.Column
			break
		}
	}
	return p
}

// bad reports a value; not if what was given there was refused already.
func (v *validator) bad(path, hint, format string, args ...any) {
	if !v.report.isSpoiled(path) {
		v.report.add(v.place(Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}))
	}
}

// lacking reports that something was not given. That is not known while a file
// could not be read.
func (v *validator) lacking(path, hint, format string, args ...any) {
	if !v.report.partial && !v.report.isMeant(path) {
		v.bad(path, hint, format, args...)
	}
}

func (v *validator) warn(path, hint, format string, args ...any) {
	if !v.report.isSpoiled(path) && !v.report.partial {
		v.report.warn(v.place(Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}))
	}
}

func (v *validator) isSet(path string) bool {
	_, ok := v.origins[path]
	return ok
}

// positive refuses a duration of 0 or less. An absent one is 0 too.
func (v *validator) positive(path string, d time.Duration) {
	if d < 0 || d == 0 && v.isSet(path) {
		v.bad(path, "", "%s is not above 0", d)
	}
}

func (v *validator) notNegative(path string, d *time.Duration) {
	if d != nil && *d < 0 {
		v.bad(path, "", "%s is below 0", *d)
	}
}

// oneOf refuses a word that is not among known; empty means absent.
func (v *validator) oneOf(path, word string, known ...string) {
	if !slices.Contains(known, word) && (word != "" || v.isSet(path)) {
		v.bad(path, wordHint(word, known), "%s is not one of %s", quote(path, word), strings.Join(known, ", "))
	}
}

// wordHint knows the words of Docker and Supervisor besides misspellings.
func wordHint(word string, known []string) string {
	other := map[string]string{"no": "never", "off": "never", "false": "never", "true": "always", "yes": "always",
		"unless-stopped": "always", "unexpected": "on-failure", "warning": "warn", "trace": "debug", "fatal": "error"}
	if w, ok := other[strings.ToLower(word)]; ok && slices.Contains(known, w) {
		return "write " + w
	}
	if w, ok := suggest.Nearest(word, known); ok {
		return `did you mean "` + w + `"?`
	}
	return ""
}

func (v *validator) absolute(path, file string) {
	switch {
	case file == "":
	case strings.HasPrefix(file, "/"):
		v.literal(path, file)
	case variableIn(file) != "":
		v.bad(path, notExpanded(path), "%s is not an absolute path, and nothing is expanded here", quote(path, file))
	default:
		v.bad(path, "begin it with /", "%s is not an absolute path", quote(path, file))
	}
}

// socket checks the path of a unix socket.
func (v *validator) socket(path, file string) {
	v.absolute(path, file)
	if len(file) > maxSocketPath {
		v.bad(path, "", "the path has %d bytes, and the system allows %d", len(file), maxSocketPath)
	}
}

func (v *validator) main() {
	names := slices.Sorted(maps.Keys(v.cfg.Services))
	switch _, exists := v.cfg.Services[v.raw.Main]; {
	case v.raw.Main != "" && !exists:
		if !v.report.isSpoiled(join("services", v.raw.Main)) {
			v.lacking("main", didYouMean(v.raw.Main, names), "there is no service %s", quote("main", v.raw.Main))
		}
	case v.cfg.Main == "" && len(names) > 1:
		v.warn("main", "write main: NAME", "no main service among %d: the container ends with 0 after a stop that was asked for", len(names))
	}
}

func (v *validator) api() {
	v.socket("api.socket", v.raw.API.Socket)
	names := slices.Sorted(maps.Keys(v.cfg.Services))
	for k, name := range v.raw.API.Admins {
		if _, exists := v.cfg.Services[name]; !exists && !v.report.isSpoiled(join("services", name)) {
			v.lacking(index("api.admins", k), didYouMean(name, names), "there is no service %s", quote("", name))
		}
	}
}

func (v *validator) stop() {
	v.oneOf("on_fatal", v.raw.OnFatal, supervisor.OnFatalStay, supervisor.OnFatalExit)
	v.positive("stop.timeout", v.raw.Stop.Timeout)
	budget := v.cfg.Stop.Timeout
	if budget <= 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Services)) {
		own := v.cfg.Services[name].Stop
		path := join(join("services", name), "stop")
		switch {
		case own.Drain > 0 && own.Drain+own.Timeout > budget:
			v.warn(join(path, "drain"), "raise stop.timeout of the whole, and the container's grace above that",
				"%s of drain and %s of timeout are more than the whole shutdown has, stop.timeout %s", own.Drain, own.Timeout, budget)
		case own.Timeout > budget:
			v.warn(join(path, "timeout"), "raise stop.timeout of the whole, and the container's grace above that",
				"%s is more than the whole shutdown has, stop.timeout %s", own.Timeout, budget)
		}
	}
}

func (v *validator) log() {
	v.oneOf("log.level", v.raw.Log.Level, "debug", "info", "warn", "error")
}

// envName refuses what no environment can hold.
func (v *validator) envName(path, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		v.bad(path, "", "%s is not the name of a variable", quote("", name))
	}
}
