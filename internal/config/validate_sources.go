package config

import (
	"maps"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/jvm"
)

// shortestEvery is the least time between two looks at a URL.
const shortestEvery = time.Second

// sources checks where a layer's options come from. Paths of files may be relative,
// as they always could.
func (v *validator) sources(layer string, c jvm.LayerConfig) {
	for i, o := range c.Options {
		at := index(join(layer, "options"), i)
		v.source(at, "option", o.Option, o.When)
		if args, ok := jvm.Joined(o.Option); ok {
			v.bad(join(at, "option"), "write "+quoted(redact.Args(args))+" as items of the list",
				"%s has %d arguments, and each is an item of its own", quote("", redact.Line(o.Option)), len(args))
		}
	}
	for i, d := range c.Dirs {
		v.source(index(join(layer, "dirs"), i), "dir", d.Dir, d.When)
	}
	for i, f := range c.Files {
		v.source(index(join(layer, "files"), i), "file", f.File, f.When)
	}
	for i, f := range c.Argfiles {
		v.source(index(join(layer, "argfiles"), i), "file", f.File, f.When)
	}
	for i, u := range c.URLs {
		v.url(index(join(layer, "urls"), i), u)
	}
}

// source checks what all of them have: the key that says which, and a condition.
func (v *validator) source(path, key, value string, when jvm.When) {
	if value == "" {
		v.lacking(join(path, key), "", "the source is empty")
	}
	v.when(join(path, "when"), when)
}

// when checks a condition.
func (v *validator) when(path string, when jvm.When) {
	v.terms(path, when.Terms)
	v.terms(join(path, "not"), when.Not)
}

func (v *validator) terms(path string, t jvm.Terms) {
	check := func(path string, words jvm.Words) {
		if len(words) == 0 {
			v.bad(path, "write a value, or a list of values", "no value is accepted: it never holds")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		v.envName(join(join(path, "env"), name), name)
		check(join(join(path, "env"), name), t.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		check(join(join(path, "labels"), name), t.Labels[name])
	}
	if at := join(path, "flavor"); t.Flavor != nil {
		check(at, t.Flavor)
	}
}

func (v *validator) url(path string, u jvm.URL) {
	v.source(path, "url", u.URL, u.When)
	if err := remote.Check(u.URL); u.URL != "" && err != nil {
		v.bad(join(path, "url"), `write "http://config/apps/${APPID}/jvm", or "unix:///run/agent.sock:/jvm"`, "%s cannot be asked: %s", quote("", redact.URL(u.URL)), err)
	}
	v.positive(join(path, "timeout"), u.Timeout)
	v.positive(join(path, "deadline"), u.Deadline)
	if u.Every != nil {
		v.notBelow(join(path, "every"), *u.Every, shortestEvery)
	}
	v.headers(join(path, "headers"), u.Headers)
	v.absolute(join(path, "ca_file"), u.CAFile)
}
