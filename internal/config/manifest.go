package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// manifestSchema is that of a plugin.yaml.
var manifestSchema = layeredyaml.Schema{
	Type: reflect.TypeFor[plugin.Manifest](), Example: "{name: NAME, version: 1.0}", AdviseSection: adviseSection,
}

// LoadManifest reads a plugin.yaml. Its error is layeredyaml.Problems, with everything
// that is wrong. The manifest then is what could be read; nil: nothing could.
func LoadManifest(path string) (*plugin.Manifest, error) {
	l := layeredyaml.New(manifestSchema)
	if !l.File(path, true) {
		problems := l.Problems()
		problems[0].Hint = cmp.Or(problems[0].Hint, "a plugin is a folder with a "+plugin.ManifestName)
		return nil, problems
	}
	return manifestOf(l, path)
}

// manifestOf checks the manifest that was read.
func manifestOf(l *layeredyaml.Layers, path string) (*plugin.Manifest, error) {
	m := new(plugin.Manifest)
	l.Decode(m)
	v := &manifestValidator{validator{Checker: l.Checker()}, m}
	v.check()
	for name, a := range m.Actions {
		layeredyaml.SetDefaults(&a)
		m.Actions[name] = a
	}
	hookDefaults(&m.Hooks)
	problems := l.Problems()
	if len(problems) == 0 {
		m.JVM.Layer = cmp.Or(m.JVM.Layer, "default") // of a broken one it is not known
		return m, nil
	}
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
	m *plugin.Manifest
}

func (v *manifestValidator) check() {
	switch name := v.m.Name; {
	case name == "":
		v.Missing("name", "", "a plugin needs a name: that of its folder")
	case !plugin.ValidName(name):
		v.Bad("name", "", "%s is not a plugin name: use small letters, digits, _ . and -", layeredyaml.Quote("", name))
	}
	if v.m.Version == "" {
		v.Missing("version", "", "a plugin needs a version, such as 1.0")
	}
	if err := plugin.CheckRequires(v.m.Requires.Stoker); err != nil {
		v.Bad("requires.stoker", "", "%s", err)
	}
	withoutHooks := *v.m
	withoutHooks.Hooks = hooks.ByEvent{}
	v.tags(withoutHooks, "")
	v.params()
	for _, f := range v.m.CheckReferences() {
		v.Bad(f.Key, f.Hint, "%s", f.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(v.m.Actions)) {
		v.action(layeredyaml.Join("actions", name), name, v.m.Actions[name])
	}
	v.hooks()
}

func (v *manifestValidator) params() {
	names := map[string]string{} // as the end of a variable's name
	for _, name := range slices.Sorted(maps.Keys(v.m.Params)) {
		path := layeredyaml.Join("params", name)
		if !plugin.ValidParamName(name) {
			v.Bad(path, "it begins with a letter and has letters, digits and _", "%s cannot be the name of a parameter", layeredyaml.Quote("", name))
		}
		if other, taken := names[layeredyaml.VariableName(name)]; taken {
			v.Bad(path, "", "its variable is that of %s too", other)
		}
		names[layeredyaml.VariableName(name)] = name
		for _, f := range v.m.Params[name].Problems() {
			hint := f.Hint
			if f.Key == "type" {
				hint = layeredyaml.DidYouMean(v.m.Params[name].Type, plugin.Types())
			}
			v.Bad(layeredyaml.Join(path, f.Key), hint, "%s", f.Message)
		}
	}
}

func (v *manifestValidator) action(path, name string, a plugin.Action) {
	if !plugin.ValidActionName(name) {
		v.Bad(path, "it has letters, digits, _ . and -", "%s cannot be the name of an action", layeredyaml.Quote("", name))
	}
	if len(a.Command) == 0 || a.Command[0] == "" {
		v.Missing(layeredyaml.Join(path, "command"), `write ["${plugin_dir}/bin/PROGRAM", "ARGUMENT"]`, "an action needs a command")
	}
}

// hooks checks them as those of the configuration, with an example in the place of each
// reference. Which services there will be is not known here.
func (v *manifestValidator) hooks() {
	for _, event := range lifecycle.Events() {
		list := layeredyaml.Join("hooks", string(event))
		v.hookNames(list, v.m.Hooks.Of(event))
		for k, h := range v.m.Hooks.Of(event) {
			h = plugin.WithoutReferences(h)
			h.Services = nil
			if strings.HasPrefix(h.URL, "1") { // a parameter of type url
				h.URL = "http://" + h.URL
			}
			if strings.HasPrefix(h.CAFile, "1") { // a folder of the plugin, or a parameter
				h.CAFile = "/" + h.CAFile
			}
			at := layeredyaml.Index(list, k)
			v.tags(h, at)
			v.hook(at, event, h)
		}
	}
}
