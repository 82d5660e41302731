// Package jvm turns what a container really has into JVM options: it sizes the
// heap and the regions beside it, merges three layers of options by what they
// set, and explains every one of them. All of it is pure: no file, process or
// environment is read here.
package jvm

// Config is the jvm section of the configuration.
type Config struct {
	// Flavor are the sizes that were bought for the container; absent: the
	// cgroup's limits.
	Flavor Flavor `yaml:"flavor"`
	// Check tries the merged options on the JVM before a start (default true).
	Check    *bool       `yaml:"check"`
	Default  LayerConfig `yaml:"default"`
	User     LayerConfig `yaml:"user"`
	Enforced LayerConfig `yaml:"enforced"`
}

// Flavor is a named size. Memory is "4GiB", "512MiB" or bytes.
type Flavor struct {
	CPUs   float64 `yaml:"cpus"`
	Memory string  `yaml:"memory"`
}

// LayerConfig names the sources of one layer's options, in rising precedence
// in the order of the fields.
type LayerConfig struct {
	// Options are given in the configuration itself, one argument each.
	Options []string `yaml:"options"`
	// Files hold one option a line; blank lines and lines that begin with #
	// are skipped.
	Files []string `yaml:"files"`
	// Env names environment variables that hold options; only for the user layer.
	Env []string `yaml:"env"`
}
