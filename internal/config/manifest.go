package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Defaults of a plugin's manifest.
const defaultActionTimeout = time.Minute

// LoadManifest reads a plugin.yaml. Like Load it knows no unknown keys, and what is
// wrong comes as Problems, all at once. The manifest then is what could be read;
// nil: nothing could.
func LoadManifest(path string) (*plugin.Manifest, error) {
	data, ok, p := readFile(path)
	if !ok && p.Message == "" {
		p = Problem{File: path, Message: "cannot read the file: it does not exist", Hint: "a plugin is a folder with a " + plugin.ManifestName}
	}
	if p.Message != "" {
		return nil, Problems{p}
	}
	return parseManifest(path, data)
}

// parseManifest is the same with the bytes of a file.
func parseManifest(path string, data []byte) (*plugin.Manifest, error) {
	r := newReport()
	m, origins := new(plugin.Manifest), Origins{}
	if t := decodeFile(r, path, data, reflect.TypeFor[plugin.Manifest]()); t != nil {
		t.into(reflect.ValueOf(m).Elem())
		t.origins("", origins)
	}
	v := &manifestValidator{validator{origins: origins, report: r}, m, path}
	v.check()
	for name, a := range m.Actions {
		orElse(&a.Timeout, defaultActionTimeout)
		orElse(&a.Service, plugin.ActionOfNone)
		m.Actions[name] = a
	}
	hookDefaults(&m.Hooks)
	if len(r.problems) == 0 {
		orElse(&m.JVM.Layer, "default") // of a broken one it is not known
		return m, nil
	}
	problems := r.sorted([]string{path})
	for k := range problems {
		if problems[k].File == "" { // something is missing
			problems[k].File = path
		}
	}
	return m, problems
}

// manifestValidator checks the values of a manifest.
type manifestValidator struct {
	validator
	m    *plugin.Manifest
	path string
}

func (v *manifestValidator) check() {
	switch name := v.m.Name; {
	case name == "":
		v.lacking("name", "", "a plugin needs a name: that of its folder")
	case !plugin.ValidName(name):
		v.bad("name", "", "%s is no name of a plugin: it has small letters, digits, _ . and -", quote("", name))
	}
	if v.m.Version == "" {
		v.lacking("version", "", "a plugin needs a version, such as 1.0")
	}
	if err := plugin.CheckRequires(v.m.Requires.Stoker); err != nil {
		v.bad("requires.stoker", "", "%s", err)
	}
	v.when("when", v.m.When)
	v.oneOf("jvm.layer", v.m.JVM.Layer, "default", "user", "enforced")
	v.params()
	for _, f := range v.m.CheckReferences() {
		v.bad(f.Key, f.Hint, "%s", f.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(v.m.Actions)) {
		v.action(join("actions", name), name, v.m.Actions[name])
	}
	v.hooks()
}

func (v *manifestValidator) params() {
	names := map[string]string{} // as the end of a variable's name
	for _, name := range slices.Sorted(maps.Keys(v.m.Params)) {
		path := join("params", name)
		if !plugin.ValidParamName(name) {
			v.bad(path, "it begins with a letter and has letters, digits and _", "%s cannot be the name of a parameter", quote("", name))
		}
		if other, taken := names[envName(name)]; taken {
			v.bad(path, "", "its variable is that of %s too", other)
		}
		names[envName(name)] = name
		for _, f := range v.m.Params[name].Problems() {
			hint := f.Hint
			if f.Key == "type" {
				hint = didYouMean(v.m.Params[name].Type, plugin.Types())
			}
			v.bad(join(path, f.Key), hint, "%s", f.Message)
		}
	}
}

func (v *manifestValidator) action(path, name string, a plugin.Action) {
	if !plugin.ValidActionName(name) {
		v.bad(path, "it has letters, digits, _ . and -", "%s cannot be the name of an action", quote("", name))
	}
	if len(a.Command) == 0 || a.Command[0] == "" {
		v.lacking(join(path, "command"), `write ["${plugin_dir}/bin/PROGRAM", "ARGUMENT"]`, "an action needs a command")
	}
	v.positive(join(path, "timeout"), a.Timeout)
	v.oneOf(join(path, "service"), a.Service, plugin.ActionOfMain, plugin.ActionOfNone)
}

// hooks checks them as those of the configuration. Which services there will be is not
// known here.
func (v *manifestValidator) hooks() {
	for _, event := range lifecycle.Events() {
		list := join("hooks", string(event))
		v.hookNames(list, v.m.Hooks.Of(event))
		for k, h := range v.m.Hooks.Of(event) {
			h.Services, h.URL = nil, plugin.WithoutReferences(h.URL)
			h.Command = slices.Clone(h.Command)
			for i, arg := range h.Command {
				h.Command[i] = plugin.WithoutReferences(arg)
			}
			h.CAFile, h.Body, h.Headers = plugin.WithoutReferences(h.CAFile), plugin.WithoutReferences(h.Body), maps.Clone(h.Headers)
			for name, text := range h.Headers {
				h.Headers[name] = plugin.WithoutReferences(text)
			}
			if strings.HasPrefix(h.URL, "1") { // a parameter of type url
				h.URL = "http://" + h.URL
			}
			if strings.HasPrefix(h.CAFile, "1") { // a folder of the plugin, or a parameter
				h.CAFile = "/" + h.CAFile
			}
			v.hook(index(list, k), event, h)
		}
	}
}
