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
	// Flavors are profiles that Flavor.Name, or what they match, chooses.
	Flavors []Profile `yaml:"flavors"`
	// Rules switches single rules of the sizing off.
	Rules Rules `yaml:"rules"`
	// CPUs says how GC threads come from a fractional quota: CPUsCeil or
	// CPUsFloor.
	CPUs string `yaml:"cpus" check:"oneof ceil floor"`
	// Reserve is memory set aside for jobs and sessions, such as "256MiB".
	Reserve string `yaml:"reserve" check:"size"`
	// Check tries the merged options on the JVM before a start (default true).
	Check    *bool       `yaml:"check" change:"live" default:"true"`
	Default  LayerConfig `yaml:"default"`
	User     LayerConfig `yaml:"user"`
	Enforced LayerConfig `yaml:"enforced"`
	// Apply says what follows when a file, folder or URL gives other options than
	// a running JVM was started with: ApplyReport (default) or ApplyRestart.
	Apply string `yaml:"apply" change:"live" default:"report" check:"oneof report restart"`
}

// The values of Config.CPUs. The default is the first, as in the JVM; with the
// second fewer GC threads share a quota such as 1.5, and are throttled less.
const (
	CPUsCeil  = "ceil"
	CPUsFloor = "floor"
)

// Flavor is what was bought for a container. Memory is "4GiB", "512MiB" or bytes.
type Flavor struct {
	// Name is that of a profile; absent: the first one that matches.
	Name   string  `yaml:"name"`
	CPUs   float64 `yaml:"cpus"`
	Memory string  `yaml:"memory" check:"size"`
}

// What Config.Apply may be.
const (
	ApplyReport  = "report"
	ApplyRestart = "restart"
)

// LayerConfig names the sources of one layer's options, in rising precedence
// in the order of the fields.
type LayerConfig struct {
	// Options are given in the configuration itself, one argument each.
	Options []Inline `yaml:"options"`
	// Dirs are folders of files such as those of Files.
	Dirs []Dir `yaml:"dirs" json:",omitempty"`
	// Files hold one option a line; blank lines and lines that begin with #
	// are skipped.
	Files []File `yaml:"files"`
	// Argfiles are in the syntax of java's @argfiles.
	Argfiles []File `yaml:"argfiles" json:",omitempty"`
	// URLs are documents of a configuration service.
	URLs []URL `yaml:"urls" json:",omitempty"`
	// Env names environment variables that hold options; only for the user layer.
	Env []string `yaml:"env" check:"variable"`
}
