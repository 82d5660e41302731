package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/remote"
)

func (v *validator) hooks() {
	for _, e := range lifecycle.Events() {
		list := layeredyaml.Join("hooks", string(e))
		v.hookNames(list, v.raw.Hooks.Of(e))
		for k, h := range v.raw.Hooks.Of(e) {
			v.hook(layeredyaml.Index(list, k), e, h)
		}
		if e == lifecycle.PreStop || e == lifecycle.Stopped || e == lifecycle.Exit {
			v.hookTimes(list, e)
		}
	}
}

// hookNames refuses duplicate names of one event.
func (v *validator) hookNames(list string, all []hooks.Hook) {
	first, files := map[string]string{}, map[string]string{}
	for k, h := range all {
		at := layeredyaml.Index(list, k)
		switch other, twice := first[h.Name]; {
		case h.Name == "" && h.File == "":
			v.Missing(layeredyaml.Join(at, "name"), "give it one", "a hook needs a name")
		case h.Name == "":
		case twice:
			v.Bad(layeredyaml.Join(at, "name"), "give it another one", "%s is the name of %s too", layeredyaml.Quote("", h.Name), other)
		default:
			first[h.Name] = at
			if err := hooks.CheckName(h.Name); err != nil {
				v.Bad(layeredyaml.Join(at, "name"), "", "%s", err)
			}
		}
		if other, twice := files[h.File]; twice && h.File != "" {
			v.Bad(layeredyaml.Join(at, "file"), "remove one of the two", "%s is that of %s too", layeredyaml.Quote("", h.File), other)
		}
		files[h.File] = at
	}
}

// hook checks what the tags of its fields cannot say.
func (v *validator) hook(path string, e lifecycle.Event, h hooks.Hook) {
	v.hookKind(path, h)
	v.hookRequest(path, h)
	v.hookEnd(layeredyaml.Join(path, "when", "end"), e, h.When.End)
	v.env(layeredyaml.Join(path, "env"), h.Env, nil, func(string) bool { return false })
	services := layeredyaml.Join(path, "services")
	if len(h.Services) > 0 && !e.OfService() {
		v.Bad(services, "remove it", "%s is not an event of a service", e)
	}
	for i, name := range h.Services {
		v.service(layeredyaml.Index(services, i), name)
	}
	policy := layeredyaml.Join(path, "on_failure")
	if p, err := hooks.ParsePolicy(h.OnFailure); err != nil {
		v.Bad(policy, `write ignore, fail, "retry 3" or "retry 3, fail"`, "%s", err)
	} else if p.Fail && !e.CanFail() {
		v.Warn(policy, "remove it", "fail has no effect: nothing waits for %s that could fail", e)
	}
}

// hookEnd checks a condition on the end of a service, which only some events have.
func (v *validator) hookEnd(path string, e lifecycle.Event, end string) {
	switch {
	case end == "":
	case end != hooks.EndExpected && end != hooks.EndUnexpected:
		v.Bad(path, "write expected or unexpected, or a condition such as {env: {ENV: prod}}", "%s is not an end of a service",
			layeredyaml.Quote("", end))
	case e != lifecycle.Exited && e != lifecycle.Stopped:
		v.Bad(path, "remove it", "only exited and stopped know whether an end was expected, not %s does not", e)
	}
}

// hookKind checks that exactly one kind is set.
func (v *validator) hookKind(path string, h hooks.Hook) {
	if v.Refused(layeredyaml.Join(path, "command"), layeredyaml.Join(path, "file"), layeredyaml.Join(path, "url")) {
		return
	}
	var set []string
	for key, given := range map[string]bool{"command": len(h.Command) > 0, "file": h.File != "", "url": h.URL != ""} {
		if given {
			set = append(set, key)
		}
	}
	slices.Sort(set)
	switch {
	case len(set) == 0:
		v.Missing(path, `write command: ["program", "argument"], or url: or file:`, "a hook needs a command, a url or a file")
	case len(set) > 1:
		v.Bad(layeredyaml.Join(path, set[1]), "make two hooks of it", "%s are both set", strings.Join(set, " and "))
	}
}

// hookRequest checks what belongs to a URL.
func (v *validator) hookRequest(path string, h hooks.Hook) {
	if h.URL == "" {
		given := map[string]bool{"method": h.Method != "", "headers": len(h.Headers) > 0, "body": h.Body != "", "status": len(h.Status) > 0,
			"ca_file": h.CAFile != ""}
		for _, key := range slices.Sorted(maps.Keys(given)) {
			if given[key] {
				v.Missing(layeredyaml.Join(path, key), "set url", "no request is made: url is not set")
			}
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if _, err := remote.Names(h.Headers[name]); err != nil {
			v.Bad(layeredyaml.Join(path, "headers", name), "", "%s", err)
		}
	}
	if _, err := remote.Names(h.Body); err != nil {
		v.Bad(layeredyaml.Join(path, "body"), "", "%s", err)
	}
	if h.RunAs != "" {
		v.Bad(layeredyaml.Join(path, "run_as"), "remove it", "stoker itself sends the request")
	}
}

// hookTimes warns of hooks that together exceed stop.timeout.
func (v *validator) hookTimes(list string, e lifecycle.Event) {
	budget := v.cfg.Stop.Timeout
	var sum time.Duration
	for _, h := range v.cfg.Hooks.Of(e) {
		if !h.Parallel {
			sum += min(h.Timeout, time.Duration(h.Share*float64(budget)))
		}
	}
	for k, h := range v.raw.Hooks.Of(e) { // a default is cut silently
		if at := layeredyaml.Join(layeredyaml.Index(list, k), "timeout"); h.Timeout > budget && budget > 0 {
			v.Warn(at, "raise the top-level stop.timeout, and the container's grace period above it",
				"%s is more than the whole shutdown may take, stop.timeout %s", h.Timeout, budget)
			return
		}
	}
	if sum > budget && budget > 0 {
		v.Warn(list, "give them shorter timeouts or shares, or raise stop.timeout",
			"the hooks may take %s one after the other during a stop, and the whole shutdown may take %s", sum, budget)
	}
}
