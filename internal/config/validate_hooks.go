package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
)

func (v *validator) hooks() {
	v.absolute("hooks.dir", v.raw.Hooks.Dir)
	for _, e := range lifecycle.Events() {
		list := join("hooks", string(e))
		v.hookNames(list, v.raw.Hooks.Of(e))
		for k, h := range v.raw.Hooks.Of(e) {
			v.hook(index(list, k), e, h)
		}
		if e == lifecycle.PreStop || e == lifecycle.Stopped || e == lifecycle.Exit {
			v.hookTimes(list, e)
		}
	}
}

// hookNames wants the names of one event to differ.
func (v *validator) hookNames(list string, all []hooks.Hook) {
	first, files := map[string]string{}, map[string]string{}
	for k, h := range all {
		at := index(list, k)
		switch other, twice := first[h.Name]; {
		case h.Name == "" && h.File == "":
			v.lacking(join(at, "name"), "give it one", "a hook needs a name")
		case h.Name == "":
		case twice:
			v.bad(join(at, "name"), "give it another one", "%s is the name of %s too", quote("", h.Name), other)
		default:
			first[h.Name] = at
			if err := hooks.CheckName(h.Name); err != nil {
				v.bad(join(at, "name"), "", "%s", err)
			}
		}
		if other, twice := files[h.File]; twice && h.File != "" {
			v.bad(join(at, "file"), "remove one of the two", "%s is that of %s too", quote("", h.File), other)
		}
		files[h.File] = at
	}
}

// hook checks one.
func (v *validator) hook(path string, e lifecycle.Event, h hooks.Hook) {
	v.hookKind(path, h)
	v.program(join(path, "command"), h.Command)
	if h.File != "" {
		if err := hooks.CheckFileName(h.File); err != nil {
			v.bad(join(path, "file"), "", "%s", err)
		}
	}
	v.hookRequest(path, h)
	v.hookServices(join(path, "services"), e, h.Services)
	v.hookEnd(join(path, "when"), e, h.When.End)
	v.terms(join(path, "when"), h.When.Terms)
	v.terms(join(join(path, "when"), "not"), h.When.Not)
	v.positive(join(path, "timeout"), h.Timeout)
	v.positive(join(path, "retry_every"), h.RetryEvery)
	v.hookPolicy(join(path, "on_failure"), e, h.OnFailure)
	for k, pattern := range h.AllowEnv {
		if err := hooks.CheckEnvPattern(pattern); err != nil {
			v.bad(index(join(path, "allow_env"), k), "", "%s", err)
		}
	}
	v.env(join(path, "env"), h.Env, nil, func(string) bool { return false })
	if at := join(path, "share"); h.Share < 0 || h.Share > 1 || h.Share == 0 && v.isSet(at) {
		v.bad(at, "write 0.5 for a half", "%v is not above 0 and up to 1", h.Share)
	}
}

// hookEnd wants one of the two ends, and an event that tells of one.
func (v *validator) hookEnd(path string, e lifecycle.Event, end string) {
	switch at := join(path, "end"); {
	case end == "":
	case end != hooks.EndExpected && end != hooks.EndUnexpected:
		v.bad(at, "write expected or unexpected, or a condition such as {env: {ENV: prod}}", "%s is no kind of end", quote("", end))
	case e != lifecycle.Exited && e != lifecycle.Stopped:
		v.bad(at, "remove it", "only exited and stopped tell whether an end was expected, %s does not", e)
	}
}

// hookKind wants exactly one of the three.
func (v *validator) hookKind(path string, h hooks.Hook) {
	var set []string
	for key, given := range map[string]bool{"command": len(h.Command) > 0, "file": h.File != "", "url": h.URL != ""} {
		at := join(path, key)
		if v.report.isSpoiled(at) || v.report.isMeant(at) {
			return
		}
		if given {
			set = append(set, key)
		}
	}
	slices.Sort(set)
	switch {
	case len(set) == 0:
		v.lacking(path, `write command: ["program", "argument"], or url: or file:`, "a hook needs a command, a url or a file")
	case len(set) > 1:
		v.bad(join(path, set[1]), "make two hooks of it", "%s are both set", strings.Join(set, " and "))
	}
}

// hookRequest checks what belongs to a URL.
func (v *validator) hookRequest(path string, h hooks.Hook) {
	if h.URL == "" {
		given := map[string]bool{"method": h.Method != "", "headers": len(h.Headers) > 0, "body": h.Body != "", "status": len(h.Status) > 0, "ca_file": h.CAFile != ""}
		for _, key := range slices.Sorted(maps.Keys(given)) {
			if given[key] {
				v.lacking(join(path, key), "set url", "nothing is asked: url is not set")
			}
		}
		return
	}
	if err := remote.Check(h.URL); err != nil {
		v.bad(join(path, "url"), `write "http://registry/apps/${STOKER_SERVICE}", or "unix:///run/agent.sock:/apps"`, "%s cannot be asked: %s", quote("", redact.URL(h.URL)), err)
	}
	v.method(join(path, "method"), h.Method)
	v.headers(join(path, "headers"), h.Headers)
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if _, err := remote.Names(h.Headers[name]); err != nil {
			v.bad(join(join(path, "headers"), name), "", "%s", err)
		}
	}
	if _, err := remote.Names(h.Body); err != nil {
		v.bad(join(path, "body"), "", "%s", err)
	}
	v.statuses(join(path, "status"), h.Status)
	v.absolute(join(path, "ca_file"), h.CAFile)
	if h.RunAs != "" {
		v.bad(join(path, "run_as"), "remove it", "stoker itself asks a url")
	}
}

// hookServices wants services that exist, and an event that has any.
func (v *validator) hookServices(path string, e lifecycle.Event, names []string) {
	known := slices.Sorted(maps.Keys(v.cfg.Services))
	for i, name := range names {
		switch {
		case !e.OfService():
			v.bad(path, "remove it", "%s is no event of a service", e)
			return
		case !slices.Contains(known, name) && !v.report.isSpoiled(join("services", name)):
			v.lacking(index(path, i), didYouMean(name, known), "there is no service %s", quote("", name))
		}
	}
}

// hookPolicy checks the form, and that it means something.
func (v *validator) hookPolicy(path string, e lifecycle.Event, text string) {
	p, err := hooks.ParsePolicy(text)
	switch {
	case err != nil:
		v.bad(path, `write ignore, fail, "retry 3" or "retry 3, fail"`, "%s", err)
	case p.Fail && !e.CanFail():
		v.warn(path, "remove it", "fail means nothing here: nothing waits for %s that could fail", e)
	}
}

// hookTimes warns of parts that together exceed the whole.
func (v *validator) hookTimes(list string, e lifecycle.Event) {
	budget := v.cfg.Stop.Timeout
	var sum time.Duration
	for _, h := range v.cfg.Hooks.Of(e) {
		if !h.Parallel {
			sum += min(h.Timeout, time.Duration(h.Share*float64(budget)))
		}
	}
	for k, h := range v.raw.Hooks.Of(e) { // a default is cut without a word
		if at := join(index(list, k), "timeout"); h.Timeout > budget && budget > 0 {
			v.warn(at, "raise stop.timeout of the whole, and the container's grace above that", "%s is more than the whole shutdown has, stop.timeout %s", h.Timeout, budget)
			return
		}
	}
	if sum > budget && budget > 0 {
		v.warn(list, "give them shorter timeouts or shares, or raise stop.timeout", "the hooks may take %s one after the other in a stop, and the whole shutdown has %s", sum, budget)
	}
}
