package config

import (
	"maps"
	"slices"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/jvm"
)

// sources checks where a layer's options come from. Paths of files may be relative,
// as they always could.
func (v *validator) sources(layer string, c jvm.LayerConfig) {
	for i, o := range c.Options {
		at := layeredyaml.Index(layeredyaml.Join(layer, "options"), i)
		v.source(at, "option", o.Option, o.When)
		if args, ok := jvm.SplitJoined(o.Option); ok {
			v.Bad(layeredyaml.Join(at, "option"), "write "+layeredyaml.QuoteList(redact.Args(args))+" as items of the list",
				"%s has %d arguments, and each is an item of its own", layeredyaml.Quote("", redact.Line(o.Option)), len(args))
		}
	}
	for i, d := range c.Dirs {
		v.source(layeredyaml.Index(layeredyaml.Join(layer, "dirs"), i), "dir", d.Dir, d.When)
	}
	for i, f := range c.Files {
		v.source(layeredyaml.Index(layeredyaml.Join(layer, "files"), i), "file", f.File, f.When)
	}
	for i, f := range c.Argfiles {
		v.source(layeredyaml.Index(layeredyaml.Join(layer, "argfiles"), i), "file", f.File, f.When)
	}
	for i, u := range c.URLs {
		v.url(layeredyaml.Index(layeredyaml.Join(layer, "urls"), i), u)
	}
}

// source checks what all of them have: the key that says which, and a condition.
func (v *validator) source(path, key, value string, when jvm.When) {
	if value == "" {
		v.Missing(layeredyaml.Join(path, key), "", "the source is empty")
	}
	v.when(layeredyaml.Join(path, "when"), when)
}

// when checks a condition.
func (v *validator) when(path string, when jvm.When) {
	v.terms(path, when.Terms)
	v.terms(layeredyaml.Join(path, "not"), when.Not)
}

func (v *validator) terms(path string, t jvm.Terms) {
	check := func(path string, words jvm.StringList) {
		if len(words) == 0 {
			v.Bad(path, "write a value, or a list of values", "no value is accepted: it never holds")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		v.envName(layeredyaml.Join(layeredyaml.Join(path, "env"), name), name)
		check(layeredyaml.Join(layeredyaml.Join(path, "env"), name), t.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		check(layeredyaml.Join(layeredyaml.Join(path, "labels"), name), t.Labels[name])
	}
	if at := layeredyaml.Join(path, "flavor"); t.Flavor != nil {
		check(at, t.Flavor)
	}
}

func (v *validator) url(path string, u jvm.URL) {
	v.source(path, "url", u.URL, u.When)
	if err := remote.Check(u.URL); u.URL != "" && err != nil {
		v.Bad(layeredyaml.Join(path, "url"), `write "http://config/apps/${APPID}/jvm", or "unix:///run/agent.sock:/jvm"`, "%s cannot be asked: %s", layeredyaml.Quote("", redact.URL(u.URL)), err)
	}
}
