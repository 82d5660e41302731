package config

import (
	"maps"
	"slices"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// plugins checks how plugins are used. Whether there are such plugins, and what their
// parameters may be, is only known where they are.
func (v *validator) plugins() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled)) {
		path := layeredyaml.Join("plugins.enabled", name)
		if !plugin.ValidName(name) {
			v.Bad(path, "", "%s cannot be the name of a plugin: it has small letters, digits, _ . and -", layeredyaml.Quote("", name))
		}
		for _, param := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled[name].Set)) {
			if at := layeredyaml.Join(path, "set", param); !plugin.ValidParamName(param) {
				v.Bad(at, "", "%s cannot be the name of a parameter", layeredyaml.Quote("", param))
			}
		}
	}
}
