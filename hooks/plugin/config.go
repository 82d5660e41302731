package plugin

import "github.com/stoker-init/stoker/jvm"

// PluginConfig is the plugins section of the configuration.
type Config struct {
	// Dir holds the plugins, a folder each (default /etc/stoker/plugins).
	Dir string `yaml:"dir" default:"/etc/stoker/plugins" check:"absolute"`
	// Enabled says by name what differs from the plugins' manifests.
	Enabled map[string]Override `yaml:"enabled"`
}

// Use is how a plugin is used.
type Override struct {
	// On false switches it off, true on (default: as its manifest says).
	On *bool `yaml:"on,short"`
	// When holds besides the manifest's condition.
	When jvm.When `yaml:"when"`
	// Set gives parameters their values.
	Set map[string]string `yaml:"set"`
}
