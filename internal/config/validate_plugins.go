package config

import (
	"maps"
	"slices"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// plugins checks the names of plugins and parameters. Which ones exist is not known here.
func (v *validator) plugins() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled)) {
		path := layeredyaml.Join("plugins.enabled", name)
		if !plugin.ValidName(name) {
			v.Bad(path, "", "%s is not a plugin name: use small letters, digits, _ . and -", layeredyaml.Quote("", name))
		}
		for _, param := range slices.Sorted(maps.Keys(v.raw.Plugins.Enabled[name].Set)) {
			if at := layeredyaml.Join(path, "set", param); !plugin.ValidParamName(param) {
				v.Bad(at, "", "%s cannot be the name of a parameter", layeredyaml.Quote("", param))
			}
		}
	}
}
