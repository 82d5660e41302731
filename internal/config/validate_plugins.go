package config

import (
	"maps"
	"slices"

	"github.com/stoker-init/stoker/hooks/plugin"
)

// plugins checks how plugins are used. Whether there are such plugins, and what their
// parameters may be, is only known where they are.
func (v *validator) plugins() {
	v.absolute("plugins.dir", v.raw.Plugins.Dir)
	for _, name := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled)) {
		path := join("plugins.enabled", name)
		if !plugin.ValidName(name) {
			v.bad(path, "", "%s cannot be the name of a plugin: it has small letters, digits, _ . and -", quote("", name))
		}
		use := v.raw.Plugins.Enabled[name]
		v.when(join(path, "when"), use.When)
		for _, param := range slices.Sorted(maps.Keys(use.Set)) {
			if at := join(join(path, "set"), param); !plugin.ValidParamName(param) {
				v.bad(at, "", "%s cannot be the name of a parameter", quote("", param))
			}
		}
	}
}
